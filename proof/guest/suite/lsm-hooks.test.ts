/** Each hook of tier A by itself: the other layers are switched off, and with the kernel's program off too the same is not refused. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSandboxPolicy, type LayerSwitch } from '@nemoclaw/contract';
import { createSandbox } from '@nemoclaw/openshell';
import { programs as tools } from './kept.ts';

const off: readonly LayerSwitch[] = ['landlock', 'seccomp', 'uid', 'caps', 'pidns'];
const policy = (spec: string) => loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: hooks }\nspec: { ${spec} }\n`, 'hooks.yaml');
const level = 'requires: [tier-a], isolation: { network: none, filesystem: workspace }';
const programs = 'process: { exec: { allow: [/workspace/bin/**] } }';

/** Below a protected name that no mount locks: the kernel's program alone stands before it. */
const fileHooks = ['write', 'create', 'mkdir', 'symlink', 'mknod', 'chmod', 'chown', 'utimes', 'truncate', 'setxattr', 'removexattr', 'set_acl', 'link', 'rename_into', 'rename', 'unlink', 'rmdir'];
const otherHooks = [
  ...['packet', 'alg', 'vsock', 'key_socket', 'bind', 'connect', 'sendmsg', 'ptrace', 'signal', 'mount', 'umount', 'remount', 'move_mount', 'chroot', 'userns', 'bpf', 'perf', 'module', 'module_file', 'key', 'device'],
  ...['exec_memory', 'map_memory', 'protect_memory'],
];
const within = ['own_signal', 'own_ptrace', 'own_bind', 'own_sendmsg'];
/** EPERM and EACCES. */
const refused = (code: number | undefined): boolean => code === 1 || code === 13;

describe('hooks of tier A', { timeout: 600_000 }, () => {
  let outside: ChildProcess;

  before(() => {
    outside = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
  });
  after(() => {
    outside.kill('SIGKILL');
  });

  function workspace(owner: number): string {
    const path = mkdtempSync('/tmp/hooks-workspace-');
    const forbidden = join(path, 'deep/.vscode'), free = join(path, 'free');
    for (const folder of [forbidden, free]) {
      mkdirSync(join(folder, 'd'), { recursive: true });
      for (const name of ['f', 'g']) {
        writeFileSync(join(folder, name), 'x');
        execFileSync(join(tools, 'hooks'), ['attribute', join(folder, name)]);
      }
    }
    mkdirSync(join(path, 'bin'));
    writeFileSync(join(path, 'bin/hooks'), readFileSync(join(tools, 'hooks')));
    for (const one of ['', ...readdirSync(path, { recursive: true, encoding: 'utf8' })]) chownSync(join(path, one), owner, owner);
    chmodSync(join(path, 'bin/hooks'), 0o755);
    return path;
  }

  /** What each try ended with, and the record's refusals of the layer. */
  async function tries(spec: string, pid: number, without: readonly LayerSwitch[]): Promise<{ codes: Map<string, number>; text: string }> {
    const folder = workspace(without.includes('uid') ? 0 : 1000);
    try {
      await using sandbox = await createSandbox(policy(spec), { workspace: folder, off: without });
      assert.equal(sandbox.tier, 'A');
      const command = await sandbox.exec(['/workspace/bin/hooks', String(pid), '/workspace/deep/.vscode', '/workspace/free']);
      const end = await command.output();
      const text = `${end.stdout}${end.stderr}`;
      assert.equal(end.code, 0, text);
      return { codes: new Map(end.stdout.trim().split('\n').map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])])), text };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  test('with the other layers off every class of operation is refused by the kernel’s program, and by nothing else', async () => {
    const pid = outside.pid ?? 0;
    const enforced = await tries(`${level}, ${programs}`, pid, off);
    const open = await tries(`${level}, ${programs}`, pid, [...off, 'lsm']);
    for (const name of [...fileHooks, ...otherHooks]) {
      assert.ok(refused(enforced.codes.get(name)), `${name} is not refused: ${enforced.codes.get(name)}\n${enforced.text}`);
      assert.ok(open.codes.has(name) && !refused(open.codes.get(name)), `${name} is refused by something else: ${open.codes.get(name)}\n${open.text}`);
    }
    for (const name of [...fileHooks.map((one) => `free_${one}`), ...within]) {
      const wanted = name === 'own_sendmsg' ? [0, 101] : [0];
      assert.ok(wanted.includes(enforced.codes.get(name) ?? -1), `${name}: ${enforced.codes.get(name)}\n${enforced.text}`);
    }
  });

  test('where a policy only watches, what protects the host is refused all the same', async () => {
    const watched = await tries(`${level}, mode: monitor`, outside.pid ?? 0, off);
    const named = ['exec_memory', 'map_memory', 'protect_memory']; // where programs are named, which they are not here
    for (const name of [...fileHooks, ...otherHooks]) assert.equal(refused(watched.codes.get(name)), !named.includes(name), `${name}: ${watched.codes.get(name)}\n${watched.text}`);
  });

  test('a workspace whose changes go to a layer of their own is decided alike', async () => {
    const { codes, text } = await tries(level.replace('filesystem: workspace', 'filesystem: ephemeral'), 0, []);
    for (const name of fileHooks) assert.ok(refused(codes.get(name)), `${name} is not refused: ${codes.get(name)}\n${text}`);
    for (const name of fileHooks.map((one) => `free_${one}`)) assert.equal(codes.get(name), 0, `${name}\n${text}`);
  });

  test('a question that finds no place in the ring is a denial, and is counted', async () => {
    const folder = workspace(1000);
    /** The child asks again whenever it is woken; each question takes a place that a stopped openshelld does not free. */
    const code = `
import os, signal
pid = os.fork()
if pid == 0:
    try: os.unlink('/workspace/free/f')
    except OSError as e: os._exit(e.errno)
    os._exit(0)
asked = 0
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status): break
    asked += 1
    os.kill(pid, signal.SIGCONT)
f = open('/workspace/told', 'w'); f.write('%d %d' % (asked, os.WEXITSTATUS(status))); f.close(); os.rename('/workspace/told', '/workspace/result')`;
    try {
      await using sandbox = await createSandbox(policy(`${level}, filesystem: { escalate: [{ path: /workspace/free/**, on: [delete] }] }`), { workspace: folder, approver: async (request) => ({ verdict: 'deny', approvalId: request.holdId, by: 'test', reason: '' }) });
      const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
      const daemons = children.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('openshelld\0--alone')).map(Number);
      const command = await sandbox.exec(['/usr/bin/python3', '-c', `input()\n${code}`]);
      for (const pid of daemons) process.kill(pid, 'SIGSTOP');
      const result = join(folder, 'result');
      try {
        assert.ok(daemons.length > 0);
        command.stdin.end('\n');
        for (let tries = 0; tries < 1200 && !existsSync(result); tries += 1) await sleep(100);
      } finally {
        for (const pid of daemons) process.kill(pid, 'SIGCONT');
      }
      const told = readFileSync(result, 'utf8');
      const [asked, errno] = told.split(' ').map(Number);
      assert.equal(errno, 1, told);
      assert.ok((asked ?? 0) > 100, told);
      await command.output();
      assert.ok(existsSync(join(folder, 'free/f')));
      for await (const event of sandbox.events()) if (/too many questions at once/.test(JSON.stringify(event))) break;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
