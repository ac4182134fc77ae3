/** `mode: monitor` on the real kernel: what the policy's rules would refuse is done, and is on record with the rule; the isolation stays. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSandboxPolicy, type LedgerEvent, type SandboxPolicy } from '@nemoclaw/contract';
import { buildNative } from './native-build.ts';
import { createSandbox } from './sandbox.ts';

const policy = (spec: string): SandboxPolicy => loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: watched }\nspec: { ${spec} }\n`, 'watched.yaml');
const rules = `isolation: { network: none, filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/fixed/**], readWrite: [/workspace/fixed/open/**], deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod/**, on: [delete] }] }, syscalls: { deny: [mkdir, mkdirat, socketpair] }, process: { exec: { allow: [/usr/bin/python3, /workspace/run/**] } }`;

describe('a policy that only watches', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync('/tmp/monitor-');
  /** What a program in the sandbox did, and what was told of it. */
  const watch = async (spec: string, code: string): Promise<{ readonly out: string; readonly told: readonly LedgerEvent[]; readonly notes: readonly string[] }> => {
    const sandbox = await createSandbox(policy(spec), { workspace: folder });
    const events: LedgerEvent[] = [];
    const reading = (async () => {
      for await (const event of sandbox.events()) events.push(event);
    })();
    try {
      const program = `import errno, os, socket, subprocess\ndef e(f):\n    try:\n        r = f(); return r if isinstance(r, str) else 'ok'\n    except OSError as x:\n        return errno.errorcode[x.errno]\nos.chdir('/workspace')\n${code}\n`;
      const { stdout, stderr } = await (await sandbox.exec(['/usr/bin/python3', '-c', program])).output();
      assert.equal(stderr, '');
      return { out: stdout.trim(), told: events, notes: sandbox.notes };
    } finally {
      await sandbox.destroy();
      await reading;
    }
  };
  const ruleOf = (event: LedgerEvent): string => {
    const rule: unknown = event.data?.['rule'];
    return typeof rule === 'object' && rule !== null && 'id' in rule ? String(rule.id) : String(rule);
  };
  const lines = (told: readonly LedgerEvent[]): string[] => told.filter((event) => event.verdict === 'observe').map((event) => `${String(event.data?.['would'])} ${String(event.data?.['op'])} ${String(event.data?.['path'])} ${ruleOf(event)}`);

  before(() => {
    buildNative('openshelld', 'openshell-shim', 'binding.node');
    for (const name of ['keys', 'fixed/open', 'prod']) mkdirSync(join(folder, name), { recursive: true });
    for (const name of ['keys/secret', 'fixed/a', 'prod/a']) writeFileSync(join(folder, name), name);
    chmodSync(folder, 0o755);
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('lets through what its rules would deny, and records each with its rule', { timeout: 400_000 }, async () => {
    const { out, told } = await watch(`${rules}, mode: monitor`, `
print(e(lambda: open('keys/secret').read()), e(lambda: open('keys/new', 'w').write('x')), e(lambda: os.unlink('keys/new')))
print(e(lambda: open('fixed/a', 'w').write('changed')), e(lambda: open('fixed/open/b', 'w').write('x')), e(lambda: os.unlink('prod/a')))
print(e(lambda: os.mkdir('made')), e(lambda: socket.socketpair()[0].close()), e(lambda: subprocess.run(['/usr/bin/true'], check=True)))`);
    assert.equal(out, 'keys/secret ok ok\nok ok ok\nok ok ok');
    assert.equal(readFileSync(join(folder, 'fixed/a'), 'utf8'), 'changed');
    assert.ok(existsSync(join(folder, 'made')) && !existsSync(join(folder, 'prod/a')));
    const seen = new Set(lines(told));
    for (const line of [
      'deny read /workspace/keys/secret filesystem.deny[0]', 'deny create /workspace/keys/new filesystem.deny[0]', 'deny delete /workspace/keys/new filesystem.deny[0]',
      'deny write /workspace/fixed/a filesystem.readOnly[0]', 'escalate delete /workspace/prod/a 0', 'deny exec /usr/bin/true process.exec.allow', 'deny call /workspace/made syscalls.deny[0]',
    ]) assert.ok(seen.has(line), `${line} is not in:\n${[...seen].join('\n')}`);
    assert.ok([...seen].some((line) => line.endsWith('syscalls.deny[2]')), [...seen].join('\n'));
    // What the policy grants is not told, and nothing is told twice.
    assert.ok(![...seen].some((line) => line.includes('fixed/open') || line.includes('python3')), [...seen].join('\n'));
    assert.equal(lines(told).filter((line) => line.startsWith('deny read /workspace/keys/secret')).length, 1);
    const where = told.find((event) => ruleOf(event) === 'filesystem.deny[0]')?.data?.['rule'];
    assert.deepEqual(where, { id: 'filesystem.deny[0]', file: 'watched.yaml', line: 4 });
  });

  it('isolation stays: levels, the view of the host, protected names, what the level takes from the calls', { timeout: 400_000 }, async () => {
    mkdirSync(join(folder, '.git/hooks'), { recursive: true });
    writeFileSync(join(folder, '.envrc'), 'mine');
    const { out, notes } = await watch('isolation: { network: none, filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/keys/**] }, mode: monitor, syscalls: { deny: [mkdir] }', `
import ctypes
c = ctypes.CDLL(None, use_errno=True)
print(e(lambda: open('.envrc', 'w').write('x')), e(lambda: open('/usr/new', 'w').write('x')), e(lambda: open('/etc/shadow').read()), e(lambda: os.listdir('/root')))
print(c.mount(b'none', b'/tmp', b'tmpfs', 0, None), c.unshare(0x10000000), e(lambda: socket.create_connection(('127.0.0.1', 9))), os.getuid() != 0)`);
    assert.match(out, /^(EROFS|EACCES|EBUSY) (EROFS|EACCES) ENOENT (EACCES|ENOENT)\n-1 -1 (EACCES|ENETUNREACH|EPERM) True$/);
    assert.equal(readFileSync(join(folder, '.envrc'), 'utf8'), 'mine');
    assert.ok(notes.some((note) => note.startsWith('mode: monitor')), notes.join('\n'));
    const readOnly = await watch('isolation: { network: none, filesystem: read-only, syscalls: standard }, filesystem: { deny: [/workspace/keys/**] }, mode: monitor', `print(e(lambda: open('keys/secret').read()), e(lambda: open('keys/secret', 'w')), e(lambda: os.mkdir('other')))`);
    assert.equal(readOnly.out, 'keys/secret EROFS EROFS');
  });

  it('without monitor the same rules refuse', { timeout: 400_000 }, async () => {
    const { out, told } = await watch(rules, `print(e(lambda: open('keys/secret').read()), e(lambda: open('fixed/a', 'w').write('x')), e(lambda: os.mkdir('again')), e(lambda: subprocess.run(['/usr/bin/true'])))`);
    assert.equal(out, 'EACCES EROFS EPERM EACCES');
    assert.deepEqual(lines(told), []);
  });
});
