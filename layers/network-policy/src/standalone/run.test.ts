/** The layer alone, on the real kernel: a command in a captured network, as root and as a plain user; a namespace that exists; a person at a terminal. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { openUpstream } from '../testing/testing-egress.ts';
import type { Upstream } from '../testing/testing-egress.ts';
import { buildNative } from './native-build.ts';
import { nodeFor, programPath, startAlone } from './testing-command.ts';
import type { Ran } from './testing-command.ts';

describe('network-policy alone', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'network-policy-test-'));
  const policy = join(folder, 'policy.yaml');
  const temporary = join(folder, 'tmp');
  const seen: string[] = [];
  let web: Upstream;
  let safe: Upstream;
  const running = new Set<ChildProcess>();

  before(async () => {
    buildNative();
    chmodSync(folder, 0o755);
    mkdirSync(temporary);
    chmodSync(temporary, 0o1777);
    web = await openUpstream((req, res) => {
      seen.push(`${req.method} ${req.url}`);
      res.end('hello\n');
    });
    safe = await openUpstream((_req, res) => void res.end('safe\n'), 'safe.example');
    writeFileSync(join(folder, 'anchor.pem'), safe.caPem ?? '');
    writeFileSync(policy, `networkPolicy:
  name: alone
  egress:
    allow:
      - { domain: here.example, ports: [${web.port}], methods: [GET], addresses: [127.0.0.1] }
      - { domain: safe.example, ports: [${safe.port}], methods: [GET], addresses: [127.0.0.1], ca: anchor.pem }
      - { domain: crm.example, ports: [${web.port}], methods: [GET, POST], addresses: [127.0.0.1], as: crm.update }
    escalate:
      - { domain: ask.example, ports: [${web.port}], methods: [GET], addresses: [127.0.0.1] }
    deny:
      - { domain: "*" }
`);
  });
  after(async () => {
    for (const child of running) child.kill('SIGKILL');
    await Promise.all([web, safe].map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  });

  /** Not spawnSync: the upstreams live in this process. */
  async function start(args: readonly string[], more: { uid?: number; gid?: number; node?: string } = {}): Promise<Ran> {
    const one = startAlone(args, { cwd: folder, env: { TMPDIR: temporary }, ...more });
    running.add(one.child);
    const ran = await one.ended;
    running.delete(one.child);
    return ran;
  }
  const run = (script: string, ...options: string[]): Promise<Ran> => start(['run', '--policy', policy, ...options, '--', '/bin/sh', '-c', script]);
  const curl = 'curl -sS -m 60';

  it('lets through what is allowed, in both families and by the explicit door, says what is denied, and ends as its command', async () => {
    seen.length = 0;
    const { code, out, err } = await run(`${curl} http://here.example:${web.port}/a; ${curl} -6 http://here.example:${web.port}/b; ${curl} -x socks5h://proxy.local:3128 http://here.example:${web.port}/c
      ${curl} -X DELETE http://here.example:${web.port}/d; ${curl} http://evil.example/; ${curl} http://127.0.0.1:${web.port}/e; exit 7`);
    assert.equal(code, 7, err);
    assert.deepEqual(seen, ['GET /a', 'GET /b', 'GET /c']);
    assert.match(out, /^hello\nhello\nhello\n\{"error":"denied_by_policy","rule":"egress\.allow\[0\]"/);
    assert.match(err, /network-policy: denied: DELETE http:\/\/here\.example:\d+\/d: denied \[egress\.allow\[0\], .*policy\.yaml:5\]/);
    assert.match(err, /denied: DNS question for evil\.example.*egress\.deny\[0\]/);
    assert.match(err, /Could not resolve host: evil\.example/);
    assert.match(err, /curl: \(7\)/, 'its loopback is its own');
  });

  it('lets no command type into a terminal', async () => {
    const { out, err } = await run(`perl -e 'for my $request (0x5412, 0x541c, 0x5401) { my $in = "a" x 64; ioctl(STDIN, $request, $in); print $! + 0, " " }' < /dev/null`);
    assert.equal(out, '1 1 25 ', err);
  });

  it('is trusted by its command, and by nobody else', async () => {
    const { code, out, err } = await run(`${curl} https://safe.example:${safe.port}/; env -i PATH=/usr/bin:/bin ${curl} https://safe.example:${safe.port}/; printenv NODE_EXTRA_CA_CERTS
      ${process.execPath} -e "fetch('https://safe.example:${safe.port}/').then((r) => r.text()).then((t) => process.stdout.write('node ' + t), (e) => console.log(e.cause))"
      ${curl} -X POST https://safe.example:${safe.port}/ -o /dev/null -w '%{http_code}'`, '--ca-out', join(folder, 'root.pem'));
    assert.equal(code, 0, err);
    assert.match(out, /^safe\nsafe\n\/.*root\.pem\nnode safe\n403$/, err);
    assert.match(readFileSync(join(folder, 'root.pem'), 'utf8'), /^-----BEGIN CERTIFICATE-----/);
    assert.ok(!readFileSync('/etc/ssl/certs/ca-certificates.crt', 'utf8').includes(readFileSync(join(folder, 'root.pem'), 'utf8').slice(28, 200)), 'the system’s bundle is as it was');
  });

  it('prints one object for each denial, and keeps every event where it is told to', async () => {
    const { err } = await run(`${curl} http://here.example:${web.port}/a; ${curl} http://evil.example/ 2>/dev/null`, '--json', '--record', join(folder, 'events'));
    const denied = err.trim().split('\n').map((line) => JSON.parse(line) as { verdict: string; decision: { rules: { id: string }[] } });
    assert.deepEqual([...new Set(denied.map((event) => `${event.verdict} ${event.decision.rules[0]?.id}`))], ['deny egress.deny[0]']);
    const all = readFileSync(join(folder, 'events'), 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { verdict: string }).verdict);
    assert.ok(all.includes('allow') && all.includes('deny'));
  });

  it('explains a denial by its event id', async () => {
    const record = join(folder, 'explained');
    const { out } = await run(`${curl} -X DELETE http://here.example:${web.port}/d`, '--record', record);
    const { eventId } = JSON.parse(out) as { eventId: string };
    const told = await start(['explain', '--record', record, eventId]);
    assert.equal(told.code, 0, told.err);
    assert.match(told.out, /^Denied\n  why   .+\n  rule  egress\.allow\[0\] \(.*policy\.yaml:5\)\n  next  .+\n  by    policy version 1\n  event \d+  .*DELETE http:\/\/here\.example:\d+\/d: denied\n$/);
    const whole = JSON.parse((await start(['explain', '--json', '--record', record, eventId])).out) as { verdict: string; event: { sequence: number } };
    assert.equal(whole.verdict, 'deny');
    assert.deepEqual(JSON.parse((await start(['explain', '--json', '--record', record, String(whole.event.sequence)])).out), whole);
    writeFileSync(record, '{"correlation":"net_half","deci', { flag: 'a' });
    for (const [args, words] of [[[record, 'net_none'], /NEMO_E_NOT_FOUND/], [[record, 'net_half'], /NEMO_E_NOT_FOUND/], [[join(folder, 'none'), eventId], /cannot be read/], [[record], /needs --record/]] as const) assert.match((await start(['explain', '--record', ...args])).err, words);
  });

  it('an action that a rule names is allowed by that rule, and stands in the record', async () => {
    seen.length = 0;
    const record = join(folder, 'actions');
    const { out, err } = await run(`${curl} -X POST -d x=1 http://crm.example:${web.port}/one; ${curl} -X DELETE http://crm.example:${web.port}/two`, '--record', record);
    assert.match(out, /^hello\n\{"error":"denied_by_policy","rule":"egress\.allow\[2\]"/, err);
    assert.deepEqual(seen, ['POST /one']);
    const decided = readFileSync(record, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { verdict: string; decision?: { action: string; rules: { id: string }[] } }).filter(({ decision }) => decision?.action === 'crm.update');
    assert.ok(decided.some(({ verdict, decision }) => verdict === 'allow' && decision?.rules.every(({ id }) => id === 'egress.allow[2]')), JSON.stringify(decided));
  });

  it('denies what a person would be asked about where there is none', async () => {
    const { out, err } = await run(`${curl} http://ask.example:${web.port}/`);
    assert.match(out, /no terminal to ask at/);
    assert.match(err, /denied: .*nobody could be asked/);
  });

  it('asks at the terminal, with the command standing still', async () => {
    const ask = join(folder, 'ask.py');
    // A terminal of its own: answers every question with the keys given, and prints what it saw.
    writeFileSync(ask, `import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[2], sys.argv[2:])
seen, end, again = b'', time.time() + 120, 0
while time.time() < end:
    if select.select([fd], [], [], 0.05)[0]:
        try: part = os.read(fd, 4096)
        except OSError: break
        if not part: break
        seen += part
    answered = seen.count(b'allowed\\r') + seen.count(b'denied\\r')
    # Keys that come too soon after each other are no answer.
    if seen.count(b'd: deny') > answered and time.time() > again:
        time.sleep(0.6)
        os.write(fd, sys.argv[1][answered].encode())
        again = time.time() + 2
sys.stdout.buffer.write(seen)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`);
    seen.length = 0;
    const child = spawn('/usr/bin/python3', [ask, 'ad', process.execPath, programPath, 'run', '--policy', policy, '--', '/bin/sh', '-c', `${curl} http://ask.example:${web.port}/one; ${curl} http://ask.example:${web.port}/two; exit 5`], { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: '/usr/bin:/bin', NODE_DISABLE_COMPILE_CACHE: '1' } });
    running.add(child);
    let out = '';
    child.stdout.on('data', (part: Buffer) => { out += part.toString(); });
    const [code] = (await once(child, 'close')) as [number | null];
    running.delete(child);
    assert.equal(code, 5, out);
    assert.deepEqual(seen, ['GET /one'], out);
    assert.match(out, /network-policy asks:[^]*allowed[^]*hello[^]*network-policy asks:[^]*denied[^]*refused at the terminal/);
  });

  it('as root the command cannot leave its network; as somebody else it is that user', async () => {
    const { out } = await run('id -u; nsenter -t 1 -n true && echo left; nsenter --net=/proc/1/ns/net true && echo left; unshare -n true && echo apart; grep -c . /proc/net/route');
    assert.equal(out, '0\n1\n');
    const other = await run('id -u; id -g; id -G', '--user', 'nobody');
    assert.deepEqual(other.out.split('\n').slice(0, 1), [String(spawnSync('id', ['-u', 'nobody'], { encoding: 'utf8' }).stdout.trim())]);
    assert.equal((await run('true', '--user', 'nobody-of-that-name')).code, 2);
  });

  it('a plain user gets the same', async (t) => {
    const node = nodeFor(join(folder, 'node'));
    if (spawnSync('/usr/bin/test', ['-r', programPath], { uid: 65_533, gid: 65_533 }).status !== 0) return t.skip('the checkout cannot be read by a plain user');
    seen.length = 0;
    const { code, out, err } = await start(['run', '--policy', policy, '--', '/bin/sh', '-c', `id -u; ${curl} http://here.example:${web.port}/plain; ${curl} http://evil.example/; exit 3`], { uid: 65_533, gid: 65_533, node });
    assert.deepEqual([code, out, seen], [3, '65533\nhello\n', ['GET /plain']], err);
    assert.match(err, /denied: DNS question for evil\.example/);
  });

  it('stands in front of a namespace that exists, again after it ended, and leaves it closed', async () => {
    const inside = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
    running.add(inside);
    try {
      const pid = String(inside.pid);
      // unshare has to have made it first.
      while (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')) await setImmediate();
      const request = async (path: string): Promise<string> => {
        const child = spawn('nsenter', ['-t', pid, '-n', 'curl', '-sS', '-m', '60', '--resolve', `here.example:${web.port}:198.18.0.1`, `http://here.example:${web.port}${path}`], { stdio: ['ignore', 'pipe', 'pipe'] });
        let out = '';
        child.stdout.on('data', (part: Buffer) => { out += part.toString(); });
        child.stderr.on('data', (part: Buffer) => { out += part.toString(); });
        await once(child, 'close');
        return out;
      };
      for (let round = 0; round < 2; round += 1) {
        const one = startAlone(['serve', '--policy', policy, '--netns', pid], { cwd: folder });
        running.add(one.child);
        await one.until(/serving/);
        assert.equal(await look(pid, 'here.example'), '198.18.0.1');
        assert.equal(await request('/served'), 'hello\n');
        assert.equal(await look(pid, 'evil.example'), '');
        one.child.kill('SIGTERM');
        const { code, err } = await one.ended;
        running.delete(one.child);
        assert.equal(code, 0, err);
        assert.match(await request('/after'), /Failed to connect|Connection refused|reset by peer/);
      }
    } finally {
      inside.kill('SIGKILL');
      running.delete(inside);
    }
  });

  it('says what is wrong before anything runs, and leaves no files', async () => {
    for (const [args, code, words] of [
      [['run', '--policy', join(folder, 'none.yaml'), '--', 'true'], 2, /cannot be read/], [['run', '--', 'true'], 2, /needs --policy/], [['run', '--policy', policy], 2, /needs a command/],
      [['serve', '--policy', policy, '--netns', 'no-such'], 2, /no network namespace/], [['walk'], 2, /not a command/], [['run', '--policy', policy, '--odd', 'true'], 2, /not an option/],
      [['run', '--policy', policy, '--record', '/no/such/folder/events', '--', 'true'], 2, /events cannot be written/], [['run', '--policy', policy, '--ca-out', folder, '--', 'true'], 2, /cannot be written/],
      [['serve', '--policy', policy, '--netns', String(process.pid)], 2, /itself runs in/],
      [['run', '--policy', policy, '--', '/no/such/program'], 127, /No such file/], [['run', '--policy', policy, '--', '/etc'], 126, /Permission denied/],
    ] as const) {
      const ran = await start(args);
      assert.equal(ran.code, code, ran.err);
      assert.match(ran.err, words);
    }
    writeFileSync(join(folder, 'bad.yaml'), 'networkPolicy:\n  name: x\n  egress:\n    allow:\n      - { domain: a.example, colour: red }\n');
    const bad = await start(['run', '--policy', join(folder, 'bad.yaml'), '--', 'true']);
    assert.equal(bad.code, 2);
    assert.match(bad.err, /bad\.yaml:5:/);
    // A file of somebody else's steers no terminal, and what it asks beyond this host is told with the option that there is.
    writeFileSync(join(folder, 'odd.yaml'), 'networkPolicy:\n  name: x\n  \u009bfoo: 1\n');
    assert.match((await start(['run', '--policy', join(folder, 'odd.yaml'), '--', 'true'])).err, /Unknown field `\\u\{9b\}foo`/);
    // The published rule of a call into a sandbox loads; that it admits nobody is said, with a proof or without.
    const webhook = 'networkPolicy:\n  name: x\n  ingress:\n    allow:\n      - { source: webhook.salesforce.com, path: /api/v1/events }\n      - { source: webhook.salesforce.com, path: /b, port: 80, auth: { addresses: [192.0.2.1] } }\n';
    writeFileSync(join(folder, 'webhook.yaml'), webhook);
    const told = await start(['run', '--policy', join(folder, 'webhook.yaml'), '--', 'true']);
    assert.equal(told.code, 0, told.err);
    assert.match(told.err, /^note: ingress\.allow\[0\]: unproven.*\nnote: ingress\.allow\[1\]: without --listen no calls are taken/m);
    assert.deepEqual(readdirSync(temporary), []);
    // Of a run that was killed, and of one that goes on; process 4194305 is above what the kernel numbers.
    const [left, other] = [join(temporary, 'network-policy-4194305-aaaaaa'), join(temporary, `network-policy-${process.pid}-bbbbbb`)];
    for (const path of [left, other]) mkdirSync(path);
    assert.equal((await start(['run', '--policy', policy, '--', 'true'])).code, 0);
    assert.deepEqual(readdirSync(temporary).map((one) => join(temporary, one)), [other]);
    rmSync(other, { recursive: true });
  });

  /** The address that the namespace's resolver gives; '' for none. */
  async function look(pid: string, name: string): Promise<string> {
    const child = spawn('nsenter', ['-t', pid, '-n', process.execPath, '-e', `const r = new (require('dns').Resolver)(); r.setServers(['9.9.9.9']); r.resolve4('${name}', (e, a) => console.log(e ? '' : a[0]))`], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (part: Buffer) => { out += part.toString(); });
    await once(child, 'close');
    return out.trim();
  }
});
