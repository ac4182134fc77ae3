/** pi and opencode, each in a sandbox that NemoClaw made, at a small task with a scripted model; judged by the files they leave. */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Explained } from '@nemoclaw/contract';
import { createModelServer } from '../../gateway/src/demo/model-server.ts';
import type { Turn } from '../../gateway/src/demo/scenario.ts';
import type { Checks } from '../harness/checks.ts';
import { checkout, Instance, run } from '../harness/instance.ts';
import type { Isolation } from './programs.ts';

/** How each agent names the file of its `write` tool. */
const pathArgument = { pi: 'path', opencode: 'filePath' } as const;
type Kind = keyof typeof pathArgument;
/** What it says without a way to its model. */
const cannotReach: Readonly<Record<Kind, RegExp>> = { pi: /Connection error/, opencode: /Unable to connect/ };

const program = '#include <stdio.h>\nint main(void) { puts("built by an agent"); return 0; }\n';
const build = 'gcc -o main main.c && ./main > said && git init -q . 2>/dev/null; git -c user.name=a -c user.email=a@localhost add main.c && git -c user.name=a -c user.email=a@localhost commit -q -m agent && git log --format=%s >> said';

/** Every level of each kind, where there is a way to a model. */
const reaching: readonly Isolation[] = [
  { network: 'restricted', filesystem: 'workspace', syscalls: 'minimal' },
  { network: 'open', filesystem: 'ephemeral', syscalls: 'standard' },
  { network: 'open', filesystem: 'read-only', syscalls: 'permissive' },
];
/** And where there is none: an agent starts, and says that it cannot reach its model. */
const cutOff: Isolation = { network: 'none', filesystem: 'workspace', syscalls: 'standard' };
const elsewhere = 'https://example.com/';

/** Three turns: a file by the agent's own tool, a command by its shell, a farewell. */
function script(kind: Kind, folder: string): (answers: number) => Turn {
  const turns: readonly Turn[] = [
    { text: 'I write the program.', calls: [{ name: 'write', args: { [pathArgument[kind]]: `${folder}/main.c`, content: program } }] },
    { text: 'I build it.', calls: [{ name: 'bash', args: { command: `cd ${folder} && ${build}`, description: 'Builds and runs the program' } }] },
  ];
  return (answers) => turns[answers] ?? { text: 'The program is built.', calls: [] };
}

interface Asked {
  readonly messages?: readonly { readonly role: string; readonly content: unknown }[];
  readonly authorization: string;
}

/** A model of its own for each agent, so that both can work at once. */
class Model {
  readonly asked: Asked[] = [];
  say: (answers: number) => Turn = () => ({ text: 'Nothing to do.', calls: [] });
  readonly #server: Server = createModelServer({
    // A title is asked for without any tools.
    script: (messages) => (messages.some((one) => one.role === 'system' && /title generator/i.test(JSON.stringify(one.content))) ? { text: 'A program', calls: [] } : this.say(messages.filter((one) => one.role === 'assistant').length)),
    onRequest: (body, headers) => this.asked.push({ ...(body as Pick<Asked, 'messages'>), authorization: headers.authorization ?? '' }),
  });

  async listen(): Promise<string> {
    await new Promise<void>((ready) => this.#server.listen(0, '127.0.0.1', ready));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  close(): void {
    this.#server.close();
  }
}

export async function agents(check: Checks): Promise<void> {
  const instance = new Instance();
  try {
    instance.configure();
    const up = await instance.cli(['up'], { timeoutMs: 300_000 });
    if (up.code !== 0) throw new Error(`nemoclaw up: ${up.out}${up.err}`);
    await Promise.all((Object.keys(pathArgument) as Kind[]).map((kind) => check.step(kind, () => agent(check, instance, kind))));
  } finally {
    await instance.destroy();
  }
}

