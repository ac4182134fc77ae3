/** What a person, or a plan, might try with a workspace: other people's folders, links, swaps, mounts, floods. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { encodeRegister, type LaunchPlan } from '@nemoclaw/contract';
import { folderOf, refusalOf } from './openshelld-test-folders.ts';
import { TestInstance, testUids, type TestService } from './openshelld-test-instance.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }';
const person = testUids.person;

describe('attacks with workspaces', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let home: string;
  let made = 0;
  const mounted: string[] = [];
  const make = (name: string, uid: number, mode?: number): string => folderOf(home, name, uid, mode);
  const refusal = (path: string, uid?: number): Promise<string> => refusalOf(instance, path, uid);
  const bind = (from: string, to: string): string => {
    mkdirSync(to, { recursive: true });
    execFileSync('mount', ['--bind', from, to]);
    mounted.push(to);
    return to;
  };
  /** Runs a script in a sandbox of its own with this workspace. */
  const inside = async (registration: string, script: string): Promise<string> => {
    const name = `one-${(made += 1)}`;
    await gateway.call('create', name, instance.plan(spec), registration, 'worker:1');
    const { stdout } = await gateway.run(name, 'e', ['/bin/sh', '-c', `cd /workspace; ${script}`]);
    await gateway.call('destroy', name);
    return stdout;
  };
  before(async () => {
    instance = await TestInstance.start();
    gateway = await instance.service('gateway');
    home = mkdtempSync(join(tmpdir(), 'nemoclaw-home-'));
    chmodSync(home, 0o755);
  });
  after(async () => {
    await instance?.stop();
    for (const path of mounted.reverse()) execFileSync('umount', ['-l', path]);
    rmSync(home, { recursive: true, force: true });
  });

  it('another person’s folder cannot be had by its name, by a link, by a link on the way, or by dots', async () => {
    const theirs = make('theirs', 0);
    mkdirSync(join(theirs, 'project'));
    const mine = make('mine', person);
    symlinkSync(theirs, join(mine, 'link'));
    assert.equal(await refusal(theirs, person), 'not-yours');
    assert.equal(await refusal(join(mine, 'link'), person), 'open');
    assert.equal(await refusal(join(mine, 'link', 'project'), person), 'not-yours');
    assert.equal(await refusal(join(mine, '..', 'theirs'), person), 'not-yours');
    assert.equal(await refusal(`${mine}/../../../../../../etc`, person), 'system');
    make('real', person);
    symlinkSync(home, join(home, 'way'));
    const reply = await instance.register(join(home, 'way', 'real'), person);
    assert.deepEqual(reply.ok && reply.path, join(home, 'real'), 'what is shown is where the folder is');
  });

  it('a folder that is replaced between registration and start is still the one that was registered', async () => {
    const folder = make('swapped', person);
    writeFileSync(join(folder, 'mark'), 'the first');
    const reply = await instance.register(folder, person);
    assert.ok(reply.ok);
    renameSync(folder, join(home, 'moved'));
    const secret = make('secret', 0, 0o755);
    writeFileSync(join(secret, 'mark'), 'not yours');
    symlinkSync(secret, folder);
    assert.equal(await inside(reply.id, 'cat mark; echo more > made'), 'the first');
    assert.ok(existsSync(join(home, 'moved/made')) && !existsSync(join(secret, 'made')));
    rmSync(folder);
    make('swapped', 0, 0o777);
    writeFileSync(join(folder, 'mark'), 'another');
    assert.equal(await inside(reply.id, 'cat mark'), 'the first');
  });

  it('no name leads to folders of the system or of our own, nor to what is in them or above them, also by another mount', async () => {
    for (const path of ['/', '/etc', '/etc/ssl', '/home', '/boot', '/dev', '/usr/bin', '/usr/share/doc', '/var/lib', instance.root, join(instance.state, 'gateway')]) assert.equal(await refusal(path), 'system', path);
    const top = bind('/', join(home, 'top'));
    for (const path of ['.', 'etc', 'etc/ssl', 'home', 'usr/lib']) assert.equal(await refusal(join(top, path)), 'system', path);
    const again = join(bind(tmpdir(), join(home, 'tmp')), instance.root.slice(tmpdir().length));
    for (const path of ['.', 'state', 'state/gateway', 'run', 'prefix']) assert.equal(await refusal(join(again, path)), 'system', path);
    assert.equal(await refusal(bind(instance.root, join(home, 'ours'))), 'system');
  });

  it('what is mounted below a workspace is not in it', async () => {
    const folder = make('holder', person);
    const reply = await instance.register(folder, person);
    assert.ok(reply.ok);
    const secret = make('mounted-secret', 0, 0o777);
    writeFileSync(join(secret, 'mark'), 'not yours');
    bind(secret, join(folder, 'sub'));
    assert.equal(await inside(reply.id, 'cat sub/mark 2>/dev/null; ls sub; echo end'), 'end\n');
  });

  it('private files of others in a workspace stay private, and nothing is done in their name', async () => {
    const folder = make('shared', person, 0o777);
    mkdirSync(join(folder, 'private'), { mode: 0o700 });
    writeFileSync(join(folder, 'private/mark'), 'root’s');
    writeFileSync(join(folder, 'closed'), 'root’s', { mode: 0o600 });
    const reply = await instance.register(folder, person);
    assert.ok(reply.ok);
    assert.equal(await inside(reply.id, 'cat private/mark closed; ls private; echo x > closed; chmod 777 closed; echo x > own; echo end'), 'end\n');
    assert.equal(readFileSync(join(folder, 'closed'), 'utf8'), 'root’s');
    assert.equal(statSync(join(folder, 'own')).uid, person);
  });

  it('root’s own folder makes nobody inside root', async () => {
    const folder = make('of-root', 0, 0o700);
    const reply = await instance.register(folder);
    assert.ok(reply.ok);
    const uid = await inside(reply.id, 'touch made; cp /bin/sh kept; chmod 4755 kept; id -u; stat -c %a kept');
    assert.match(uid, /^[1-9]\d+\n(755|700|644)\n$/);
    assert.equal(statSync(join(folder, 'kept')).mode & 0o6000, 0);
  });

  it('a plan shows nothing that lies behind a folder that is closed to the agent', async () => {
    const registered = await instance.register(make('for-binds', person), person);
    assert.ok(registered.ok);
    const closed = join(instance.root, 'prefix/closed');
    mkdirSync(join(closed, 'inner'), { recursive: true });
    writeFileSync(join(closed, 'inner/mark'), 'behind', { mode: 0o644 });
    chmodSync(closed, 0o700);
    const plan = instance.plan(spec);
    const showing = (step: LaunchPlan['view'][number]): LaunchPlan => ({ ...plan, view: [...plan.view, step] });
    for (const step of [
      { do: 'bind', path: '/opt/shown', source: join(closed, 'inner'), optional: false },
      { do: 'bind', path: '/opt/shown', source: join(closed, 'inner/mark'), optional: true },
      { do: 'concat', path: '/etc/shown', source: join(closed, 'inner/mark'), text: '' },
    ] as const) {
      await assert.rejects(gateway.call('create', 'behind', showing(step), registered.id, 'worker:1'), { code: 'view' });
    }
    chmodSync(closed, 0o711);
    await gateway.call('create', 'open', showing({ do: 'bind', path: '/opt/shown', source: join(closed, 'inner'), optional: false }), registered.id, 'worker:1');
    assert.equal((await gateway.run('open', 'e', ['/bin/cat', '/opt/shown/mark'])).stdout, 'behind');
    await gateway.call('destroy', 'open');
  });

  it('nobody keeps others out by waiting, nor fills the record with refusals', async () => {
    const script = 'import os,socket,sys,time\nos.setgroups([int(sys.argv[3])])\nos.setresgid(*[int(sys.argv[2])]*3)\nos.setresuid(*[int(sys.argv[2])]*3)\ns=[]\nfor i in range(40):\n  c=socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); s.append(c)\nprint("waiting",flush=True)\nsys.stdin.read()';
    const flood = spawn('python3', ['-c', script, join(instance.run, 'register.sock'), String(person), String(testUids.operators)], { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve) => flood.stdout.once('data', resolve));
    try {
      assert.ok((await instance.register(make('meanwhile', person + 7), person + 7)).ok);
      assert.ok((await instance.register(make('meanwhile-root', 0))).ok);
      assert.ok((await instance.register(make('meanwhile-own', person), person)).ok, 'also not oneself');
    } finally {
      flood.stdin.end();
      await new Promise((resolve) => flood.once('exit', resolve));
    }
    const theirs = make('again-theirs', 0);
    const ledger = await instance.service('ledger');
    const refusals = (): number => ledger.news.filter((m) => m.t === 'event' && /Registering a workspace was refused/.test(m.event.message)).length;
    const before = refusals();
    const many = 'import os,socket,sys\nos.setgroups([int(sys.argv[3])])\nos.setresgid(*[int(sys.argv[2])]*3)\nos.setresuid(*[int(sys.argv[2])]*3)\nfor i in range(30):\n  s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[4].encode()); assert b"not-yours" in s.makefile("rb").read()';
    execFileSync('python3', ['-c', many, join(instance.run, 'register.sock'), String(person + 9), String(testUids.operators), encodeRegister(theirs)]);
    assert.ok((await instance.register(make('mark-the-end', 0))).ok);
    await ledger.saw('event', (m) => /A workspace was registered: .*mark-the-end/.test(m.event.message));
    assert.equal(refusals() - before, 20);
  });
});
