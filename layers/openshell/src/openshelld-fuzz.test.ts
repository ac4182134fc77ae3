/** Hostile packets at openshelld, its register socket and a shim, seeded: programs built to notice errors in memory live on, leak no descriptor, and other sandboxes do not notice. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, rmdirSync, copyFileSync, constants, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeRegister, loadSandboxPolicy } from '@nemoclaw/contract';
import { ControlChannel } from './control-channel.ts';
import { readVectors } from './control-vectors.ts';
import { readHostFacts } from './host-facts.ts';
import { binding, closeFd } from './native.ts';
import { buildNative } from './native-build.ts';
import { OpenshelldClient } from './openshelld-client.ts';
import { testUids } from './openshelld-test-instance.ts';
import { planFor } from './plan-for.ts';

const native = fileURLToPath(new URL('../native/', import.meta.url));
const checked = join(native, 'build', 'checked');
const seed = Number(process.env['NEMOCLAW_FUZZ_SEED'] ?? 20_260_101);

/** Numbers that are the same in every run (mulberry32). */
class Chance {
  #state: number;
  constructor(from: number) {
    this.#state = from;
  }
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

const odd: readonly unknown[] = [null, true, false, 0, -1, 1, 2 ** 31, -(2 ** 31), 2 ** 53, -(2 ** 53), 1e308, 0.5, '', 'x', '/', '..', '/../..', 'ä€𝄞', '%s%n%d', 'A'.repeat(5000), '\u0001', [], {}, [[]], [null], [1, 'a', {}], { t: 'hello' }, Array.from({ length: 3000 }, () => 0)];

/** The same value with some of it replaced, left out, doubled, or moved. */
function damage(value: unknown, chance: Chance, keep: ReadonlySet<string>): unknown {
  if (chance.below(12) === 0) return chance.of(odd);
  if (Array.isArray(value)) {
    const list = value.map((item: unknown) => damage(item, chance, keep));
    if (chance.below(8) === 0) list.splice(chance.below(list.length + 1), 1);
    if (chance.below(8) === 0) list.push(...list.slice(0, 50), chance.of(odd));
    return list;
  }
  if (typeof value !== 'object' || value === null) return chance.below(10) === 0 ? chance.of(odd) : value;
  const out: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (!keep.has(key) && chance.below(15) === 0) continue;
    out[chance.below(40) === 0 && !keep.has(key) ? `${key}x` : key] = keep.has(key) ? inner : damage(inner, chance, keep);
  }
  return out;
}

/** One packet: a message with errors, cut off, or bytes that never were one. Never empty, never too long: those end a channel. */
function packet(message: unknown, chance: Chance): Buffer {
  const kind = chance.below(10);
  if (kind === 0) return Buffer.from(Array.from({ length: 1 + chance.below(600) }, () => chance.below(256)));
  const text = JSON.stringify(kind < 3 ? message : damage(message, chance, new Set(['t'])));
  if (kind === 1) return Buffer.from(text.slice(0, 1 + chance.below(text.length)));
  if (kind === 2) return Buffer.from(`${'['.repeat(1 + chance.below(4000))}${text}`);
  if (kind === 3) {
    const bytes = Buffer.from(text);
    for (let i = 0; i < 4; i++) bytes[chance.below(bytes.length)] = chance.below(256);
    return bytes;
  }
  const bytes = Buffer.from(text);
  return bytes.length > 250_000 ? bytes.subarray(0, 250_000) : bytes;
}

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
/** As many as there should be at most, once what was closed on the other side is closed here; a leak stays. */
async function settled(pid: number, most: number): Promise<number> {
  for (let i = 0; i < 2400 && descriptors(pid) > most; i++) await sleep(25);
  return descriptors(pid);
}
/** Removes an empty control group; processes that were killed may take a moment to be gone. */
async function removeGroup(path: string): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      return rmdirSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || i === 2400) throw error;
      await sleep(25);
    }
  }
}
const alive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;
const complaint = /AddressSanitizer|runtime error|SUMMARY|stack smashing|free\(\)|Assertion/;

