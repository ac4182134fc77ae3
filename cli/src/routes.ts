/** The words of the command line that are not names of sandboxes. */
import { buildRouteMap } from '@stricli/core';
import { argument, command, text, yesNo } from './command.ts';
import { explainExamples, explainFlags } from './explain-flags.ts';
import type { CliContext } from './context.ts';
import type { ExplainFlags } from './commands/policy-explain.ts';
import type { OnboardFlags } from './commands/onboard.ts';
import type { TopFlags } from './commands/top.ts';
import type { SearchFlags } from './commands/audit-search.ts';

const approvalId = argument('id', 'Approval, as `nemoclaw approvals list` shows it (a unique beginning will do)');
const sandboxName = argument('name', 'Sandbox');

const policy = buildRouteMap<string, CliContext>({
  docs: { brief: 'Check, explain, read and change policies' },
  routes: {
    validate: command<{ json?: boolean }, string[]>({
      brief: 'Check policy files without applying them',
      about: 'nemoclaw policy validate network.yaml\nnemoclaw policy validate blueprints/my-assistant\n\nNames file, line and column of what is wrong. Needs no running NemoClaw.',
      flags: {},
      positional: { kind: 'array', parameter: argument('file', 'Policy file, or folder of a blueprint'), minimum: 1 },
      load: () => import('./commands/policy-validate.ts'),
    }),
    explain: command<ExplainFlags, [string]>({
      brief: 'Say what would be decided, and by which rule',
      about: explainExamples(),
      flags: explainFlags(),
      positional: { kind: 'tuple', parameters: [sandboxName] },
      load: () => import('./commands/policy-explain.ts'),
    }),
    get: command<{ json?: boolean; file?: string }, [string]>({
      brief: 'Print the policy in force',
      flags: { file: text('Only this file', 'file') },
      positional: { kind: 'tuple', parameters: [sandboxName] },
      load: () => import('./commands/policy-get.ts'),
    }),
    set: command<{ json?: boolean }, string[]>({
      brief: 'Put new policy files in force',
      about: 'nemoclaw policy set my-assistant network.yaml\n\nAll files are checked first; an error leaves everything as it is.',
      flags: {},
      positional: { kind: 'array', parameter: argument('name file', 'Sandbox, then files'), minimum: 2 },
      load: () => import('./commands/policy-set.ts'),
    }),
  },
});

const approvals = buildRouteMap<string, CliContext>({
  docs: { brief: 'See and decide what agents ask' },
  routes: {
    list: command<{ json?: boolean; all?: boolean }>({ brief: 'List what waits for a person', flags: { all: yesNo('Also what was decided') }, load: () => import('./commands/approvals-list.ts') }),
    show: command<{ json?: boolean }, [string]>({
      brief: 'Show one request in full',
      flags: {},
      positional: { kind: 'tuple', parameters: [approvalId] },
      load: () => import('./commands/approvals-show.ts'),
    }),
    approve: command<{ json?: boolean; reason?: string }, [string]>({
      brief: 'Let it happen',
      flags: { reason: text('Goes on record') },
      positional: { kind: 'tuple', parameters: [approvalId] },
      load: async () => ({ run: (await import('./commands/approvals-decide.ts')).approve }),
    }),
    deny: command<{ json?: boolean; reason?: string }, [string]>({
      brief: 'Refuse it',
      flags: { reason: text('Goes on record and to the agent') },
      positional: { kind: 'tuple', parameters: [approvalId] },
      load: async () => ({ run: (await import('./commands/approvals-decide.ts')).deny }),
    }),
    grants: command<{ json?: boolean }>({ brief: 'List approvals that still let one identical request through', flags: {}, load: () => import('./commands/approvals-grants.ts') }),
  },
});

const audit = buildRouteMap<string, CliContext>({
  docs: { brief: 'Search the record, and verify that nobody changed it' },
  routes: {
    verify: command<{ json?: boolean }>({
      brief: 'Verify the chain and its signed checkpoints',
      about: "Runs the verifier, a program of its own that needs no running NemoClaw. Needs root: the checkpoints are root's.",
      flags: {},
      load: () => import('./commands/audit-verify.ts'),
    }),
    search: command<SearchFlags, string[]>({
      brief: 'Find events on the record',
      about: 'nemoclaw audit search email --sandbox my-assistant --verdict denied',
      flags: {
        sandbox: text('Only this sandbox', 'name'),
        verdict: text('allowed, denied, waiting, approved or rejected', 'word'),
        limit: text('Most events to print (default 100)', 'number'),
        after: text('Only after this sequence number', 'sequence'),
      },
      positional: { kind: 'array', parameter: argument('word', 'Words that the event must contain') },
      load: () => import('./commands/audit-search.ts'),
    }),
  },
});

export const rootRoutes = buildRouteMap<string, CliContext>({
  docs: {
    brief: 'Run autonomous agents that are held by the kernel and by policy',
    fullDescription: [
      'nemoclaw onboard                           set up this machine and a first assistant',
      'nemoclaw my-assistant run "task"           give it a task',
      'nemoclaw my-assistant connect              open its own terminal interface',
      'nemoclaw my-assistant status | logs --follow | exec -- cmd… | policy set … | stop | start | destroy',
      'nemoclaw approvals list                    what waits for you',
      '',
      'Exit codes: 0 ok, 1 failed, 2 usage, 3 denied by policy, 4 waiting for approval, 5 no daemon.',
    ].join('\n'),
  },
  routes: {
    onboard: command<OnboardFlags>({
      brief: 'Set up this machine and an assistant',
      about: 'sudo ./nemoclaw onboard --yes --name my-assistant --provider demo',
      flags: {
        name: text('Name of the sandbox (default my-assistant)', 'name'),
        blueprint: text('Blueprint (default my-assistant)', 'name'),
        provider: text('demo, nvidia, nim, vllm, ollama, openai, anthropic or compatible', 'kind'),
        endpoint: text('Address of the model provider, up to /v1', 'url'),
        model: text('Model', 'name'),
        agent: text('pi or shell (default: what the blueprint says)', 'kind'),
        workspace: text('Folder the agent works in (default: a new one for this sandbox)', 'folder'),
        yes: yesNo('Ask nothing'),
      },
      load: () => import('./commands/onboard.ts'),
    }),
    list: command({ brief: 'List sandboxes', flags: {}, load: () => import('./commands/list.ts') }),
    status: command({ brief: 'Say what needs you, what runs, and what is enforced', flags: {}, load: () => import('./commands/status.ts') }),
    top: command<TopFlags>({
      brief: 'Show what sandboxes do now: system calls per second, by what became of them',
      flags: { every: text('Seconds between two looks (default 2)', 'seconds'), times: text('Looks (default: on a terminal until stopped, else 1)', 'number') },
      load: () => import('./commands/top.ts'),
    }),
    doctor: command({ brief: 'Check this machine and say how to mend what is wrong', flags: {}, load: () => import('./commands/doctor.ts') }),
    up: command({ brief: 'Start NemoClaw', flags: {}, load: () => import('./commands/up.ts') }),
    down: command<{ json?: boolean; purge?: boolean; yes?: boolean }>({
      brief: 'Stop NemoClaw and every sandbox',
      flags: { purge: yesNo('Also remove state, record, users and the installed copy'), yes: yesNo('Ask nothing') },
      load: () => import('./commands/down.ts'),
    }),
    version: command({ brief: 'Print the version', flags: {}, load: () => import('./commands/version.ts') }),
    policy,
    approvals,
    audit,
  },
});
