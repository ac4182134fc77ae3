/** The golden vectors of the control channel: the same files for these types, for the C (native/tests/vectors.c) and for what the real openshelld says. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodeRegisterReply, encodeRegister } from '@nemoclaw/contract';
import type { FromOpenshelld, Registration, SyscallHold, ToOpenshelld } from '@nemoclaw/contract';
import { PacketChannel } from './control-channel.ts';
import { readVectors, vectorsFolder } from './control-vectors.ts';
import type { Vector } from './control-vectors.ts';
import { binding, closeFd } from './native.ts';

const hold: SyscallHold = { sandbox: 'sb_1', holdId: 'sb_1:00000000000000a7', op: 'rename', syscall: 'renameat2', path: '/workspace/prod/ä\\xff', toPath: '/workspace/b', dev: 65024, ino: 4611686, pid: 4321, exe: '/usr/bin/python3.11', rule: 0, deadline: 900123 };
const registration: Registration = { id: 'ws_0011223344556677', uid: 1000, gid: 1000, path: '/home/ann/project' };

const from: Record<string, readonly [FromOpenshelld, number]> = {
  'link': [{ t: 'link', peer: 'worker:1' }, 1],
  'peer.gone': [{ t: 'peer.gone', peer: 'ledger' }, 0],
  'reset': [{ t: 'reset' }, 0],
  'reply-ok': [{ t: 'reply', id: 7, ok: true, result: { execId: 'ex_1', pid: 12 } }, 3],
  'reply-error': [{ t: 'reply', id: 8, ok: false, error: 'no such sandbox is running', code: 'no-sandbox' }, 0],
  'attach': [{ t: 'attach', sandbox: 'sb_1' }, 2],
  'detach': [{ t: 'detach', sandbox: 'sb_1' }, 0],
  'event': [{ t: 'event', seq: 3, event: { time: 1763776800000, class: 'fileActivity', activity: 4, severity: 3, sandbox: 'sb_1', layer: 'openshelld', message: 'A deletion of /workspace/prod/a waits for a person', verdict: 'escalate', data: { holdId: hold.holdId } } }, 0],
  'signed': [{ t: 'signed', id: 9, count: 120, head: 'ab12', signature: '00ff' }, 0],
  'inventory': [{ t: 'inventory', sandboxes: [{ sandbox: 'sb_1', init: 4300, uid: 200001, execs: ['ex_1'] }], holds: [hold], workers: ['worker:1', 'worker:2'] }, 0],
  'hold': [{ t: 'hold', hold }, 0],
  'hold-delete': [{ t: 'hold', hold: { ...hold, op: 'delete', syscall: 'unlink', toPath: null } }, 0],
  'hold-create': [{ t: 'hold', hold: { ...hold, op: 'create', syscall: 'openat', toPath: null } }, 0],
  'hold-call': [{ t: 'hold', hold: { ...hold, op: 'call', syscall: 'kill', path: '7, SIGTERM', toPath: null, dev: 0, ino: 0, rule: 1 } }, 0],
  'hold.ended': [{ t: 'hold.ended', sandbox: 'sb_1', holdId: hold.holdId, outcome: 'performed', errno: 0 }, 0],
  'exec.exited': [{ t: 'exec.exited', sandbox: 'sb_1', execId: 'ex_1', code: 7, signal: null }, 0],
  'exec.exited-signal': [{ t: 'exec.exited', sandbox: 'sb_1', execId: 'ex_1', code: null, signal: 'SIGTERM' }, 0],
  'workspace.released': [
    { t: 'workspace.released', sandbox: 'sb_1', released: { checked: true, entries: 812, quarantine: '.nemoclaw-quarantine/sb_1-20260101T120000Z', found: [{ path: '.envrc', why: 'new', moved: true }], more: 0, problem: '' } },
    0,
  ],
  'sandbox.gone': [{ t: 'sandbox.gone', sandbox: 'sb_1', why: 'init ended' }, 0],
  'workspace.registered': [{ t: 'workspace.registered', registration }, 0],
};
const to: Record<string, readonly [ToOpenshelld, number]> = {
  'hello': [{ t: 'hello', role: 'worker', pid: 4100 }, 0],
  'sign': [{ t: 'sign', id: 1, count: 120, head: 'ab12', why: 'commit' }, 0],
  'sandbox.create': [{ t: 'sandbox.create', id: 2, sandbox: 'sb_1', plan: { version: 1 }, registration: registration.id, worker: 'worker:1' }, 0],
  'exec': [{ t: 'exec', id: 3, sandbox: 'sb_1', execId: 'ex_1', argv: ['/bin/sh', '-c', 'echo "ä"'], env: ['HOME=/home/agent'], cwd: '/workspace', tty: null }, 0],
  'exec-tty': [{ t: 'exec', id: 4, sandbox: 'sb_1', execId: 'ex_2', argv: ['/bin/bash'], env: [], cwd: '/workspace', tty: { rows: 40, cols: 120 } }, 0],
  'exec.attach': [{ t: 'exec.attach', id: 5, sandbox: 'sb_1', execId: 'ex_1' }, 0],
  'ingress.connect': [{ t: 'ingress.connect', id: 20, sandbox: 'sb_1', port: 8080 }, 0],
  'connection.owner': [{ t: 'connection.owner', id: 21, sandbox: 'sb_1', source: '10.200.0.2', sourcePort: 40112, destination: '::ffff:198.18.0.7', destinationPort: 443 }, 0],
  'exec.signal': [{ t: 'exec.signal', id: 6, sandbox: 'sb_1', execId: 'ex_1', signal: 15 }, 0],
  'exec.resize': [{ t: 'exec.resize', id: 7, sandbox: 'sb_1', execId: 'ex_2', rows: 50, cols: 132 }, 0],
  'sandbox.freeze': [{ t: 'sandbox.freeze', id: 8, sandbox: 'sb_1', frozen: true }, 0],
  layer: [{ t: 'layer', id: 16, sandbox: 'sb_1', op: 'snapshot', name: 'before-lunch' }, 0],
  'sandbox.update': [{ t: 'sandbox.update', id: 13, sandbox: 'sb_1', escalate: [{ path: '/workspace/prod', on: ['delete', 'rename'] }], lsm: null, limits: { memoryBytes: 1048576, pids: 64, cpuMillis: 500 }, recordRules: { paths: [], calls: {} } }, 0],
  'workspace.register': [{ t: 'workspace.register', id: 14, path: '/home/ann/project' }, 1],
  'sandbox.destroy': [{ t: 'sandbox.destroy', id: 9, sandbox: 'sb_1' }, 0],
  'hold.answer': [{ t: 'hold.answer', id: 10, sandbox: 'sb_1', holdId: hold.holdId, verdict: 'allow' }, 0],
  'host': [{ t: 'host', id: 11 }, 0],
  'workspaces': [{ t: 'workspaces', id: 12 }, 0],
  'flush': [{ t: 'flush', id: 14, sandbox: 'sb_1' }, 0],
  'seen': [{ t: 'seen', id: 13, sandbox: 'sb_1' }, 0],
};

const files = readVectors();

describe('the control vectors', () => {
  it('are exactly the messages of the types, both directions', () => {
    const expected = new Map<string, Vector>([
      ...Object.entries(from).map(([name, [message, fds]]) => [name, { direction: 'from-openshelld', fds, message }] as const),
      ...Object.entries(to).map(([name, [message, fds]]) => [name, { direction: 'to-openshelld', fds, message }] as const),
    ]);
    assert.ok(files.size >= 28);
    assert.deepEqual([...files].sort(), [...expected].sort());
  });

  it('are read and written by the C, and travel through its packets unchanged with their descriptors', async () => {
    const build = mkdtempSync(join(tmpdir(), 'nemoclaw-vectors-'));
    const native = fileURLToPath(new URL('../native/', import.meta.url));
    try {
      const program = join(build, 'vectors');
      const made = spawnSync('gcc', ['-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', `-I${native}`, '-o', program, join(native, 'tests/vectors.c'), join(native, 'channel.c'), '-static', '-ljansson'], { encoding: 'utf8' });
      assert.equal(made.status, 0, made.stderr);
      const built = spawnSync('make', ['-s', '-C', native], { encoding: 'utf8' });
      assert.equal(built.status, 0, built.stderr);
      const [ours, theirs] = binding().pair(1);
      const channel = new PacketChannel<Vector['message'], unknown>(ours);
      const came: { message: unknown; fds: number }[] = [];
      channel.onMessage((message, fds) => {
        for (const fd of fds) closeFd(fd);
        came.push({ message, fds: fds.length });
      });
      const ended = new Promise<void>((resolve) => channel.onClose(() => resolve()));
      // What a service sends, for the C to check; then the C sends all of what openshelld sends.
      const services = [...files].filter(([, v]) => v.direction === 'to-openshelld');
      for (const [, vector] of services) channel.send(vector.message);
      const ran = spawnSync(program, [vectorsFolder, String(services.length)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe', theirs] });
      closeFd(theirs);
      await ended;
      assert.equal(ran.status, 0, ran.stderr);
      const sent = [...files].filter(([, v]) => v.direction === 'from-openshelld').sort(([a], [b]) => (`${a}.json` < `${b}.json` ? -1 : 1));
      assert.deepEqual(came, sent.map(([, v]) => ({ message: v.message, fds: v.fds })));
    } finally {
      rmSync(build, { recursive: true, force: true });
    }
  });

  it('cover the register wire', () => {
    assert.equal(encodeRegister('/home/a "b"'), '{"t":"register","path":"/home/a \\"b\\""}\n');
    assert.deepEqual(decodeRegisterReply('{"ok":true,"id":"ws_1","path":"/x"}\n'), { ok: true, id: 'ws_1', path: '/x' });
    assert.throws(() => decodeRegisterReply('{}'));
    assert.throws(() => decodeRegisterReply('nonsense'));
  });
});
