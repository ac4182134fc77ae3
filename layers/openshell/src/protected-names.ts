/** Names in a workspace that other programs of its owner obey by themselves: an agent that writes one makes the owner's shell, editor or next agent run what it likes. */
import type { ProtectedName } from '@nemoclaw/contract';

/** What a name is protected for, and so which entry may be taken out with a good conscience. */
export interface NameEntry extends ProtectedName {
  readonly why: string;
}

const everywhere = (why: string, ...paths: string[]): NameEntry[] => paths.map((path) => ({ path, scope: 'everywhere', why }));
/** Read only where somebody's work begins: the workspace itself and every git repository in it. */
const repository = (why: string, ...paths: string[]): NameEntry[] => paths.map((path) => ({ path, scope: 'repository', why }));

/**
 * Whole files and folders. `.git` is not among them: git must go on working. What is dangerous in a git directory (hooks, settings
 * that name programs, pointers to other git directories) is known to the native part by its structure, wherever it lies.
 */
export const protectedNames: readonly NameEntry[] = [
  // Run when a shell enters the folder, or starts in it as the home.
  ...everywhere('direnv and mise run it when a shell enters the folder', '.envrc', '.mise.toml', 'mise.toml', '.config/mise'),
  ...repository('a shell reads it where the folder is a home', '.bashrc', '.bash_profile', '.bash_login', '.bash_logout', '.bash_aliases', '.profile', '.zshrc', '.zshenv', '.zprofile', '.zlogin', '.zlogout', '.kshrc', '.inputrc', '.config/fish', '.ssh', '.gitconfig', '.config/git', '.config/systemd', '.config/autostart', '.local/bin'),
  // Editors: tasks that start with the folder, interpreters, debuggers, settings that name programs.
  ...everywhere('editors start tasks and programs it names', '.vscode', '.idea', '.zed', '.fleet', '.devcontainer', '.devcontainer.json', '.nvim.lua', '.nvimrc', '.exrc', '.vimrc', '.dir-locals.el', '.gdbinit', '.lldbinit', '.tmux.conf'),
  // Agents: hooks, permissions, servers to start, and the text they take as instructions.
  ...everywhere('the next agent starts servers and hooks it names', '.claude', '.mcp.json', '.cursor', '.gemini', '.codex', '.opencode', 'opencode.json', 'opencode.jsonc', '.pi', '.openclaw', '.nemoclaw', '.aider.conf.yml', '.continue', '.windsurf', '.roo', '.cline', '.kiro', '.amp', '.crush.json', 'crush.json'),
  ...everywhere('the next agent takes it as instructions', 'AGENTS.md', 'AGENTS.override.md', 'CLAUDE.md', 'CLAUDE.local.md', 'GEMINI.md', '.cursorrules', '.windsurfrules', '.clinerules', '.goosehints', '.github/copilot-instructions.md', '.github/instructions', '.github/agents', '.github/prompts'),
  // git beside its own directory.
  ...repository('git takes addresses of other repositories from it, and old versions commands', '.gitmodules'),
  ...repository('runs at the next commit', '.husky', '.githooks', '.pre-commit-config.yaml', '.pre-commit-hooks.yaml', 'lefthook.yml', 'lefthook-local.yml', '.lefthook.yml', '.lefthook-local.yml', '.overcommit.yml'),
  // Build machines: runs after the next push, with their secrets.
  ...repository('a build machine runs it with its secrets', '.github/workflows', '.github/actions', '.gitlab-ci.yml', '.circleci', '.travis.yml', '.drone.yml', '.buildkite', '.woodpecker', '.woodpecker.yml', 'azure-pipelines.yml', 'bitbucket-pipelines.yml', 'Jenkinsfile', '.forgejo/workflows', '.gitea/workflows'),
  // Package managers: settings that name registries, scripts and shells; read by every command, not only by an installation.
  ...repository('package managers load programs and registries it names', '.npmrc', '.yarnrc', '.yarnrc.yml', '.pnpmfile.cjs', '.pnpmfile.mjs', 'bunfig.toml', '.pypirc', 'pip.conf', '.cargo'),
];
/*
 * Considered and left out:
 * - Makefile, package.json, build.rs, conftest.py, setup.py, Dockerfile: the project's own code, which a person starts on purpose; an agent that may not
 *   write code is of no use. Read it before you run it.
 * - pyvenv.cfg, sitecustomize.py, bin/activate: agents make virtual environments all the time, and every file of one is as powerful as these.
 * - .gitattributes: it only names filters; the settings that define them are protected.
 * - .env: data; what runs is what reads it.
 * - .tool-versions, .nvmrc, .python-version: choose among installed versions.
 */

/** The names a policy protects; [] where it says `off`. `except` takes names of the table out (by name, whatever its scope), `add` puts more in, at any depth. */
export function protectedFor(choice: 'default' | 'off' | { readonly add: readonly string[]; readonly except: readonly string[] }): readonly ProtectedName[] {
  if (choice === 'off') return [];
  const { add, except } = choice === 'default' ? { add: [], except: [] } : choice;
  const kept = protectedNames.filter((one) => !except.includes(one.path)).map(({ path, scope }): ProtectedName => ({ path, scope }));
  return [...kept, ...add.filter((path) => !kept.some((one) => one.path === path)).map((path): ProtectedName => ({ path, scope: 'everywhere' }))];
}
