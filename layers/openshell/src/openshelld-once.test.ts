/** A file that must be new, while openshelld is killed between making it and handing it over: made once, and handed over by the successor. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { SyscallHold } from '@nemoclaw/contract';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';
import { buildTestProgram } from './openshelld-test-program.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [write] }, { path: /workspace/asked/**, on: [create] }] }';
/** Numbers of system calls of x86-64: what the file gets its name by. */
const linkat = 265;
/** Opens a file that must be new, writes to it and says how that ended. */
const program = (path: string, mode: string): string[] => ['/usr/bin/python3', '-c', `
import os, errno, stat
os.umask(0o022)
try:
    fd = os.open('/workspace/${path}', os.O_CREAT | os.O_EXCL | os.O_WRONLY, ${mode})
    os.write(fd, b'whole')
    print('ok', oct(stat.S_IMODE(os.fstat(fd).st_mode)), os.path.basename(os.readlink(f'/proc/self/fd/{fd}')))
except OSError as x:
    print(errno.errorcode[x.errno])
`];

describe('a file that must be new', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: string;
  let killer: string;
  let next = 0;
  const start = (path: string, mode: string): Promise<string> => gateway.run('o', `x${(next += 1)}`, program(path, mode)).then((out) => out.stdout.trim() + out.stderr);
  /** Kills openshelld as soon as it has named a file; resolves when that is watched for. */
  const killAtNaming = async (): Promise<{ readonly killed: Promise<void> }> => {
    const child = spawn(killer, [String(instance.daemonPid), String(linkat)], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.setEncoding('utf8');
    assert.match(String((await once(child.stdout, 'data'))[0]), /ready/);
    return { killed: once(child, 'exit').then(([code]) => assert.equal(code, 0)) };
  };

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 60 });
    gateway = await instance.service('gateway');
    killer = join(instance.root, 'kill-after');
    buildTestProgram('kill-after', instance.root);
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    for (const name of ['prod', 'asked']) mkdirSync(join(folder, name));
    await gateway.call('create', 'o', instance.plan(spec), workspace.id, 'worker:1');
  });
  after(async () => {
    await instance?.stop();
  });

  it('is made as the agent would make it, and not twice', async () => {
    assert.equal(await start('prod/plain', '0o640'), 'ok 0o640 plain');
    assert.equal(await start('prod/plain', '0o640'), 'EEXIST');
    assert.equal(await start('prod/read-only', '0o444'), 'ok 0o444 read-only');
    assert.equal(await start('prod/missing/x', '0o640'), 'ENOENT');
    assert.deepEqual(readdirSync(join(folder, 'prod')).sort(), ['plain', 'read-only']);
  });

  for (const mode of ['0o640', '0o444'] as const) {
    it(`that was made when openshelld is killed goes to the caller all the same (mode ${mode})`, { timeout: 120_000 }, async () => {
      const name = `new${mode}`;
      const { killed } = await killAtNaming();
      const out = start(`prod/${name}`, mode);
      await killed;
      assert.equal(await out, `ok ${mode} ${name}`);
      assert.equal(readFileSync(join(folder, 'prod', name), 'utf8'), 'whole');
      assert.equal(statSync(join(folder, 'prod', name)).nlink, 1);
      assert.deepEqual(readdirSync(join(folder, 'prod')).filter((one) => !one.startsWith('new')).sort(), ['plain', 'read-only']);
    });
  }

  it('and so does one that a person was asked about', { timeout: 120_000 }, async () => {
    const out = start('asked/new', '0o640');
    const isIt = (hold: SyscallHold): boolean => hold.path === '/workspace/asked/new';
    const { hold } = await gateway.saw('hold', (m) => isIt(m.hold));
    const { killed } = await killAtNaming();
    const before = gateway.news.length;
    const answered = gateway.call('answerHold', 'o', hold.holdId, 'allow').catch(() => 'the answer was lost');
    await killed;
    await answered;
    await gateway.saw('inventory', (m) => gateway.news.indexOf(m) >= before && m.holds.some(isIt), 60_000);
    assert.deepEqual(await gateway.call('answerHold', 'o', hold.holdId, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await out, 'ok 0o640 new');
    assert.equal(readFileSync(join(folder, 'asked/new'), 'utf8'), 'whole');
  });

  it('is not what somebody else made meanwhile', { timeout: 120_000 }, async () => {
    const out = start('asked/other', '0o640');
    const { hold } = await gateway.saw('hold', (m) => m.hold.path === '/workspace/asked/other');
    writeFileSync(join(folder, 'asked/other'), 'theirs');
    assert.deepEqual(await gateway.call('answerHold', 'o', hold.holdId, 'allow'), { outcome: 'changed', errno: 1 });
    assert.equal(await out, 'EPERM');
    assert.equal(readFileSync(join(folder, 'asked/other'), 'utf8'), 'theirs');
  });
});
