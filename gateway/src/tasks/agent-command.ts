/** The command line and environment of each kind of agent; the only place that knows them. */
import type { Blueprint } from '@nemoclaw/contract';

/** Where the blueprint's folder and the agent's program stand inside the sandbox. */
const inside = '/opt';
export const blueprintMount = 'blueprint';

export type AgentKind = Blueprint['agent']['kind'];

/** Folder under $STATE/agents that is mounted for this kind; '' for none. */
export const agentFolder: Readonly<Record<AgentKind, string>> = { pi: 'pi', shell: '' };

const piProgram = `${inside}/pi/node_modules/@mariozechner/pi-coding-agent/dist/cli.js`;

/** `task` undefined: the agent's own terminal interface. */
export function agentCommand(agent: Blueprint['agent'], task: string | undefined): readonly string[] {
  switch (agent.kind) {
    case 'pi': {
      const extension = agent.extension === undefined ? [] : ['--extension', `${inside}/${blueprintMount}/${agent.extension}`];
      const base = ['node', piProgram, '--provider', 'nemoclaw', '--model', 'default', '--no-extensions', ...extension];
      // A leading space keeps a task from being read as an option or as a file to include.
      return task === undefined ? base : [...base, '--no-session', '--print', /^[-@]/.test(task) ? ` ${task}` : task];
    }
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
    ['OPENAI_BASE_URL', 'http://inference.local/v1'],
  ]);
  if (agent.kind === 'pi') {
    // what the agent would ask of the internet at start is not asked
    env.set('PI_OFFLINE', '1');
    env.set('PI_TELEMETRY', '0');
    env.set('PI_SKIP_VERSION_CHECK', '1');
  }
  for (const [name, value] of Object.entries(agent.env)) env.set(name, value);
  return [...env].map(([name, value]) => `${name}=${value}`);
}
