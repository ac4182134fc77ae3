/** Protected names in a workspace: locked while the sandbox runs, put away when it is given back, and git goes on working. Real kernel, real git. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';
import { protectedFor, protectedNames } from './protected-names.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
/** The workspaces' owner: an ordinary person. */
const owner = 54_321;
const trials: Trial[] = [];

before(() => buildNative('openshell-launch'));
after(() => trials.forEach((t) => t.remove()));

/** As the owner, in the workspace, with nothing of this machine's git settings. */
function outside(t: Trial, script: string): { readonly code: number; readonly out: string } {
  const env = { PATH: '/usr/bin:/bin', HOME: t.workspace, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', GIT_AUTHOR_NAME: 'p', GIT_AUTHOR_EMAIL: 'p@x', GIT_COMMITTER_NAME: 'p', GIT_COMMITTER_EMAIL: 'p@x' };
  const done = spawnSync('/bin/sh', ['-c', script], { cwd: t.workspace, uid: owner, gid: owner, env, encoding: 'utf8' });
  return { code: done.status ?? -1, out: done.stdout + done.stderr };
}

function own(path: string): void {
  lchownSync(path, owner, owner);
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) own(join(path, name));
}

/** A workspace with a repository of one commit, made by its owner. */
function repository(spec = workspaceSpec, more?: (t: Trial) => void): Trial {
  const t = trial(spec);
  trials.push(t);
  chmodSync(t.workspace, 0o755);
  chownSync(t.workspace, owner, owner);
  const made = outside(t, 'git init -q && echo one >file && git add file && git commit -qm one');
  assert.equal(made.code, 0, made.out);
  more?.(t);
  own(t.workspace);
  return t;
}

const identity = 'git config --global user.email a@b; git config --global user.name a;';

test('git works in a protected repository: commit, branch, checkout, worktree, a new repository, a clone', root, async () => {
  const t = repository();
  const result = await t.sh(`${identity} set -e; echo two >>file; git add file; git commit -qm two; git checkout -q -b other; git branch third; git checkout -q -; git worktree add -q tree other; git -C tree log --oneline | wc -l; git init -q fresh; cd fresh; git commit -q --allow-empty -m first; git config core.filemode true; cd ..; git clone -q fresh copy; git stash list; git gc -q; git status --short`);
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, /^2$/m);
  assert.deepEqual(result.released?.found, [], JSON.stringify(result.released));
  assert.equal(result.released?.checked, true);
  const later = outside(t, 'git log --oneline | wc -l; git fsck 2>&1; git -C fresh status; git -C copy status');
  assert.equal(later.code, 0, later.out);
  assert.ok(!existsSync(join(t.workspace, '.nemoclaw-quarantine')));
});

test('what is there cannot be changed, replaced, removed or carried away with a folder above it', root, async () => {
  const t = repository(workspaceSpec, ({ workspace }) => {
    for (const folder of ['.vscode', '.github/workflows', 'libs/inner']) mkdirSync(join(workspace, folder), { recursive: true });
    for (const file of ['.vscode/tasks.json', '.github/workflows/ci.yml', '.envrc', 'AGENTS.md', 'claude.md']) writeFileSync(join(workspace, file), 'as it was');
    cpSync(join(workspace, '.git'), join(workspace, 'libs/inner/.git'), { recursive: true });
  });
  const tries = [
    'git config core.fsmonitor ./evil', 'echo x >.git/hooks/pre-commit', 'mv .git/hooks .git/h', 'mv .git g', 'rm -rf .git/hooks', 'ln -sfn /tmp .git/hooks', 'echo x >>.git/config', 'chmod 777 .git/config', 'mv file .git/config',
    'echo x >.vscode/tasks.json', 'touch .vscode/new', 'mv .vscode v', 'mv .github g', 'echo x >.github/workflows/ci.yml', 'echo x >.envrc', 'mv file .envrc', 'rm -f AGENTS.md', 'echo x >>claude.md', 'ln -f .envrc linked',
    'echo x >libs/inner/.git/config', 'mv libs l', 'mv libs/inner libs/i', 'mkdir n && mv libs n/', 'echo x >libs/inner/.git/hooks/post-checkout',
  ];
  const result = await t.sh(tries.map((one, i) => `(${one}) >/dev/null 2>&1 && echo "${i} WORKED"`).join('\n') + '\necho done; git config core.fsmonitor x; mkdir -p .github/other && touch .github/other/file && echo fine');
  assert.equal(result.stdout, 'done\nfine\n', result.stderr);
  assert.match(result.stderr, /could not write config file .git\/config: Device or resource busy/);
  assert.deepEqual(result.released?.found, []);
  for (const file of ['.vscode/tasks.json', '.github/workflows/ci.yml', '.envrc', 'AGENTS.md', 'claude.md']) assert.equal(readFileSync(join(t.workspace, file), 'utf8'), 'as it was');
});

