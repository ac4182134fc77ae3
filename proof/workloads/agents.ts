/** pi and opencode, each in a sandbox that NemoClaw made, at a small task with a scripted model; judged by the files they leave. */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { filesystemLevels, syscallLevels } from '@nemoclaw/contract';
import { createModelServer } from '../../gateway/src/demo/model-server.ts';
import type { Turn } from '../../gateway/src/demo/scenario.ts';
import type { Checks } from '../harness/checks.ts';
import { checkout, Instance, run } from '../harness/instance.ts';

/** How each agent names the file of its `write` tool. */
const pathArgument = { pi: 'path', opencode: 'filePath' } as const;
type Kind = keyof typeof pathArgument;

const program = '#include <stdio.h>\nint main(void) { puts("built by an agent"); return 0; }\n';
const build = 'gcc -o main main.c && ./main > said && git init -q . 2>/dev/null; git -c user.name=a -c user.email=a@localhost add main.c && git -c user.name=a -c user.email=a@localhost commit -q -m agent && git log --format=%s >> said';

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
    for (const [i, syscalls] of syscallLevels.entries()) {
      const filesystem = filesystemLevels[(i + 1) % filesystemLevels.length] ?? 'workspace';
      const title = `${kind}, ${filesystem}, ${syscalls}`;
      model.say = script(kind, filesystem === 'read-only' ? '/tmp' : '/workspace');
      model.asked.length = 0;
      const { workspace, start, ms, said, made } = await task(instance, { kind, name: `${kind}-${i}`, filesystem, syscalls, endpoint });
      check.that(`${title}: the task ends well (${start} ms to make, ${ms} ms to run)`, made && /The program is built\./.test(said), said);
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
  readonly name: string;
  readonly filesystem: string;
  readonly syscalls: string;
  readonly endpoint: string;
}

/** Installs a blueprint of the agent at these levels, makes the sandbox, gives the task, destroys it. `made`: every command line ended well. */
async function task(instance: Instance, { kind, name, filesystem, syscalls, endpoint }: Task): Promise<{ workspace: string; start: number; ms: number; said: string; made: boolean }> {
  const folder = join(instance.state, 'blueprints', name);
  cpSync(join(checkout, 'blueprints/assistant'), folder, { recursive: true });
  const edit = (file: string, change: (text: string) => string): void => writeFileSync(join(folder, file), change(readFileSync(join(folder, file), 'utf8')));
  edit('sandbox.yaml', (text) => text.replace('filesystem: workspace', `filesystem: ${filesystem}`).replace('syscalls: standard', `syscalls: ${syscalls}`));
  edit('blueprint.yaml', (text) => {
    const named = text.replace('name: assistant', `name: ${name}`).replace('kind: pi', `kind: ${kind}`);
    return kind === 'pi' ? named : named.replace(/^ +extension:.*\n/m, '');
  });
  const workspace = join(instance.root, 'workspaces', name);
  const cli = (args: readonly string[]): ReturnType<typeof run> => run(join(instance.root, 'opt/nemoclaw/bin/nemoclaw'), args, { env: instance.env, timeoutMs: 240_000 });
  const made = await cli(['onboard', '--yes', '--name', name, '--blueprint', name, '--provider', 'compatible', '--endpoint', endpoint, '--model', 'scripted']);
  if (made.code !== 0) throw new Error(`${made.out}${made.err}`);
  const ran = await cli([name, 'run', 'Write a small C program, build it and commit it.']);
  const gone = await cli([name, 'destroy']);
  return { workspace, start: Math.round(made.ms), ms: Math.round(ran.ms), said: ran.out + ran.err + (gone.code === 0 ? '' : gone.err), made: ran.code === 0 && gone.code === 0 };
}
