/** The API for programs, on the real kernel: commands, terminals, questions, live changes, and an end that leaves nothing. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSandboxPolicy, type Approver, type HoldOutcome, type HoldRequest, type LedgerEvent, type SandboxPolicy } from '@nemoclaw/contract';
import { buildNative } from './native-build.ts';
import { createSandbox, type Sandbox } from './sandbox.ts';

const policy = (more = '', name = 'alone'): SandboxPolicy =>
  loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: ${name} }\nspec: { isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete, rename] }] }${more} }\n`, 'alone.yaml');

/** Answers with what is next in `answers`, and keeps what was asked. */
class Scripted implements Approver {
  readonly asked: HoldRequest[] = [];
  readonly answers: (() => Promise<HoldOutcome>)[] = [];
  withdrawn = 0;
  async ask(request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> {
    this.asked.push(request);
    signal.addEventListener('abort', () => (this.withdrawn += 1));
    return (await this.answers.shift()?.()) ?? { verdict: 'unavailable', reason: 'no answer is prepared' };
  }
  consumeGrant(): Promise<boolean> {
    return Promise.resolve(false);
  }
  pending(): undefined {
    return undefined;
  }
}

/** Control groups of that process's sandboxes: in the v2 tree or in each of v1. */
const groupFolders = (pid: number): string[] =>
  ['.', ...readdirSync('/sys/fs/cgroup')].flatMap((one) => {
    try {
      const tree = join('/sys/fs/cgroup', one);
      return readdirSync(tree).filter((name) => name.startsWith(`nemoclaw-alone-${pid}-`)).map((name) => join(tree, name));
    } catch {
      return [];
    }
  });

describe('sandboxes of a program', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'openshell-api-'));
  const approver = new Scripted();
  const events: LedgerEvent[] = [];
  let sandbox: Sandbox;
  let reading: Promise<void>;
  const sh = async (script: string): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> => (await sandbox.exec(['/bin/sh', '-c', script])).output();

  before(async () => {
    buildNative('openshelld', 'openshell-shim', 'binding.node');
    mkdirSync(join(folder, 'prod'));
    for (const name of ['a', 'b', 'c']) writeFileSync(join(folder, 'prod', name), name);
    sandbox = await createSandbox(policy(), { workspace: folder, approver, env: { COLOUR: 'red' } });
    reading = (async () => {
      for await (const event of sandbox.events()) events.push(event);
    })();
  });
  after(async () => {
    await sandbox?.destroy();
    rmSync(folder, { recursive: true, force: true });
  });

  it('run commands: arguments, environment, folder, streams, how they end', async () => {
    assert.ok(Object.values(sandbox.probe).length > 20 && Object.values(sandbox.probe).every(Boolean));
    const command = await sandbox.exec(['/bin/sh', '-c', 'read line; echo "$line $COLOUR $SIZE $PWD"; echo problem >&2; exit 7'], { env: { SIZE: 'a b', COLOUR: 'blue' }, cwd: '/tmp' });
    command.stdin.write('hello\n');
    assert.deepEqual(await command.output(), { code: 7, signal: null, stdout: 'hello blue a b /tmp\n', stderr: 'problem\n' });
    assert.deepEqual(await sh('kill -TERM $$'), { code: null, signal: 'SIGTERM', stdout: '', stderr: '' });
    await assert.rejects(sandbox.exec(['/usr/bin/nonsense']), { code: 'NEMO_E_EXEC' });
    const long = await sandbox.exec(['/usr/bin/yes']);
    await assert.rejects(long.output(100_000), { code: 'NEMO_E_EXEC' });
    assert.equal((await long.exited).signal, 'SIGKILL');
    await assert.rejects(long.kill(), { code: 'NEMO_E_STATE' });
  });

  it('give terminals, with their size', async () => {
    const terminal = await sandbox.pty(['/bin/sh', '-c', 'stty size; read x; i=0; until [ "$(stty size)" = "40 120" ] || [ $((i += 1)) = 1500 ]; do sleep 0.02; done; stty size; echo "got $x"'], { rows: 30, cols: 100 });
    let shown = '';
    terminal.output.on('data', (data: Buffer) => (shown += data.toString()));
    while (!shown.includes('30 100')) await once(terminal.output, 'data');
    // It is on its way then; what is typed may be there before it.
    await terminal.resize(40, 120);
    terminal.input.write('word\n');
    assert.deepEqual(await terminal.exited, { code: 0, signal: null });
    if (!terminal.output.readableEnded) await once(terminal.output, 'end');
    assert.match(shown, /^30 100\r\nword\r\n40 120\r\ngot word\r\n$/);
  });

  it('ask the approver, and do what it says and nothing else', async () => {
    approver.answers.push(() => Promise.resolve({ verdict: 'allow', approvalId: '1', by: 'ann' }));
    assert.equal((await sh('rm prod/a')).code, 0);
    assert.equal(existsSync(join(folder, 'prod/a')), false);
    const asked = approver.asked.at(-1);
    assert.match(asked?.summary ?? '', /^\/usr\/bin\/rm \(pid \d+\) wants to delete \/workspace\/prod\/a$/);
    assert.deepEqual(asked?.decision.rules, [{ id: 'filesystem.escalate[0]', file: 'alone.yaml', line: 4 }]);
    assert.ok(asked.patienceMs > 800_000 && asked.patienceMs <= 900_100);
    for (const answer of [() => Promise.resolve({ verdict: 'deny', approvalId: '2', by: 'ann', reason: 'no' } as const), () => Promise.reject(new Error('broken')), () => Promise.resolve({ verdict: 'waiting', approvalId: '3' } as const)]) {
      approver.answers.push(answer);
      assert.match((await sh('rm prod/b')).stderr, /Operation not permitted/);
      assert.equal(existsSync(join(folder, 'prod/b')), true);
    }
    assert.equal(approver.asked.length, 4);
  });

  it('withdraw the question when the agent is gone', async () => {
    let asked = (): void => undefined;
    const question = new Promise<void>((resolve) => (asked = resolve));
    approver.answers.push(() => {
      asked();
      return new Promise(() => undefined);
    });
    const command = await sandbox.exec(['/usr/bin/rm', 'prod/b']);
    await question;
    const before = approver.withdrawn;
    await command.kill('SIGKILL');
    await command.exited;
    while (approver.withdrawn === before) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(existsSync(join(folder, 'prod/b')), true);
  });

  it('change live what can change, and say what cannot', async () => {
    const sleeper = await sandbox.exec(['/usr/bin/python3', '-c', 'input(); x = bytearray(300 << 20); print("had it")']);
    await sandbox.update(policy(', resources: { maxMemory: 100Mi, maxPids: 100 }'));
    sleeper.stdin.write('\n');
    assert.equal((await sleeper.exited).signal, 'SIGKILL'); // out of memory
    await sandbox.update(policy(', resources: { maxMemory: 1Gi, maxPids: 100 }'));
    await assert.rejects(sandbox.update(policy(', resources: { maxPids: 1000 }')), { code: 'NEMO_E_APPLY', message: /maxPids/ });
    await assert.rejects(sandbox.update(policy(', syscalls: { deny: [socket] }')), { code: 'NEMO_E_APPLY', message: /: syscalls\.$/ });
    await assert.rejects(sandbox.update(policy(', resources: { timeout: 1h }')), { code: 'NEMO_E_APPLY', message: /resources\.timeout/ });
    const other = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: alone }\nspec: { isolation: { network: restricted, filesystem: workspace, syscalls: standard }, resources: { maxPids: 100 }, filesystem: { escalate: [{ path: /workspace/other/**, on: [delete] }] } }\n`, 'alone.yaml');
    await sandbox.update(other);
    const before = approver.asked.length;
    assert.equal((await sh('rm prod/c')).code, 0);
    assert.equal(approver.asked.length, before);
    await sandbox.update(policy(', resources: { maxPids: 100 }'));
    assert.equal((await sh('rm prod/b')).code, 1);
    assert.equal(approver.asked.length, before + 1);
  });

  it('freeze and go on', async () => {
    const counter = await sandbox.exec(['/bin/sh', '-c', 'while :; do echo x; sleep 0.01; done']);
    let seen = 0;
    counter.stdout.on('data', (data: Buffer) => (seen += data.length));
    await once(counter.stdout, 'data');
    await sandbox.freeze(true);
    const waiting = sandbox.exec(['/bin/echo', 'thawed']);
    assert.equal(await Promise.race([waiting.then(() => 'ran'), new Promise((resolve) => setTimeout(resolve, 100, 'frozen'))]), 'frozen');
    await sandbox.freeze(false);
    assert.equal((await (await waiting).output()).stdout, 'thawed\n');
    const then = seen;
    while (seen === then) await once(counter.stdout, 'data');
    await counter.kill('SIGKILL');
  });

  it('count each system call by what became of it', async () => {
    const before = await sandbox.counts();
    const script = 'import os\nfor _ in range(1000): os.getpgid(0)\nfor _ in range(10):\n  try: os.chroot("/")\n  except OSError: pass';
    assert.equal((await (await sandbox.exec(['python3', '-c', script])).output()).code, 0);
    const { counts } = await sandbox.counts();
    const more = (call: string): number[] => (counts[call] ?? []).map((count, i) => count - (before.counts[call]?.[i] ?? 0));
    assert.deepEqual(more('getpgid'), [1000, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual([more('chroot')[0], more('chroot').reduce((sum, one) => sum + one, 0)], [0, 10]);
  });

  it('share nothing: another one has its own host user and does not see the first', async () => {
    await using other = await createSandbox(policy('', 'other'), { approver });
    const uids = await Promise.all([sandbox, other].map(async (one) => (await (await one.exec(['/usr/bin/id', '-u'])).output()).stdout.trim()));
    assert.notEqual(uids[0], uids[1]);
    assert.equal((await (await other.exec(['/bin/sh', '-c', 'ls /workspace | wc -l'])).output()).stdout.trim(), '0');
  });

  it('tell what happened, and end with nothing left', async () => {
    const running = await sandbox.exec(['/usr/bin/sleep', '1000']);
    assert.ok(groupFolders(process.pid).length > 0);
    await sandbox.destroy();
    assert.deepEqual(await running.exited, { code: null, signal: 'SIGKILL' });
    assert.equal(await sandbox.ended, 'destroyed');
    await sandbox.destroy();
    await assert.rejects(sandbox.exec(['/bin/true']), { code: 'NEMO_E_STATE' });
    await assert.rejects(sandbox.update(policy()), { code: 'NEMO_E_STATE' });
    await assert.rejects(sandbox.counts(), { code: 'NEMO_E_STATE' });
    await reading;
    const said = events.map((event) => `${event.layer} ${event.verdict ?? ''} ${event.message}`).join('\n');
    for (const line of [/openshelld escalate A deletion of \/workspace\/prod\/a waits/, /approval approved ann allowed: delete \/workspace\/prod\/a/, /openshelld approved .*performed/, /approval rejected nobody denied.*broken/, /A command ended: code 7/, /A command ended: SIGTERM/, /The system calls of this sandbox, counted/]) assert.match(said, line);
    assert.deepEqual(groupFolders(process.pid), []);
  });

  it('refuse before anything runs what cannot be: an unenforceable policy, a folder of the system', async () => {
    await assert.rejects(createSandbox(policy(', requires: [tier-a]')), (error: { code: string }) => error.code === 'NEMO_E_POLICY_NEEDS' || sandbox.tier === 'A');
    await assert.rejects(createSandbox(policy(), { workspace: '/etc' }), { code: 'NEMO_E_USAGE' });
    assert.deepEqual(groupFolders(process.pid), []);
  });

  it('begin by removing the empty control groups of a program that was killed together with its openshelld', async () => {
    const { pid } = spawnSync('/bin/true'); // gone by now
    const first = await createSandbox(policy());
    const used = groupFolders(process.pid);
    await first.destroy();
    const left = used.map((path) => join(path, '..', `nemoclaw-alone-${pid}-1`));
    assert.ok(left.length > 0);
    for (const path of left) mkdirSync(join(path, 'inner'), { recursive: true });
    await (await createSandbox(policy())).destroy();
    assert.deepEqual(left.filter((path) => existsSync(path)), []);
  });

  it('end with their program, also when it is killed', async () => {
    const script = `import { createSandbox, loadSandboxPolicy } from ${JSON.stringify(new URL('index.ts', import.meta.url).href)};
      const sandbox = await createSandbox(loadSandboxPolicy(${JSON.stringify('apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: orphan }\nspec: { isolation: { network: none } }\n')}, 'p'));
      const { pid } = await sandbox.exec(['/usr/bin/sleep', '4711']);
      console.log(pid); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const pid = child.pid ?? -1;
    assert.ok(groupFolders(pid).length > 0);
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (let i = 0; i < 6000 && groupFolders(pid).length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(groupFolders(pid), []);
    assert.equal(readdirSync('/proc').some((name) => /^\d+$/.test(name) && commandOf(name).includes('sleep\x004711')), false);
  });
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