/** What an agent may leave; none of it may be at its name afterwards. `leaves`: a path that must be gone. */
const planted: readonly (readonly [title: string, script: string, leaves: string])[] = [
  ['a new direnv file', 'echo "touch \\"$HOME/owned\\"" >.envrc', '.envrc'],
  ['one in a folder below', 'mkdir -p a/b; echo x >a/b/.envrc', 'a/b/.envrc'],
  ['a task of an editor', 'mkdir .vscode; echo {} >.vscode/tasks.json', '.vscode'],
  ['the same as a link', 'mkdir v; echo {} >v/tasks.json; ln -s v .vscode', '.vscode'],
  ['a workflow through a link in the place of .github', 'mkdir -p g/workflows; echo x >g/workflows/ci.yml; ln -s g .github', '.github'],
  ['another case', 'mkdir .VSCode; echo x >.VSCode/tasks.json; echo x >Agents.MD', '.VSCode'],
  ['letters that some file systems ignore', 'mkdir ".g\u200cit"; echo x >".g\u200cit/config"', '.g\u200cit'],
  ['a hook of a new repository', 'git init -q new; printf "#!/bin/sh\\n" >new/.git/hooks/pre-commit; chmod +x new/.git/hooks/pre-commit', 'new/.git/hooks/pre-commit'],
  ['hooks elsewhere', 'git init -q new; git -C new config core.hooksPath ../h', 'new/.git/config'],
  ['a file system monitor', 'git init -q new; git -C new config core.fsmonitor "touch x"', 'new/.git/config'],
  ['a filter', 'git init -q new; git -C new config filter.x.clean "touch x"; echo "* filter=x" >new/.gitattributes', 'new/.git/config'],
  ['settings that include others', 'git init -q new; git -C new config include.path ../evil', 'new/.git/config'],
  ['settings in a continued line', 'git init -q new; printf \'[core]\\n\\tbare = \\\\\\n[core] fsmonitor = x\\n\' >>new/.git/config', 'new/.git/config'],
  ['a remote helper', 'git init -q new; git -C new remote add origin "ext::sh -c touch%20x"', 'new/.git/config'],
  ['a repository that is not one yet', 'mkdir -p new/.git; git init -q other; cp other/.git/config new/.git/config; git -C new config -f .git/config core.fsmonitor x', 'new/.git/config'],
  ['hooks of a repository that is not one yet', 'mkdir -p new/.git/hooks; echo x >new/.git/hooks/pre-commit', 'new/.git/hooks/pre-commit'],
  ['a remote helper in pieces', `git init -q new; printf '[remote "origin"]\\n\\turl = ext:"":sh -c x\\n' >>new/.git/config`, 'new/.git/config'],
  ['an option where a name is expected', `git init -q new; printf '[branch "x"]\\n\\tremote = ""--upload-pack=x\\n' >>new/.git/config`, 'new/.git/config'],
  ['a work tree that ends before it seems to', `git init -q new; printf '[core]\\n\\tworktree = ../../..#/a/b/c/d\\n' >>new/.git/config`, 'new/.git/config'],
  ['a work tree in the home of somebody', 'git init -q new; git -C new config core.worktree ../../..', 'new/.git/config'],
  ['settings that are a link', 'git init -q new; mv new/.git/config new/c; ln -s ../c new/.git/config', 'new/.git/config'],
  ['a bare repository in disguise', 'mkdir -p docs/objects docs/refs; echo "ref: refs/heads/x" >docs/HEAD; printf "[core]\\n\\tbare = true\\n\\tfsmonitor = x\\n" >docs/config', 'docs/config'],
  ['a .git that points out of the workspace', 'mkdir sub; echo "gitdir: ../../elsewhere" >sub/.git', 'sub/.git'],
  ['a .git that is a link', 'mkdir sub; ln -s ../.git sub/.git', 'sub/.git'],
  ['a common directory elsewhere', 'git worktree add -q tree -b t; echo ../../../evil >.git/worktrees/tree/commondir', '.git/worktrees/tree/commondir'],
  ['settings of a work tree', 'git worktree add -q tree -b t; printf "[core]\\n\\tfsmonitor = x\\n" >.git/worktrees/tree/config.worktree', '.git/worktrees/tree/config.worktree'],
  ['in folders that nobody may read', 'mkdir -p a/b; echo x >a/b/.envrc; chmod 0 a/b; chmod 0 a', 'a/b/.envrc'],
  ['in a folder that nobody may write', 'mkdir -p a/.vscode; echo x >a/.vscode/tasks.json; chmod 500 a/.vscode a', 'a/.vscode'],
  ['behind a trap in the place of the quarantine', 'mkdir x; ln -s ../x .nemoclaw-quarantine; echo x >.envrc', '.envrc'],
  ['a trap that is a folder', 'mkdir -p .nemoclaw-quarantine/a; echo x >.nemoclaw-quarantine/a/.envrc', '.nemoclaw-quarantine/a/.envrc'],
  ['a pipe', 'mkfifo .envrc', '.envrc'],
  ['deep below', 'i=0; while [ $i -lt 250 ]; do mkdir -p abcdefghijklmn && cd abcdefghijklmn || exit; i=$((i+1)); done; echo x >.envrc', 'never'],
];

