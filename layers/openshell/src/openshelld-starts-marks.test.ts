/** Where the kernel asks about programs in tier B: on no more mounts than the rules need, about no file twice at once, and never too seldom. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, linkSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import type { CreateResult, LaunchPlan, SyscallHold } from '@nemoclaw/contract';
import type { TestInstance, TestService } from './openshelld-test-instance.ts';
import { oneInstance } from './openshelld-test-layer.ts';

const levels = 'isolation: { network: none, filesystem: workspace, syscalls: standard }';
const program = '/usr/bin/factor';
const ran = /2 3|^ran/m;
/** Of a descriptor that may be closed meanwhile. */
const textOf = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

describe('where the kernel asks about programs', process.getuid?.() === 0 ? {} : { skip: 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let workspace: { readonly path: string; readonly id: string };
  let tools: string;
  let next = 0;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });
  before(async () => {
    workspace = await instance.workspace('project');
    tools = join(instance.root, 'prefix', 'tools');
    for (const folder of [tools, join(tools, 'asked'), join(tools, 'free'), ...['locked', 'ruled', 'other'].map((name) => join(workspace.path, name))]) mkdirSync(folder);
    for (const file of [join(tools, 'asked/own'), join(tools, 'free/one'), join(tools, 'free/two'), join(tools, 'free/late'), join(tools, 'free/named'), join(workspace.path, 'locked/prog'), join(workspace.path, 'other/prog')]) copyFileSync(program, file);
    linkSync(join(tools, 'free/two'), join(tools, 'asked/two'));
    writeFileSync(join(workspace.path, 'locked/run'), '#!/bin/sh\necho ran\n');
    chmodSync(join(workspace.path, 'locked/run'), 0o755);
  });

  const sh = async (sandbox: string, script: string): Promise<string> => {
    const out = await gateway.run(sandbox, `x${(next += 1)}`, ['/bin/sh', '-c', script]);
    return `${out.stdout}${out.stderr}`;
  };
  /** The question that a script leads to, or, where there is none, what the script says. */
  const asked = async (sandbox: string, script: string): Promise<{ readonly hold: SyscallHold | undefined; readonly out: Promise<string> }> => {
    const old = new Set(gateway.news.flatMap((m) => (m.t === 'hold' ? [m.hold.holdId] : [])));
    const hold = (): SyscallHold | undefined => gateway.news.flatMap((m) => (m.t === 'hold' && m.hold.sandbox === sandbox && !old.has(m.hold.holdId) ? [m.hold] : []))[0];
    let over = false;
    const out = sh(sandbox, script).finally(() => (over = true));
    while (!over && !hold()) await new Promise((resolve) => setTimeout(resolve, 10));
    return { hold: hold(), out };
  };
  const deniedAt = async (sandbox: string, script: string, path: string): Promise<void> => {
    const { hold, out } = await asked(sandbox, script);
    assert.equal(hold?.path, path, `${script}: ${hold ? '' : await out}`);
    await gateway.call('answerHold', sandbox, hold.holdId, 'deny');
    assert.doesNotMatch(await out, ran, script);
  };
  const create = async (sandbox: string, spec: string, change?: (plan: LaunchPlan) => LaunchPlan): Promise<CreateResult> => (await gateway.call('create', sandbox, instance.plan(`${levels}, ${spec}`, change), workspace.id, 'worker:1')) as CreateResult;
  /** What the kernel says of the group that the sandbox's shim reads: mounts by their places, files by their numbers. */
  const marks = ({ init }: CreateResult): { readonly places: readonly string[]; readonly files: readonly number[] } => {
    const shim = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1] ?? '';
    const points = new Map(readFileSync(`/proc/${init}/mountinfo`, 'utf8').split('\n').map((line) => [Number(line.split(' ')[0]), line.split(' ')[4] ?? '']));
    const group = readdirSync(`/proc/${shim}/fdinfo`).map((fd) => textOf(`/proc/${shim}/fdinfo/${fd}`)).find((text) => text.includes('fanotify flags')) ?? '';
    const numbers = (name: string): number[] => [...group.matchAll(new RegExp(`^fanotify ${name}:([0-9a-f]+)`, 'gm'))].map(([, hex = '']) => parseInt(hex, 16));
    return { places: numbers('mnt_id').map((id) => points.get(id) ?? '?').sort(), files: numbers('ino') };
  };
  /** The host's folder of tools, seen at other places too. */
  const shown = (...places: readonly (readonly [string, string])[]) => (plan: LaunchPlan): LaunchPlan => {
    const rights = plan.landlock.rules.find((rule) => rule.path === '/usr')?.rights ?? 0;
    const all = [[tools, '/opt/tools'], ...places] as const;
    return { ...plan, view: [...plan.view, ...all.map(([source, path]) => ({ do: 'bind', path, source, optional: false }) as const)], landlock: { ...plan.landlock, rules: [...plan.landlock.rules, ...all.map(([, path]) => ({ path, rights }))] } };
  };

  it('a folder that is locked is asked about by every way in, and nothing else is', async () => {
    const made = await create('l', 'filesystem: { escalate: [{ path: /workspace/locked/**, on: [write, exec] }] }');
    assert.deepEqual(marks(made).places, ['/workspace/locked']);
    const prog = '/workspace/locked/prog';
    for (const way of [`${prog} 6`, `cd /workspace/locked; ./prog 6`, `ln -sf ${prog} /tmp/link; /tmp/link 6`, `/lib64/ld-linux-x86-64.so.2 ${prog} 6`, `cp ${prog} /tmp/copy && /tmp/copy 6`, `exec 9<${prog}; /proc/self/fd/9 6`,
      `/proc/self/root${prog} 6`, `mv ${prog} /workspace/out; /workspace/out 6`, `/usr/bin/python3 -c "import os; d = os.open('/workspace/locked', 0); os.execve(os.open('prog', os.O_PATH, dir_fd=d), ['f', '6'], {})"`,
      `/usr/bin/python3 -c "import os; m = os.memfd_create('x'); os.write(m, open('${prog}', 'rb').read()); os.execve(m, ['f', '6'], {})"`]) await deniedAt('l', way, prog);
    await deniedAt('l', 'sh /workspace/locked/run', '/workspace/locked/run');
    for (const way of [`ln ${prog} /workspace/out; /workspace/out 6`, 'mv /workspace/locked /workspace/moved; /workspace/moved/prog 6', 'mv /workspace/locked /tmp/moved; /tmp/moved/prog 6']) {
      const { hold, out } = await asked('l', way);
      if (hold) await gateway.call('answerHold', 'l', hold.holdId, 'deny');
      assert.doesNotMatch(await out, ran, way);
    }
    assert.match(await sh('l', '/workspace/other/prog 6; cp /usr/bin/factor /workspace/own; /workspace/own 6; rm /workspace/own'), /6: 2 3\n6: 2 3\n/);
    await gateway.call('destroy', 'l');
  });

  it('a file is looked for under a second name wherever its file system is, and only there', async () => {
    const made = await create('f', 'process: { exec: { escalate: [/opt/tools/free/named] } }', shown());
    const { places } = marks(made);
    assert.ok(['/opt/tools', '/usr', '/workspace'].every((place) => places.includes(place)) && !places.includes('/tmp') && !places.includes('/home/agent'), places.join(' '));
    linkSync(join(tools, 'free/named'), join(workspace.path, 'other/named'));
    await deniedAt('f', '/workspace/other/named 6', '/workspace/other/named');
    // Here no second name can be one that a rule has: what has two is let be, but never the named file itself.
    do await sh('f', '/opt/tools/free/two 6');
    while (!marks(made).files.includes(statSync(join(tools, 'free/two')).ino));
    for (let round = 0; round < 3; round++) await deniedAt('f', '/opt/tools/free/two 10; /opt/tools/free/named 6', '/opt/tools/free/named');
    assert.ok(!marks(made).files.includes(statSync(join(tools, 'free/named')).ino));
    await gateway.call('destroy', 'f');
  });

  it('what no rule names and nobody inside can rename is not asked about twice at once; a second name, a move, a new name is', async () => {
    const made = await create('h', 'process: { exec: { escalate: ["/opt/tools/asked/**", "/workspace/ruled/**"] } }', shown());
    const one = statSync(join(tools, 'free/one')).ino;
    do await sh('h', '/opt/tools/free/one 6');
    while (!marks(made).files.includes(one));
    assert.equal(await sh('h', '/opt/tools/free/one 6; /opt/tools/free/two 6; /workspace/other/prog 6'), '6: 2 3\n6: 2 3\n6: 2 3\n');
    const files = marks(made).files;
    for (const other of [join(tools, 'free/two'), join(workspace.path, 'other/prog')]) assert.ok(!files.includes(statSync(other).ino), other);
    // One file, two names: the free one first.
    await deniedAt('h', '/opt/tools/free/two 10; /opt/tools/asked/two 6', '/opt/tools/asked/two');
    await deniedAt('h', '/opt/tools/free/one 10; /opt/tools/asked/own 6', '/opt/tools/asked/own');
    await deniedAt('h', '/workspace/other/prog 10; mv /workspace/other/prog /workspace/ruled/prog; /workspace/ruled/prog 6', '/workspace/ruled/prog');
    await deniedAt('h', 'cp /usr/bin/factor /workspace/own; /workspace/own 10; ln /workspace/own /workspace/ruled/own; /workspace/ruled/own 6', '/workspace/ruled/own');
    // The owner of the host's folder moves a file to where it is asked about: a moment later it is.
    assert.equal(await sh('h', '/opt/tools/free/late 6'), '6: 2 3\n');
    renameSync(join(tools, 'free/late'), join(tools, 'asked/late'));
    let late = await asked('h', '/opt/tools/asked/late 6');
    for (let tries = 0; tries < 1000 && !late.hold; tries++) late = await asked('h', '/opt/tools/asked/late 6');
    assert.ok(late.hold);
    await gateway.call('answerHold', 'h', late.hold.holdId, 'deny');
    assert.doesNotMatch(await late.out, ran);
    while (marks(made).files.length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await gateway.call('destroy', 'h');
  });

  it('a folder that is seen at two places is asked about each time', async () => {
    const made = await create('a', 'process: { exec: { escalate: ["/opt/alias/**", "/opt/tools/asked/**"] } }', shown([join(tools, 'free'), '/opt/alias']));
    for (let round = 0; round < 3; round++) await deniedAt('a', '/opt/tools/free/one 10; /opt/tools/free/one 10; /opt/alias/one 6', '/opt/alias/one');
    assert.ok(!marks(made).files.includes(statSync(join(tools, 'free/one')).ino));
    await gateway.call('destroy', 'a');
  });

  it('a sandbox has its own marks: what one may start is asked about in another', async () => {
    await create('first', 'process: { exec: { escalate: ["/opt/tools/asked/**"] } }', shown());
    await create('second', 'process: { exec: { escalate: ["/opt/tools/free/**"] } }', shown());
    assert.equal(await sh('first', '/opt/tools/free/one 6; /opt/tools/free/one 6'), '6: 2 3\n6: 2 3\n');
    await deniedAt('second', '/opt/tools/free/one 6', '/opt/tools/free/one');
    for (const name of ['first', 'second']) await gateway.call('destroy', name);
  });
});
