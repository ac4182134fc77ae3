/** The record names the layer that stopped a call, and the rule: for each attempt the layer whose absence would let it through (proof/attacks/table.ts). */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/keys/**, /workspace/vault/deep/**], readOnly: [/workspace/fixed] }';
/** Python: a call, whatever becomes of it. */
const tries = (...calls: string[]): string => `import os, socket\ndef t(f, *a, **k):\n  try: f(*a, **k)\n  except OSError as e: print(e.errno)\n  else: print("done")\ndef s(path):\n  with socket.socket(socket.AF_UNIX) as c: c.connect(path)\n${calls.join('\n')}\n`;

describe('the layer that the record names', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let ledger: TestService;
  let hidden: string;
  let scratch: string;
  const servers: Server[] = [];
  let port = 0;
  let next = 0;
  const listen = async (at: { path: string } | { port: number; host: string }): Promise<Server> => {
    const server = createServer((socket) => socket.destroy());
    servers.push(server);
    await new Promise<void>((ready) => server.listen(at, ready));
    return server;
  };
  /** Each call is refused; returns "layer rule" of each one's refusal, in the order of `paths`. */
  const refused = async (paths: readonly string[], ...calls: string[]): Promise<string[]> => {
    const out = await gateway.run('l', `l${(next += 1)}`, ['/usr/bin/python3', '-c', tries(...calls)]);
    assert.doesNotMatch(out.stdout, /done/, 'something was not refused');
    assert.equal(out.stderr, '');
    const found: string[] = [];
    for (const path of paths) {
      const { event } = await ledger.saw('event', (m) => m.event.sandbox === 'l' && m.event.verdict === 'deny' && m.event.data?.['path'] === path);
      found.push(`${event.layer} ${(event.data?.['rule'] as { id: string } | undefined)?.id ?? '-'}`);
    }
    return found;
  };

  const told = (): unknown[] => ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === 'l' ? [m.event.data?.['path']] : []));

  before(async () => {
    instance = await TestInstance.start();
    gateway = await instance.service('gateway');
    ledger = await instance.service('ledger');
    const workspace = await instance.workspace('project');
    for (const folder of ['keys', 'vault', 'vault/deep', 'fixed', 'sub', 'closed']) mkdirSync(join(workspace.path, folder));
    for (const file of ['keys/secret', 'vault/deep/secret', 'fixed/file', 'mine', 'own', 'closed/file']) writeFileSync(join(workspace.path, file), 'x');
    hidden = mkdtempSync('/mnt/nemoclaw-hidden-');
    scratch = mkdtempSync('/tmp/nemoclaw-hidden-');
    for (const folder of [hidden, scratch]) chmodSync(folder, 0o755);
    writeFileSync(join(hidden, 'file'), 'everybody may read this', { mode: 0o644 });
    await listen({ path: join(hidden, 'socket') });
    chmodSync(join(hidden, 'socket'), 0o666);
    port = ((await listen({ port: 0, host: '127.0.0.1' })).address() as AddressInfo).port;
    await gateway.call('create', 'l', instance.plan(spec), workspace.id, 'worker:1');
  });
  after(async () => {
    for (const server of servers) server.close();
    for (const folder of [hidden, scratch]) if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    await instance?.stop();
  });

  it('mounts: what the policy denies, by every spelling of its name', async () => {
    const names = ['/workspace/keys', '/workspace/keys/secret', '/workspace/sub/../keys/secret'];
    assert.deepEqual(await refused(names, ...names.map((name) => `t(os.open, "${name}", os.O_RDONLY)`)), names.map(() => 'mounts filesystem.deny[0]'));
    const relative = ['keys/secret', '../keys/other', '../keys/secret', 'deep/secret'];
    const calls = ['os.chdir("/workspace")', 't(os.open, "keys/secret", os.O_RDONLY)', 'os.chdir("sub")', 't(os.stat, "../keys/other")', 't(os.open, "../keys/secret", os.O_RDONLY)', 'd = os.open("/workspace/vault", os.O_RDONLY)', 't(os.open, "deep/secret", os.O_RDONLY, dir_fd=d)'];
    assert.deepEqual(await refused(relative, ...calls), ['mounts filesystem.deny[0]', 'mounts filesystem.deny[0]', 'mounts filesystem.deny[0]', 'mounts filesystem.deny[1]']);
    assert.deepEqual(await refused(['/workspace/link/secret'], 'os.symlink("keys", "/workspace/link")', 't(os.open, "/workspace/link/secret", os.O_RDONLY)'), ['mounts filesystem.deny[0]']);
  });

  it('mounts: moving what is mounted, by either name, and what is read-only', async () => {
    const calls = ['os.chdir("/workspace")', 't(os.rename, "keys", "k2")', 't(os.rename, "/workspace/vault", "/workspace/v2")', 't(os.rename, "mine", "/workspace/keys/mine")', 't(os.link, "mine", "keys/other")', 't(os.open, "fixed/file", os.O_WRONLY)'];
    assert.deepEqual(await refused(['keys', '/workspace/vault', 'mine', 'keys/other', 'fixed/file'], ...calls).catch(String), ['mounts filesystem.deny[0]', 'mounts -', 'mounts filesystem.deny[0]', 'mounts filesystem.deny[0]', 'mounts filesystem.readOnly[0]']);
  });

  it('uid: modes of its own files and of folders above, by relative names too', async () => {
    const calls = ['os.chdir("/workspace")', 'os.chmod("own", 0)', 't(os.open, "own", os.O_RDONLY)', 't(os.open, "/workspace/own", os.O_RDWR)', 'os.chmod("closed", 0)', 't(os.open, "closed/file", os.O_RDONLY)'];
    assert.deepEqual(await refused(['own', '/workspace/own', 'closed/file'], ...calls), ['uid -', 'uid -', 'uid -']);
  });

  it('no layer is guessed: a relative name that begins deeper than the kernel tells, and one that is cut', async () => {
    const deep = 'os.makedirs("/workspace/" + "/".join([c * 50 for c in "abcd"])); os.chdir("/workspace/" + "/".join([c * 50 for c in "abcd"]))';
    const long = `/workspace/closed/${'x'.repeat(180)}`;
    const calls = [deep, 'os.close(os.open("below", os.O_CREAT, 0))', 't(os.open, "below", os.O_RDONLY)', 'os.chmod("/workspace/closed", 0)', `t(os.open, "${long}", os.O_RDONLY)`];
    assert.deepEqual(await refused(['below', long.slice(0, 191)], ...calls), ['kernel -', 'kernel -']);
  });

  it('view: what the host has and the sandbox has not: files, sockets, folders to write to', async () => {
    const names = [hidden, `${hidden}/file`, `${hidden}/socket`, `${hidden}/new`, `${scratch}/new`, ...(existsSync('/etc/cron.d') ? ['/etc/cron.d/agent'] : [])];
    // Nothing listens there, as on hosts without that service.
    const none = `/var/run/nemoclaw-none-${process.pid}/socket`;
    const make = 'os.O_WRONLY | os.O_CREAT';
    const calls = [`t(s, "${none}")`, `t(os.stat, "${hidden}")`, `t(os.open, "${hidden}/file", os.O_RDONLY)`, `t(s, "${hidden}/socket")`, ...names.slice(3).map((name) => `t(os.open, "${name}", ${make})`)];
    assert.deepEqual(await refused(names, ...calls), names.map(() => 'view view'));
    assert.ok(!told().includes(none), 'what the host has not is on record as hidden');
  });

  it('netns: a port of its own loopback where the host listens, and not one where nobody does', async () => {
    const nobody = 1; // tcpmux; nothing is given it by chance
    const connect = (to: number): string => `t(socket.create_connection, ("127.0.0.1", ${to}))`;
    assert.deepEqual(await refused([`127.0.0.1:${port}`], connect(nobody), connect(port)), ['netns -']);
    assert.ok(!told().includes(`127.0.0.1:${nobody}`), 'what nobody refused is on record');
  });
});