for (const [title, script, leaves] of planted) {
  test(`left behind: ${title}`, root, async () => {
    const t = repository();
    const result = await t.sh(`${identity} ${script}; echo made`);
    assert.match(result.stdout, /made/, result.stderr);
    assert.equal(result.released?.checked, true, JSON.stringify(result.released));
    assert.ok((result.released?.found.length ?? 0) > 0, `nothing was found: ${JSON.stringify(result.released)} ${result.stderr}`);
    assert.ok(result.released?.found.every((one) => one.moved), JSON.stringify(result.released));
    assert.equal(lstatSync(join(t.workspace, leaves), { throwIfNoEntry: false }), undefined);
    const quarantine = join(t.workspace, result.released?.quarantine ?? '');
    assert.equal(statSync(quarantine).mode & 0o777, 0);
    assert.equal(statSync(quarantine).uid, owner);
    const status = outside(t, 'git status --short 2>&1');
    assert.ok(!status.out.includes('quarantine') || status.out.includes('-of-'), status.out);
  });
}

test('what was there before stays, also at protected names and in repositories below', root, async () => {
  const t = repository(workspaceSpec, ({ workspace }) => {
    mkdirSync(join(workspace, 'deep/below/.vscode'), { recursive: true });
    for (const file of ['deep/below/.vscode/settings.json', '.envrc', 'node.txt', 'AGENTS.md']) writeFileSync(join(workspace, file), 'mine');
    symlinkSync('AGENTS.md', join(workspace, 'CLAUDE.md'));
    writeFileSync(join(workspace, '.git/hooks/pre-commit'), '#!/bin/sh\n', { mode: 0o755 });
  });
  const result = await t.sh('echo x >deep/other; mkdir -p node_modules/p/.vscode; echo x >node_modules/p/.vscode/settings.json; echo x >node_modules/p/.npmrc; git branch AGENTS.md');
  assert.deepEqual(result.released?.found, []);
  assert.equal(readFileSync(join(t.workspace, 'CLAUDE.md'), 'utf8'), 'mine');
});

test('a thing below that is not locked and was changed is put away', root, async () => {
  const t = repository(workspaceSpec, ({ workspace }) => {
    mkdirSync(join(workspace, 'deep/.vscode'), { recursive: true });
    writeFileSync(join(workspace, 'deep/.vscode/tasks.json'), 'mine');
    writeFileSync(join(workspace, 'AGENTS.md'), 'mine');
    symlinkSync('AGENTS.md', join(workspace, 'CLAUDE.md'));
  });
  const result = await t.sh('echo x >deep/.vscode/tasks.json; rm CLAUDE.md; ln -s file CLAUDE.md');
  assert.deepEqual(result.released?.found.map(({ path, why }) => `${why} ${path}`).sort(), ['changed CLAUDE.md', 'changed deep/.vscode']);
});

test('hooks that the settings name are locked where they are, and checked where they are not yet', root, async () => {
  const t = repository(workspaceSpec, (made) => {
    mkdirSync(join(made.workspace, 'tools/hooks'), { recursive: true });
    writeFileSync(join(made.workspace, 'tools/hooks/pre-commit'), '#!/bin/sh\n', { mode: 0o755 });
    own(made.workspace);
    outside(made, 'git config core.hooksPath tools/hooks; git init -q other; git -C other config core.hooksPath later');
  });
  const result = await t.sh('echo x >tools/hooks/pre-commit && echo WORKED; mv tools t && echo WORKED; mkdir other/later; echo x >other/later/pre-commit');
  assert.equal(result.stdout, '');
  assert.deepEqual(result.released?.found.map(({ path }) => path), ['other/later']);
});