describe(`hostile packets, seed ${seed}`, { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'openshell-fuzz-'));
  const host = readHostFacts();
  const plan = planFor(loadSandboxPolicy('{ apiVersion: openshell.nvidia.com/v1, kind: SandboxPolicy, metadata: { name: fuzz }, spec: { isolation: { filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete] }] } } }', 'fuzz'), host, { hasWorkspace: false });
  const vectors = [...readVectors().values()].filter((vector) => vector.direction === 'to-openshelld').map(({ message }) => (typeof message === 'object' && message !== null && 'id' in message ? { ...message, id: 1_000_000 } : message)); // no id that the client waits for
  const children: ChildProcess[] = [];
  let said = '';

  const start = (program: string, args: readonly string[], input: string | undefined, third: number | 'ignore'): ChildProcess => {
    const child = spawn(program, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'ignore', 'pipe', third], env: { ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1', UBSAN_OPTIONS: 'print_stacktrace=1' } });
    child.stdin?.end(input);
    child.stderr?.on('data', (data: Buffer) => (said += data.toString()));
    children.push(child);
    return child;
  };
  /** An openshelld for us alone, with a sandbox that works. */
  const alone = (): { child: ChildProcess; client: OpenshelldClient; fd: number; channel: ControlChannel } => {
    const [ours, theirs] = binding().pair(1);
    const child = start(join(checked, 'openshelld'), ['--alone'], JSON.stringify({ instance: `fuzz-${process.pid}-${children.length}`, bindRoots: host.bindRoots, holdSeconds: 5, limits: { memoryBytes: 64 << 20, pids: 64 } }), theirs);
    closeFd(theirs);
    const channel = new ControlChannel(ours);
    const client = new OpenshelldClient(channel, 'gateway', process.pid, (_message, fds) => {
      for (const fd of fds) closeFd(fd);
    });
    return { child, client, fd: ours, channel };
  };
  const runs = async (client: OpenshelldClient, name: string): Promise<void> => {
    const { fds } = await client.exec('works', name, { argv: ['/bin/true'], env: [], cwd: '/', tty: null });
    assert.equal(fds.length, 3);
    for (const fd of fds) closeFd(fd);
  };

  before(() => {
    buildNative('openshelld', 'openshell-shim', 'binding.node');
    const make = (build: string, flags: string, link: string, program: string): void => {
      const made = spawnSync('flock', [join(native, 'build/.lock'), 'make', '-s', '-C', native, `B=build/${build}`, `CFLAGS=-O1 -g -Wno-error=format-truncation ${flags}`, `LINK=${link}`, `build/${build}/${program}`], { encoding: 'utf8' });
      assert.equal(made.status, 0, made.stderr);
    };
    make('checked', '-fsanitize=address,undefined -fno-omit-frame-pointer', '', 'openshelld');
    make('checked-shim', '-fsanitize=undefined -fsanitize-undefined-trap-on-error', '-static', 'openshell-shim');
    copyFileSync(join(native, 'build/checked-shim/openshell-shim'), join(checked, 'openshell-shim'));
  });
  after(async () => {
    for (const child of children) if (alive(child)) child.kill('SIGKILL');
    // Empty ones that a shim without its openshelld may not remove; a member left in one makes this fail.
    for (const tree of ['.', ...readdirSync('/sys/fs/cgroup')].map((one) => join('/sys/fs/cgroup', one))) {
      for (const name of existsSync(join(tree, 'cgroup.procs')) ? readdirSync(tree) : []) if (name.startsWith(`nemoclaw-fuzz-${process.pid}-`)) await removeGroup(join(tree, name));
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it('openshelld takes 4,000 of them on its control channel and goes on', async () => {
    const chance = new Chance(seed);
    const { child, client, fd, channel } = alone();
    await client.create('works', plan, '', '');
    const files = [openSync('/dev/null', 'r'), openSync(folder, 0o10000000 | constants.O_DIRECTORY), openSync('/proc/self/status', 'r'), ...binding().pair(0)];
    const targeted = [
      { t: 'exec', id: 1_000_000, sandbox: 'works', execId: 'f', argv: ['/bin/true'], env: ['A=b'], cwd: '/', tty: { rows: 24, cols: 80 } },
      { t: 'exec.attach', id: 1_000_000, sandbox: 'works', execId: 'f' },
      { t: 'exec.resize', id: 1_000_000, sandbox: 'works', execId: 'f', rows: 1, cols: 1 },
      { t: 'exec.signal', id: 1_000_000, sandbox: 'works', execId: 'f', signal: 18 },
      { t: 'sandbox.update', id: 1_000_000, sandbox: 'works', escalate: plan.escalate, lsm: null, limits: { memoryBytes: 64 << 20, pids: 64, cpuMillis: 500 }, recordRules: plan.recordRules },
      { t: 'hold.answer', id: 1_000_000, sandbox: 'works', holdId: 'works:0000000000000001', verdict: 'allow' },
    ];
    await client.host();
    const before = descriptors(child.pid ?? 0);
    for (let i = 0; i < 4000; i++) {
      const message = chance.below(3) === 0 ? chance.of(targeted) : chance.of(vectors);
      const given = chance.below(4) === 0 ? Array.from({ length: 1 + chance.below(6) }, () => chance.of(files)) : [];
      const bytes = packet(message, chance);
      // By ourselves: the channel would refuse most of it.
      while (!binding().send(fd, bytes, given)) await new Promise((resolve) => setTimeout(resolve, 1));
      if (i % 400 === 399) {
        await client.host();
        assert.ok(alive(child), said.slice(-3000));
      }
    }
    await runs(client, 'after');
    // What was started by a packet that happened to be right ends with its sandbox.
    await client.destroy('works');
    await client.create('works', plan, '', '');
    await client.host();
    for (const file of files) closeSync(file);
    const left = (await settled(child.pid ?? 0, before + 1)) - before;
    assert.ok(left <= 1, `${left} more descriptors than before`);
    channel.close();
    assert.deepEqual(await once(child, 'exit'), [0, null], said.slice(-3000));
    assert.doesNotMatch(said, complaint);
  });

  it('plans with errors make no sandbox or a whole one, and harm no other', async () => {
    const chance = new Chance(seed + 1);
    const { child, client, channel } = alone();
    await client.create('works', plan, '', '');
    const before = descriptors(child.pid ?? 0);
    let whole = 0;
    for (let i = 0; i < 150; i++) {
      const broken = chance.below(20) === 0 ? chance.of(odd) : damage(plan, chance, new Set());
      await client.create(`plan-${i}`, broken, '', '').then(
        async () => {
          whole += 1;
          await client.destroy(`plan-${i}`);
        },
        (error: { code?: string }) => assert.match(error.code ?? '', /^(plan|host|view|network|confine|probe|protocol|internal|timeout|send)$/),
      );
      assert.ok(alive(child), said.slice(-3000));
    }
    await runs(client, 'after');
    assert.ok(whole < 150);
    assert.ok((await settled(child.pid ?? 0, before + 1)) <= before + 1);
    channel.close();
    assert.deepEqual(await once(child, 'exit'), [0, null], said.slice(-3000));
    assert.doesNotMatch(said, complaint);
  });

  it('a packet that is too long, or empty, ends the channel and with it all sandboxes', async () => {
    for (const bytes of [Buffer.alloc(300_000, '['), Buffer.alloc(0)]) {
      const { child, client, fd, channel } = alone();
      await client.create('works', plan, '', '');
      binding().send(fd, bytes, []);
      assert.deepEqual(await once(child, 'exit'), [0, null], said.slice(-3000));
      channel.close();
    }
    assert.doesNotMatch(said, complaint);
  });

  it('the register socket takes 300 connections of them, and then a folder', async () => {
    const chance = new Chance(seed + 2);
    const run = join(folder, 'run');
    mkdirSync(join(folder, 'prefix'));
    const identity = (uid: number): { uid: number; gid: number } => ({ uid, gid: uid });
    writeFileSync(join(folder, 'config.json'), JSON.stringify({
      instance: `fuzz-${process.pid}-r`, run, state: join(folder, 'state'), prefix: join(folder, 'prefix'), node: process.execPath, operatorsGid: testUids.operators, workers: 1, services: [],
      identities: { gateway: identity(testUids.gateway), worker: identity(testUids.worker), ledger: identity(testUids.ledger) }, agentUids: { first: testUids.agents, count: 8 },
    }));
    const child = start(join(checked, 'openshelld'), ['--config', join(folder, 'config.json')], undefined, 'ignore');
    const socket = join(run, 'register.sock');
    const talk = (bytes: Buffer, end: boolean): Promise<string> =>
      new Promise((resolve) => {
        let text = '';
        const connection = createConnection(socket, () => (end ? connection.end(bytes) : connection.write(bytes, () => setTimeout(() => connection.destroy(), chance.below(3)))));
        connection.on('data', (data) => (text += data.toString())).on('error', () => undefined).on('close', () => resolve(text));
      });
    while (!readdirSync(folder).includes('run') || !readdirSync(run).includes('register.sock')) await new Promise((resolve) => setTimeout(resolve, 10));
    await talk(Buffer.from(encodeRegister(folder)), true);
    const before = descriptors(child.pid ?? 0);
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.concat([packet({ t: 'register', path: chance.of([folder, '/etc', '/nowhere', `${folder}/../../etc`, '/proc/self/fd/3', '/dev/null']) }, chance), Buffer.from(chance.below(2) === 0 ? '\n' : '')]);
      await talk(bytes.subarray(0, 20_000), chance.below(3) !== 0);
      assert.ok(alive(child), said.slice(-3000));
    }
    const project = join(folder, 'project');
    mkdirSync(project);
    assert.match(await talk(Buffer.from(encodeRegister(project)), true), /"ok":\s*true/);
    const left = await settled(child.pid ?? 0, before + 8);
    assert.ok(left <= before + 8, `${left} descriptors, ${before} before`);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null], said.slice(-3000));
    assert.doesNotMatch(said, complaint);
  });

  it('a shim takes 2,000 of them from who plays openshelld, and its sandbox ends with it', async () => {
    const chance = new Chance(seed + 3);
    const [ours, theirs] = binding().pair(1);
    const shim = start(join(checked, 'openshell-shim'), [], undefined, theirs);
    closeFd(theirs);
    const channel = new ControlChannel(ours);
    let ready = (): void => undefined;
    const running = new Promise<void>((resolve) => (ready = resolve));
    channel.onMessage((message, fds) => {
      for (const fd of fds) closeFd(fd);
      if ((message as { t: string }).t === 'ready') ready();
    });
    const launch = { t: 'launch', sandbox: 'shim', uid: testUids.agents + 7, plan, instance: `fuzz-${process.pid}-s`, worker: '', holdMs: 1000, bindRoots: host.bindRoots, testing: false, alone: true, workspaceUid: 0, workspaceGid: 0, limits: { memoryBytes: 64 << 20, pids: 64, cpuMillis: 0 }, socket: '' };
    channel.send(launch as never);
    await running;
    const messages = [
      { t: 'exec', n: 1, execId: 'e', argv: ['/bin/true'], env: [], cwd: '/', tty: false }, { t: 'exec.fds', n: 2, execId: 'e' }, { t: 'exec.signal', execId: 'e', signal: 18 }, { t: 'exec.resize', execId: 'e', rows: 1, cols: 1 },
      { t: 'exec.done', execId: 'e' }, { t: 'freeze', n: 3, frozen: false }, { t: 'attached', worker: 'worker:1', pid: 1 }, { t: 'held', nid: 4, record: { hold: {} } }, { t: 'unheld', nid: 4 }, { t: 'rules', escalate: plan.escalate },
    ];
    const files = [openSync('/dev/null', 'r+'), openSync('/dev/zero', 'r+')];
    for (let i = 0; i < 2000; i++) {
      const given = chance.below(2) === 0 ? Array.from({ length: 1 + chance.below(6) }, () => chance.of(files)) : [];
      const bytes = packet(chance.of(messages), chance);
      while (!binding().send(ours, bytes, given)) await new Promise((resolve) => setTimeout(resolve, 1));
      if (i % 100 === 99) assert.ok(alive(shim), `the shim ended: ${shim.signalCode ?? shim.exitCode}; ${said.slice(-2000)}`);
    }
    for (const file of files) closeSync(file);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(alive(shim), `the shim ended: ${shim.signalCode ?? shim.exitCode}`);
    assert.equal(readFileSync(`/proc/${shim.pid}/comm`, 'utf8'), 'openshell-shim\n');
    channel.close();
    assert.deepEqual(await once(shim, 'exit'), [0, null]);
  });
});
