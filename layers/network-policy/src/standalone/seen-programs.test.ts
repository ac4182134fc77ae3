/** Rules on programs alone, on the real kernel: by the file of whoever connects, and refused where that is not seen. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openUpstream } from '../testing/testing-egress.ts';
import type { Upstream } from '../testing/testing-egress.ts';
import { buildNative } from './native-build.ts';
import { nodeFor, programPath, startAlone } from './testing-command.ts';
import type { Running } from './testing-command.ts';

describe('rules on programs alone', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'seen-programs-test-'));
  const policy = join(folder, 'programs.yaml');
  const temporary = join(folder, 'tmp');
  const python = realpathSync('/usr/bin/python3');
  const running = new Set<Running>();
  let web: Upstream;

  const put = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o755 });
    return path;
  };
  const rules = (allowed: string): string => `networkPolicy:
  name: programs
  egress:
    allow:
      - { domain: only.example, ports: [${web.port}], addresses: [127.0.0.1]${allowed} }
      - { domain: but.example, ports: [${web.port}], addresses: [127.0.0.1] }
    deny:
      - { domain: but.example, binaries: [${python}] }
`;
  const curlOnly = ', binaries: [/usr/bin/curl]';
  const start = (args: readonly string[], more: { uid?: number; gid?: number; node?: string } = {}): Running => {
    const one = startAlone(args, { cwd: folder, env: { TMPDIR: temporary }, ...more });
    running.add(one);
    return one;
  };
  /** What each line of the script prints, and standard error. */
  async function run(lines: readonly string[], ...options: string[]): Promise<{ told: string[]; err: string }> {
    const { out, err } = await start(['run', '--policy', policy, ...options, '--', '/bin/sh', '-c', lines.join('\n')]).ended;
    return { told: out.trim().split('\n'), err };
  }
  const curl = (host: string, program = 'curl'): string => `${program} -sS -m 60 -o /dev/null -w '%{http_code}\\n' http://${host}:${web.port}/`;

  before(async () => {
    buildNative();
    chmodSync(folder, 0o755);
    web = await openUpstream((_req, res) => void res.end('hello\n'));
    writeFileSync(policy, rules(curlOnly));
    put('ask.py', `#!/usr/bin/python3
import http.client, os, sys
if len(sys.argv) > 2: os.unlink(sys.argv[2])
c = http.client.HTTPConnection(sys.argv[1], ${web.port}, timeout=60)
c.request("GET", "/")
print(c.getresponse().status)
`);
    copyFileSync('/usr/bin/curl', join(folder, 'copy'));
    symlinkSync('/usr/bin/curl', join(folder, 'link'));
    mkdirSync(temporary);
    chmodSync(temporary, 0o1777);
  });
  afterEach(async () => {
    for (const one of running) {
      one.child.kill('SIGTERM');
      await one.ended;
    }
    running.clear();
  });
  after(async () => {
    await web.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('let the program through that they name, by its file whatever the link to it is called, and no other', async () => {
    const { told, err } = await run([curl('only.example'), curl('only.example', join(folder, 'link')), `python3 ask.py only.example`, curl('only.example', join(folder, 'copy'))]);
    assert.deepEqual(told, ['200', '200', '403', '403'], err);
    assert.match(err, /denied: .*only\.example.* \[egress\.allow\[0\], .*programs\.yaml:5\]/);
  });

  it('deny the program that they name, a script by its interpreter, and any that has no file any more', async () => {
    const gone = join(folder, 'gone');
    const { told, err } = await run([curl('but.example'), 'python3 ask.py but.example', './ask.py but.example', `cp ${python} ${gone}`, `${gone} ask.py but.example`, `${gone} ask.py but.example ${gone}`, `cp ${python} ${gone}`, `${gone} ask.py only.example ${gone}`]);
    assert.deepEqual(told, ['200', '403', '403', '200', '403', '403'], err);
    assert.match(err, /\[egress\.deny\[0\], .*programs\.yaml:8\]/);
  });

  it('hold for another user, over both families, and by the explicit door; a name in a mount namespace of its own is nobody’s', async () => {
    const other = `unshare -rm sh -c 'mount --bind ${python} /usr/bin/curl && /usr/bin/curl ${folder}/ask.py only.example' || echo no`;
    const { told, err } = await run([`${curl('only.example')} -6`, `${curl('only.example')} -4`, `${curl('only.example')} -x http://proxy.local:3128`, 'python3 ask.py only.example', other], '--user', 'nobody');
    assert.deepEqual(told.slice(0, 4), ['200', '200', '200', '403'], err);
    assert.match(told[4] ?? '', /^(403|no)$/);
  });

  it('hold from a change of the policy on', async () => {
    const changing = join(folder, 'changing.yaml');
    writeFileSync(changing, rules('').replace(/ {4}deny:[^]*/, ''));
    const one = start(['run', '--policy', changing, '--follow', '--', '/bin/sh', '-c', `python3 ask.py only.example; while [ ! -e go ]; do sleep 0.1; done; python3 ask.py only.example; ${curl('only.example')}`]);
    await one.until(/200\n/);
    writeFileSync(`${changing}.new`, rules(curlOnly));
    renameSync(`${changing}.new`, changing);
    await one.until(/is version 2\n/);
    put('go', '');
    const { out, err } = await one.ended;
    assert.equal(out, '200\n403\n200\n', err);
  });

  it('hold in front of a namespace that a process says; where only its name is known they are refused', async () => {
    const inside = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
    const pid = String(inside.pid);
    try {
      while (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')) await sleep(10);
      const status = async (...command: readonly string[]): Promise<string> => {
        const child = spawn('nsenter', ['-t', pid, '-n', ...command], { stdio: ['ignore', 'pipe', 'inherit'], cwd: folder });
        let out = '';
        child.stdout.on('data', (part: Buffer) => { out += part.toString(); });
        await once(child, 'close');
        return out;
      };
      const one = start(['serve', '--policy', policy, '--netns', pid]);
      await one.until(/serving/);
      const host = `only.example:${web.port}:198.18.0.1`;
      // The resolver of the host is not that of the namespace: an address is given out by a question first.
      await status(process.execPath, '-e', `const r = new (require('dns').Resolver)(); r.setServers(['9.9.9.9']); r.resolve4('only.example', () => undefined)`);
      const to = ['-sS', '-m', '60', '-o', '/dev/null', '-w', '%{http_code}', '--resolve', host, `http://only.example:${web.port}/`];
      assert.equal(await status('curl', ...to), '200');
      assert.equal(await status(join(folder, 'copy'), ...to), '403');
      one.child.kill('SIGTERM');
      assert.equal((await one.ended).code, 0);
      symlinkSync(`/proc/${pid}/ns/net`, join(folder, 'named'));
      assert.match((await start(['serve', '--policy', policy, '--netns', join(folder, 'named')]).ended).err, /programs\.yaml:5:\d+\n[^]*fix: .*--best-effort/);
    } finally {
      inside.kill('SIGKILL');
    }
  });

  it('are refused at their place where programs are not seen, which says why; with best effort they hold for any', async (t) => {
    const as = { uid: 65_533, gid: 65_533, node: nodeFor(join(folder, 'node')) };
    if (spawnSync('/usr/bin/test', ['-r', programPath], { uid: as.uid, gid: as.gid }).status !== 0) return t.skip('the checkout cannot be read by a plain user');
    const refused = await start(['run', '--policy', policy, '--', 'true'], as).ended;
    assert.equal(refused.code, 2, refused.err);
    assert.match(refused.err, /which program connects is not seen: .+\n[^]*programs\.yaml:5:\d+\n[^]*fix: .*--best-effort/);
    const { out, err } = await start(['run', '--policy', policy, '--best-effort', '--', 'python3', 'ask.py', 'only.example'], as).ended;
    assert.equal(out, '200\n', err);
    assert.match(err, /note: egress\.allow\[0\]\.binaries: .*holds for any/);
  });

  it('are seen by a helper: without it they allow nothing, and it ends with us, also when we are killed', async () => {
    const waiting = (file: string): string => `while [ ! -e ${file} ]; do sleep 0.1; done`;
    const script = `echo up; ${waiting('ask')}; ${curl('only.example')}; ${waiting('end')}`;
    const [one, other] = [start(['run', '--policy', policy, '--', '/bin/sh', '-c', script]), start(['run', '--policy', policy, '--', '/bin/sh', '-c', script])];
    await Promise.all([one.until(/up\n/), other.until(/up\n/)]);
    const [first, second] = [helperOf(one), helperOf(other)];
    other.child.kill('SIGKILL');
    await end(second);
    process.kill(Number(first), 'SIGKILL');
    await end(first);
    put('ask', '');
    await one.until(/403\n/);
    put('end', '');
    assert.equal((await one.ended).out, 'up\n403\n');
    await other.ended;
  });

  const statOf = (pid: string): string => {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'utf8');
    } catch {
      return '';
    }
  };
  const helperOf = (one: Running): string => readdirSync('/proc').find((pid) => new RegExp(`^${pid} \\(network-program\\) . ${one.child.pid} `).test(statOf(pid))) ?? assert.fail('no helper');
  /** It runs no more, whether or not somebody asked how it ended. */
  const end = async (pid: string): Promise<void> => {
    while (!/^$|\) [ZX] /.test(statOf(pid))) await sleep(20);
  };
});