test('a repository without hooks gets none, and no empty folder stays', root, async () => {
  const t = repository(workspaceSpec, ({ workspace }) => rmSync(join(workspace, '.git/hooks'), { recursive: true }));
  const result = await t.sh('mkdir .git/hooks; echo x >.git/hooks/pre-commit && echo WORKED; mv .git/hooks h && echo WORKED');
  assert.equal(result.stdout, '');
  assert.ok(!existsSync(join(t.workspace, '.git/hooks')));
});

test('empty placeholders of denied names are gone afterwards; what the owner had stays', root, async () => {
  const t = repository('isolation: { filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/.env, /workspace/keys/**, /workspace/mine/**] }', ({ workspace }) => mkdirSync(join(workspace, 'mine')));
  const result = await t.sh('cat .env; ls keys; ls -a');
  assert.match(result.stdout, /\.env\n/);
  assert.deepEqual(readdirSync(t.workspace).sort(), ['.git', 'file', 'mine']);
});

test('protect: off locks and checks nothing, and the plan says so; except takes one out, add puts one in', root, async () => {
  const off = repository(`${workspaceSpec}, filesystem: { protect: off }`);
  assert.match(off.plan.notes.join(' '), /filesystem\.protect is off/);
  const free = await off.sh('git config core.pager x && echo x >.envrc && echo fine');
  assert.equal(free.stdout, 'fine\n');
  assert.deepEqual(free.released?.found, []);
  const some = repository(`${workspaceSpec}, filesystem: { protect: { except: [git, AGENTS.md], add: [deploy.sh] } }`);
  const result = await some.sh('git config core.pager x && echo x >AGENTS.md && echo x >deploy.sh && echo fine');
  assert.equal(result.stdout, 'fine\n');
  assert.deepEqual(result.released?.found.map(({ path }) => path), ['deploy.sh']);
});

test('the quarantine of a former sandbox cannot be opened or emptied by the next', root, async () => {
  const t = repository();
  const first = await t.sh('echo evil >.envrc');
  const folder = first.released?.quarantine ?? '';
  const second = await t.sh(`chmod 700 .nemoclaw-quarantine "${folder}"; cat "${folder}/.envrc"; mv .nemoclaw-quarantine q; ls .nemoclaw-quarantine`);
  assert.equal(second.stdout, '');
  assert.deepEqual(second.released?.found, []);
  assert.equal(statSync(join(t.workspace, folder)).mode & 0o777, 0);
});

test('the shell, git and editor that open the folder afterwards run nothing of the agent', root, async () => {
  const t = repository();
  const evil = 'touch /tmp/nemoclaw-protect-owned';
  rmSync('/tmp/nemoclaw-protect-owned', { force: true });
  const script = [
    identity, `printf '#!/bin/sh\\n${evil}\\n' >evil.sh; chmod +x evil.sh`, 'for f in .envrc .bashrc .profile .bash_profile; do cp evil.sh $f; done',
    'mkdir -p .git/hooks; for h in post-checkout pre-commit post-index-change fsmonitor-watchman; do cp evil.sh .git/hooks/$h; done', 'git config core.fsmonitor "$PWD/evil.sh"',
    'git init -q sub; git -C sub config core.fsmonitor ../evil.sh; git -C sub config filter.x.smudge ../evil.sh; cp evil.sh sub/.git/hooks/post-checkout',
    'mkdir -p bare/objects bare/refs; echo "ref: refs/heads/x" >bare/HEAD; printf "[core]\\n\\tbare = false\\n\\tworktree = ..\\n\\tfsmonitor = ../evil.sh\\n" >bare/config', 'echo left',
  ].join('\n');
  assert.match((await t.sh(script)).stdout, /left/);
  const opened = outside(t, 'git status; git -C sub status; git checkout -q -b x; git -C sub checkout -q -b x; (cd bare && git status); bash -ic true; bash -lc true; for d in . sub bare; do if [ -e $d/.envrc ]; then . $d/.envrc; fi; done; echo opened');
  assert.match(opened.out, /opened/);
  assert.ok(!existsSync('/tmp/nemoclaw-protect-owned'), opened.out);
});

test('every name of the table is said once, with a reason', () => {
  const names = protectedNames.map(({ path }) => path);
  assert.equal(new Set(names).size, names.length);
  assert.ok(protectedNames.every(({ path, why }) => /^[^/]+(\/[^/]+)?$/.test(path) && why.length > 10));
  assert.deepEqual(protectedFor('off'), []);
  assert.ok(!protectedFor({ add: [], except: ['.envrc'] }).some(({ path }) => path === '.envrc'));
});