/** One agent at each level, one after the other. */
async function agent(check: Checks, instance: Instance, kind: Kind): Promise<void> {
  const model = new Model();
  const endpoint = await model.listen();
  try {
    for (const isolation of [...reaching, cutOff]) {
      const { network, filesystem, syscalls } = isolation;
      const title = `${kind}, ${network}, ${filesystem}, ${syscalls}`;
      model.say = script(kind, filesystem === 'read-only' ? '/tmp' : '/workspace');
      model.asked.length = 0;
      const { workspace, start, ms, said, code, destroyed, explained } = await task(instance, { kind, isolation, endpoint });
      check.that(`${title}: it can be destroyed`, destroyed, said);
      check.that(`${title}: another host is ${network === 'open' ? 'allowed' : 'denied'}`, explained.verdict === (network === 'open' ? 'allow' : 'deny'), explained);
      if (isolation === cutOff) {
        check.that(`${title}: it says that it cannot reach its model (${start} ms to make, ${ms} ms to run)`, code !== 0 && cannotReach[kind].test(said), { code, said });
        check.that(`${title}: the model was asked nothing`, model.asked.length === 0, model.asked);
        continue;
      }
      check.that(`${title}: the task ends well (${start} ms to make, ${ms} ms to run)`, code === 0 && /The program is built\./.test(said), { code, said });
      // What the model was told after the two tools ran.
      const last = model.asked.findLast((one) => one.messages?.some((message) => message.role === 'tool'))?.messages ?? [];
      const tools = last.filter((message) => message.role === 'tool');
      check.that(`${title}: both tools did their work`, tools.length === 2 && !/denied|reject|not permitted|No such file/i.test(JSON.stringify(tools)), tools);
      const file = join(workspace, 'said');
      if (filesystem === 'workspace') check.that(`${title}: what it built is there`, existsSync(file) && readFileSync(file, 'utf8') === 'built by an agent\nagent\n', existsSync(file) ? readFileSync(file, 'utf8') : 'no file');
      else check.that(`${title}: nothing stays on the host`, !existsSync(file) && !existsSync(join(workspace, 'main.c')));
      check.that(`${title}: the placeholder of a key did not leave the host's side`, model.asked.length > 0 && model.asked.every((one) => one.authorization === ''), model.asked.map((one) => one.authorization));
    }
  } finally {
    model.close();
  }
}

interface Task {
  readonly kind: Kind;
  readonly isolation: Isolation;
  readonly endpoint: string;
}
interface Ended {
  readonly workspace: string;
  /** Milliseconds. */
  readonly start: number;
  readonly ms: number;
  readonly said: string;
  readonly code: number | null;
  readonly destroyed: boolean;
  /** What would be decided about a host that no rule names. */
  readonly explained: Pick<Explained, 'verdict'>;
}

/** Installs a blueprint of the agent at these levels, makes the sandbox, gives the task, destroys it. */
async function task(instance: Instance, { kind, isolation, endpoint }: Task): Promise<Ended> {
  const { network, filesystem, syscalls } = isolation;
  const name = `${kind}-${network}-${syscalls}`;
  const folder = join(instance.state, 'blueprints', name);
  cpSync(join(checkout, 'blueprints/assistant'), folder, { recursive: true });
  const edit = (file: string, ...changes: readonly (readonly [from: RegExp, to: string])[]): void => {
    const before = readFileSync(join(folder, file), 'utf8');
    for (const [from] of changes) if (!from.test(before)) throw new Error(`${file} of the assistant has no ${from}`);
    writeFileSync(join(folder, file), changes.reduce((text, [from, to]) => text.replace(from, to), before));
  };
  edit('sandbox.yaml', [/network: .*/, `network: ${network}`], [/filesystem: .*/, `filesystem: ${filesystem}`], [/syscalls: .*/, `syscalls: ${syscalls}`]);
  if (network === 'open') edit('network.yaml', [/^ +deny:\n.*\n/m, '']);
  edit('blueprint.yaml', [/name: .*/, `name: ${name}`], [/kind: pi/, `kind: ${kind}`], ...(kind === 'pi' ? [] : [[/^ +extension:.*\n/m, ''] as const]));
  const workspace = join(instance.root, 'workspaces', name);
  const cli = (args: readonly string[]): ReturnType<typeof run> => run(join(instance.root, 'opt/nemoclaw/bin/nemoclaw'), args, { env: instance.env, timeoutMs: 240_000 });
  const made = await cli(['onboard', '--yes', '--name', name, '--blueprint', name, '--provider', 'compatible', '--endpoint', endpoint, '--model', 'scripted']);
  if (made.code !== 0) throw new Error(`${made.out}${made.err}`);
  const explained = JSON.parse((await cli([name, 'policy', 'explain', '--url', elsewhere, '--json'])).out) as Ended['explained'];
  const ran = await cli([name, 'run', 'Write a small C program, build it and commit it.']);
  const gone = await cli([name, 'destroy']);
  return { workspace, start: Math.round(made.ms), ms: Math.round(ran.ms), said: ran.out + ran.err + gone.err, code: ran.code, destroyed: gone.code === 0, explained };
}
