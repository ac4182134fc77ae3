/** The verbs of `nemoclaw <name> …`. */
import { buildRouteMap } from '@stricli/core';
import { argument, command, text, yesNo } from './command.ts';
import type { CliContext } from './context.ts';
import { explainExamples, explainFlags } from './explain-flags.ts';
import type { SetFlags } from './commands/credentials.ts';
import type { ExplainFlags } from './commands/policy-explain.ts';

export const sandboxRoutes = buildRouteMap<string, CliContext>({
  docs: { brief: 'One sandbox' },
  routes: {
    run: command<{ json?: boolean }, [string]>({
      brief: 'Give the agent a task and wait until it ends',
      about: 'nemoclaw my-assistant run "Answer the open tickets"\n\nEnds with a table of what was allowed, denied and approved. The exit code is 0 if the task ended, whatever was denied inside it.',
      flags: {},
      positional: { kind: 'tuple', parameters: [argument('task', 'The task, in words')] },
      load: () => import('./commands/run.ts'),
    }),
    exec: command<{ json?: boolean }, string[]>({
      brief: 'Run a command inside, under the same confinement as the agent',
      about: 'nemoclaw my-assistant exec -- ls -la /workspace\n\nThe exit code is that of the command.',
      flags: {},
      positional: { kind: 'array', parameter: argument('command', 'Command and arguments, after --'), minimum: 1 },
      load: () => import('./commands/exec.ts'),
    }),
    connect: command<{ json?: boolean; shell?: boolean }>({
      brief: "Open the agent's own terminal interface",
      flags: { shell: yesNo('Open a shell instead') },
      load: () => import('./commands/connect.ts'),
    }),
    status: command({ brief: 'Say what it is, what it may do and what was proved', flags: {}, load: () => import('./commands/sandbox-status.ts') }),
    logs: command<{ json?: boolean; follow?: boolean; after?: string }>({
      brief: 'Show what is on record about it',
      flags: { follow: yesNo('Go on as it happens'), after: text('Only after this sequence number', 'sequence') },
      load: () => import('./commands/logs.ts'),
    }),
    stop: command({ brief: 'Stop it; workspace, policy and record stay', flags: {}, load: async () => ({ run: (await import('./commands/sandbox-life.ts')).stop }) }),
    start: command({ brief: 'Start it again', flags: {}, load: async () => ({ run: (await import('./commands/sandbox-life.ts')).start }) }),
    destroy: command<{ json?: boolean; yes?: boolean }>({
      brief: 'Remove it; the workspace and the record stay',
      flags: { yes: yesNo('Ask nothing') },
      load: async () => ({ run: (await import('./commands/sandbox-life.ts')).destroy }),
    }),
    diff: command({ brief: 'Say what it changed (with filesystem.overlay)', flags: {}, load: async () => ({ run: (await import('./commands/layer.ts')).diff }) }),
    commit: command({
      brief: 'Carry its changes out in the workspace',
      about: 'nemoclaw my-assistant stop && nemoclaw my-assistant commit\n\nWhat you changed meanwhile is not overwritten, and what your shell, git or editor would obey by itself is left out; then the exit code is 1.',
      flags: {},
      load: async () => ({ run: (await import('./commands/layer.ts')).commit }),
    }),
    discard: command<{ json?: boolean; yes?: boolean }>({ brief: 'Drop its changes', flags: { yes: yesNo('Ask nothing') }, load: async () => ({ run: (await import('./commands/layer.ts')).discard }) }),
    snapshot: buildRouteMap<string, CliContext>({
      docs: { brief: 'Keep copies of its changes' },
      routes: {
        create: command<{ json?: boolean }, [string]>({
          brief: 'Copy what it has changed until now',
          flags: {},
          positional: { kind: 'tuple', parameters: [argument('name', 'Name of the snapshot')] },
          load: async () => ({ run: (await import('./commands/layer.ts')).create }),
        }),
        list: command({ brief: 'List the copies', flags: {}, load: async () => ({ run: (await import('./commands/layer.ts')).list }) }),
        restore: command<{ json?: boolean }, [string]>({
          brief: 'Go back to a copy; what came after it is lost',
          flags: {},
          positional: { kind: 'tuple', parameters: [argument('name', 'Name of the snapshot')] },
          load: async () => ({ run: (await import('./commands/layer.ts')).restore }),
        }),
      },
    }),
    credentials: buildRouteMap<string, CliContext>({
      docs: { brief: 'Give it secrets that it never sees' },
      routes: {
        set: command<SetFlags, [string]>({
          brief: 'Set a credential; its value comes from standard input',
          about:
            'printf %s "$TOKEN" | nemoclaw my-assistant credentials set github --host api.github.com --env GITHUB_TOKEN\n\n--kind header (the usual one): the value stands in a header in place of its placeholder.\n--kind sigv4 --access-key-id … : requests are signed anew; the value is the secret access key.\n--kind oauth2 --token-url … --client-id … : the value is the refresh token, or an object {"refreshToken", "clientSecret"}; access tokens are got and renewed outside.\n--kind key: for the gateway itself, such as the key of an ingress rule.',
          flags: {
            kind: text('header, sigv4, oauth2 or key', 'kind'), host: text('The only host that it is sent to', 'host'), port: text('443 if it is not said', 'port'), path: text('Only below this path', 'path'), header: text('authorization if it is not said', 'header'),
            env: text('Variable in which programs find the placeholder', 'name'), accessKeyId: text('Of sigv4', 'id'), region: text('Of sigv4', 'region'), service: text('Of sigv4', 'service'), tokenUrl: text('Of oauth2', 'url'), clientId: text('Of oauth2', 'id'), scope: text('Of oauth2', 'scope'),
          },
          positional: { kind: 'tuple', parameters: [argument('name', 'Name of the credential')] },
          load: async () => ({ run: (await import('./commands/credentials.ts')).set }),
        }),
        list: command({ brief: 'List them, without their values', flags: {}, load: async () => ({ run: (await import('./commands/credentials.ts')).list }) }),
        remove: command<{ json?: boolean }, [string]>({
          brief: 'Forget one',
          flags: {},
          positional: { kind: 'tuple', parameters: [argument('name', 'Name of the credential')] },
          load: async () => ({ run: (await import('./commands/credentials.ts')).remove }),
        }),
      },
    }),
    policy: buildRouteMap<string, CliContext>({
      docs: { brief: 'Read, explain and change its policy' },
      routes: {
        get: command<{ json?: boolean; file?: string }>({ brief: 'Print the policy in force', flags: { file: text('Only this file', 'file') }, load: () => import('./commands/policy-get.ts') }),
        set: command<{ json?: boolean }, string[]>({
          brief: 'Put new policy files in force',
          about: 'nemoclaw my-assistant policy set network.yaml',
          flags: {},
          positional: { kind: 'array', parameter: argument('file', 'Files, or a folder of them'), minimum: 1 },
          load: () => import('./commands/policy-set.ts'),
        }),
        explain: command<ExplainFlags>({ brief: 'Say what would be decided, and by which rule', about: explainExamples(), flags: explainFlags(), load: () => import('./commands/policy-explain.ts') }),
      },
    }),
  },
});
