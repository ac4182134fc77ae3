/** The command line and environment of each kind of agent; the only place that knows them. */
import type { Blueprint } from '@nemoclaw/contract';

/** Where the blueprint's folder and the agent's program stand inside the sandbox. */
const inside = '/opt';
export const blueprintMount = 'blueprint';

export type AgentKind = Blueprint['agent']['kind'];

/** Folder under $STATE/agents that is mounted for this kind; '' for none. */
export const agentFolder: Readonly<Record<AgentKind, string>> = { pi: 'pi', opencode: 'opencode', shell: '' };

const modelAddress = 'http://inference.local/v1';
const piProgram = `${inside}/pi/node_modules/@mariozechner/pi-coding-agent/dist/cli.js`;

/** The program itself, without the package that would choose one in an install script. */
const opencodeProgram = `${inside}/opencode/node_modules/opencode-linux-x64-baseline/bin/opencode`;

/** The one model, where its program looks for it first; nothing is asked of the internet, and which folders it may use the sandbox decides. https://opencode.ai/docs/config */
function opencodeConfig(placeholderKey: string): string {
  const provider = { npm: '@ai-sdk/openai-compatible', name: 'NemoClaw', options: { baseURL: modelAddress, apiKey: placeholderKey }, models: { default: { name: 'default' } } };
  return JSON.stringify({ autoupdate: false, share: 'disabled', permission: { external_directory: 'allow' }, enabled_providers: ['nemoclaw'], model: 'nemoclaw/default', small_model: 'nemoclaw/default', provider: { nemoclaw: provider } });
}

/** `task` undefined: the agent's own terminal interface. */
export function agentCommand(agent: Blueprint['agent'], task: string | undefined): readonly string[] {
  switch (agent.kind) {
    case 'pi': {
      const extension = agent.extension === undefined ? [] : ['--extension', `${inside}/${blueprintMount}/${agent.extension}`];
      const base = ['node', piProgram, '--provider', 'nemoclaw', '--model', 'default', '--no-extensions', ...extension];
      // A leading space keeps a task from being read as an option or as a file to include.
      return task === undefined ? base : [...base, '--no-session', '--print', /^[-@]/.test(task) ? ` ${task}` : task];
    }
    case 'opencode':
      // `--`: a task is never read as an option.
      return task === undefined ? [opencodeProgram] : [opencodeProgram, 'run', '--', task];
    case 'shell':
      return task === undefined ? ['/bin/bash', '-i'] : ['/bin/bash', '-c', task];
  }
}

/** What every command in the sandbox gets beside the plan's own environment, `NAME=value`: where the model is, and the placeholder that stands for a key. */
export function agentEnvironment(agent: Blueprint['agent'], sandbox: { readonly name: string; readonly placeholderKey: string }): readonly string[] {
  const env = new Map<string, string>([
    ['NEMOCLAW_SANDBOX', sandbox.name],
    ['NEMOCLAW_API_KEY', sandbox.placeholderKey],
    ['OPENAI_API_KEY', sandbox.placeholderKey],
    ['OPENAI_BASE_URL', modelAddress],
  ]);
  if (agent.kind === 'pi') {
    // what the agent would ask of the internet at start is not asked
    env.set('PI_OFFLINE', '1');
    env.set('PI_TELEMETRY', '0');
    env.set('PI_SKIP_VERSION_CHECK', '1');
  }
  if (agent.kind === 'opencode') {
    env.set('OPENCODE_CONFIG_CONTENT', opencodeConfig(sandbox.placeholderKey));
    for (const name of ['AUTOUPDATE', 'MODELS_FETCH', 'LSP_DOWNLOAD', 'DEFAULT_PLUGINS', 'SHARE']) env.set(`OPENCODE_DISABLE_${name}`, '1');
  }
  for (const [name, value] of Object.entries(agent.env)) env.set(name, value);
  return [...env].map(([name, value]) => `${name}=${value}`);
}
