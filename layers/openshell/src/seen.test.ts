/** What is counted of a sandbox's system calls, compared with what a program is known to have done. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { seenVerdicts, type LedgerEvent, type SeenReport } from '@nemoclaw/contract';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';
import { buildTestProgram } from './openshelld-test-program.ts';

const spec = (audit: string): string =>
  `isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/fixed], escalate: [{ path: /workspace/prod/**, on: [delete] }] }, process: { exec: { allow: [/usr/bin/**, /workspace/bin/**] } }, syscalls: { deny: [personality] }, auditLog: { syscalls: ${audit} }, enforcement: best-effort`;
type Verdicts = Partial<Record<(typeof seenVerdicts)[number], number>>;

describe('system calls that are seen', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let ledger: TestService;
  let registration: string;
  let folder: string;
  let next = 0;
  const run = async (sandbox: string, ...argv: string[]): Promise<string> => {
    const out = await gateway.run(sandbox, `s${(next += 1)}`, argv);
    assert.equal(out.stderr, '');
    return out.stdout.trim();
  };
  const seen = async (sandbox: string): Promise<SeenReport> => (await gateway.call('seen', sandbox)) as SeenReport;
  const verdicts = (report: SeenReport, call: string): Verdicts => Object.fromEntries(seenVerdicts.map((name, i): [string, number] => [name, report.counts[call]?.[i] ?? 0]));
  /** What one run of the program added to the counts of `call`. */
  const added = async (sandbox: string, call: string, argv: readonly string[], said: string): Promise<Verdicts> => {
    const before = verdicts(await seen(sandbox), call);
    assert.equal(await run(sandbox, '/workspace/bin/seen', ...argv), said);
    const now = verdicts(await seen(sandbox), call);
    return Object.fromEntries(seenVerdicts.flatMap((name): [string, number][] => ((now[name] ?? 0) === (before[name] ?? 0) ? [] : [[name, (now[name] ?? 0) - (before[name] ?? 0)]])));
  };
  const file = async (name: string): Promise<void> => {
    for (let tries = 0; !existsSync(join(folder, name)); tries += 1) {
      assert.ok(tries < 1000, `${name} never appeared`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const events = (sandbox: string): LedgerEvent[] => ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === sandbox ? [m.event] : []));

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 30 });
    gateway = await instance.service('gateway');
    ledger = await instance.service('ledger');
    const workspace = await instance.workspace('project');
    registration = workspace.id;
    folder = workspace.path;
    for (const name of ['bin', 'prod', 'fixed', 'data']) mkdirSync(join(workspace.path, name));
    for (const name of ['prod/kept', 'fixed/file', 'fixed/second', 'data/program']) writeFileSync(join(workspace.path, name), '#!/bin/true\n');
    chmodSync(join(workspace.path, 'data/program'), 0o755);
    buildTestProgram('seen', join(workspace.path, 'bin'));
    chmodSync(join(workspace.path, 'bin/seen'), 0o755);
    // /tmp is the agent's own and writable; in this plan Landlock does not let it be changed, and nothing else would stop that.
    const plan = instance.plan(spec('counts'), (made) => ({ ...made, landlock: { ...made.landlock, rules: made.landlock.rules.filter((rule) => rule.path !== '/tmp') } }));
    await gateway.call('create', 'c', plan, registration, 'worker:1');
  });
  after(async () => {
    await instance?.stop();
  });

  it('counts a thousand allowed, a thousand that Landlock refused, a thousand that seccomp refused, a thousand that were held and denied: exactly', async () => {
    assert.deepEqual(await added('c', 'getpriority', ['getpriority', '1000'], '1000 -'), { done: 1000 });
    assert.deepEqual(await added('c', 'mkdir', ['mkdir', '1000', '/tmp/made'], '0 EACCES'), { denied: 1000 });
    await ledger.saw('event', (m) => m.event.sandbox === 'c' && m.event.data?.['path'] === '/tmp/made' && m.event.layer === 'landlock');
    assert.deepEqual(await added('c', 'keyctl', ['keyctl', '1000'], '0 EPERM'), { filtered: 1000 });
    const answered = new Set<string>();
    const denying = (async () => {
      for (let i = 0; i < 1000; i += 1) {
        const { hold } = await gateway.saw('hold', (m) => !answered.has(m.hold.holdId));
        answered.add(hold.holdId);
        await gateway.call('answerHold', 'c', hold.holdId, 'deny');
      }
    })();
    assert.deepEqual(await added('c', 'unlink', ['unlink', '1000', '/workspace/prod/kept'], '0 EPERM'), { heldDenied: 1000 });
    await denying;
  });

  it('tells apart what the arguments decide, what comes by strange numbers, what a policy denies at once', async () => {
    assert.deepEqual(await added('c', 'socket', ['socket', '100'], '0 EPERM'), { filtered: 100 });
    assert.deepEqual(await added('c', 'personality', ['personality', '100'], '0 EPERM'), { filtered: 100 });
    assert.deepEqual(await added('c', 'other', ['x32', '100'], '0 ENOSYS'), { filtered: 100 });
    assert.deepEqual(await added('c', 'other', ['nonsense', '100'], '0 ENOSYS'), { filtered: 100 });
    assert.deepEqual(await added('c', 'truncate', ['truncate', '100', '/workspace/fixed/file'], '0 EROFS'), { denied: 100 });
    assert.deepEqual(await added('c', 'truncate', ['truncate', '100', '/workspace/nowhere'], '0 ENOENT'), { failed: 100 });
    assert.deepEqual(await added('c', 'truncate', ['truncate', '100', '/workspace/data/program'], '100 -'), { done: 100 });
    assert.deepEqual(await added('c', 'execve', ['execve', '100', '/workspace/data/program'], '0 EACCES'), { done: 1, denied: 100 });
  });

  it('counts a call once: also where two tasks leave it, where it never returns, where a signal ends it', async () => {
    assert.deepEqual(await added('c', 'fork', ['fork', '50'], '50 -'), { done: 50 });
    assert.deepEqual(await added('c', 'vfork', ['vfork', '50'], '50 -'), { done: 50 });
    // The program's own end is one more.
    assert.deepEqual(await added('c', 'exit_group', ['fork', '50'], '50 -'), { done: 51 });
    assert.deepEqual(await added('c', 'exit', ['thread', '50'], '50 -'), { done: 50 });
    assert.deepEqual(await added('c', 'pause', ['pause', '20'], '0 EINTR'), { interrupted: 20 });
    assert.deepEqual(await added('c', 'rt_sigreturn', ['pause', '20'], '0 EINTR'), { done: 20 });
    const before = await seen('c');
    await run('c', '/workspace/bin/seen', 'fork', '50');
    assert.equal((await seen('c')).ended - before.ended, 51);
  });

  it('goes on counting while openshelld is dead', async () => {
    const before = verdicts(await seen('c'), 'getpriority');
    const waits = gateway.run('c', 'waits', ['/usr/bin/bash', '-c', 'echo > begun; until [ -e go ]; do sleep 0.02; done; /workspace/bin/seen getpriority 1000; echo > finished'].map((part) => part.replaceAll(/\b(begun|go|finished)\b/g, '/workspace/$1')));
    waits.catch(() => undefined);
    await file('begun');
    const known = gateway.news.filter((m) => m.t === 'inventory').length;
    process.kill(instance.supervisorPid, 'SIGSTOP'); // nobody starts a successor
    try {
      process.kill(instance.daemonPid, 'SIGKILL');
      writeFileSync(join(folder, 'go'), '');
      await file('finished');
    } finally {
      process.kill(instance.supervisorPid, 'SIGCONT');
    }
    await gateway.saw('inventory', () => gateway.news.filter((m) => m.t === 'inventory').length > known);
    const now = verdicts(await seen('c'), 'getpriority');
    assert.equal((now.done ?? 0) - (before.done ?? 0), 1000);
    assert.deepEqual(await added('c', 'socket', ['socket', '100'], '0 EPERM'), { filtered: 100 }, 'the filter is not known any more');
    await run('c', '/workspace/bin/seen', 'truncate', '1', '/workspace/fixed/second');
    await seen('c');
    const { event } = await ledger.saw('event', (m) => m.event.sandbox === 'c' && m.event.data?.['path'] === '/workspace/fixed/second');
    assert.deepEqual(event.data?.['rule'], { id: 'filesystem.readOnly[0]', file: 'trial.yaml', line: 4 }, 'the rules are not known any more');
  });

  it('gives a sandbox that comes after another counters of its own, and puts the last ones of the former on record', async () => {
    await gateway.call('create', 'd', instance.plan(spec('counts')), registration, 'worker:1');
    await run('d', '/workspace/bin/seen', 'getpriority', '7');
    await gateway.call('destroy', 'd');
    const { event } = await ledger.saw('event', (m) => m.event.sandbox === 'd' && m.event.data?.['seen'] !== undefined);
    assert.equal((event.data?.['seen'] as SeenReport).counts['getpriority']?.[0], 7);
    await gateway.call('create', 'd', instance.plan(spec('counts')), registration, 'worker:1');
    assert.equal((await seen('d')).counts['getpriority'], undefined);
    await gateway.call('destroy', 'd');
  });

  it('tells before the end of a command what its refusals were, and has told all of it when it is asked', async () => {
    await gateway.call('create', 'told', instance.plan(spec('counts').replace(/filesystem: \{ .*? \}\] \},/, '')), registration, 'worker:1');
    await run('told', '/workspace/bin/seen', 'keyctl', '1000');
    const seq = (await gateway.call('flush', 'told')) as number;
    await ledger.saw('event', (m) => m.seq === seq);
    const refused = events('told').filter((e) => e.layer === 'seccomp' && e.data?.['syscall'] === 'keyctl').reduce((sum, e) => sum + Number(e.data?.['count'] ?? 0), 0);
    assert.equal(refused, 1000);
    await gateway.call('destroy', 'told');
  });

  it('counts nothing where the policy says off, and tells successes where it says full', async () => {
    await gateway.call('create', 'off', instance.plan(spec('off')), registration, 'worker:1');
    await run('off', '/workspace/bin/seen', 'truncate', '1', '/workspace/nowhere');
    await assert.rejects(seen('off'), { code: 'not-seen' });
    await gateway.call('destroy', 'off');
    await gateway.call('create', 'full', instance.plan(spec('full')), registration, 'worker:1');
    await run('full', '/workspace/bin/seen', 'truncate', '3', '/workspace/data/program');
    await seen('full');
    await ledger.saw('event', (m) => m.event.sandbox === 'full' && m.event.verdict === 'allow' && m.event.data?.['path'] === '/workspace/data/program');
    await ledger.saw('event', () => events('full').filter((e) => e.verdict === 'allow' && e.data?.['syscall'] === 'truncate').length === 3);
  });

  it('counts a flood exactly, and says how much of it was not told one by one', async () => {
    assert.deepEqual(await added('full', 'truncate', ['truncate', '20000', '/workspace/data/program'], '20000 -'), { done: 20_000 });
    const report = await seen('full');
    const lost = report.withheld + report.ringFull;
    assert.ok(lost > 0, 'the flood fitted');
    await seen('full');
    // Told in several parts, each on the ledger's own connection to us: the last may come after the answer.
    await ledger.saw('event', () => events('full').reduce((sum, e) => sum + Number(e.data?.['dropped'] ?? 0), 0) >= lost);
    assert.ok(Object.values((await seen('full')).counts).length > 0);
    // Every success of this call is either told or said to be lost.
    const told = events('full').filter((e) => e.verdict === 'allow').length;
    assert.ok(told >= 3 && told <= 3000, String(told));
  });

  it('says how much the ring could not hold while openshelld stood still, and counts it all the same', async () => {
    const before = verdicts(await seen('full'), 'truncate');
    // Long enough for a few times the ring, at the pace that one sandbox may have.
    const code = 'import os, time\nopen("/workspace/ready", "w").close()\nwhile not os.path.exists("/workspace/flood"): time.sleep(0.01)\nn = 0; end = time.monotonic() + 3\nwhile time.monotonic() < end:\n  os.truncate("/workspace/data/program", 0); n += 1\nopen("/workspace/stood", "w").close(); print(n)';
    const flood = gateway.run('full', 'flood', ['/usr/bin/python3', '-c', code]);
    flood.catch(() => undefined);
    await file('ready');
    const daemon = instance.daemonPid;
    process.kill(daemon, 'SIGSTOP');
    try {
      writeFileSync(join(folder, 'flood'), '');
      await file('stood');
    } finally {
      process.kill(daemon, 'SIGCONT');
    }
    const made = Number((await flood).stdout);
    const report = await seen('full');
    assert.equal((verdicts(report, 'truncate').done ?? 0) - (before.done ?? 0), made);
    assert.ok(report.ringFull > 0, `${made} calls filled nothing`);
    await ledger.saw('event', (m) => m.event.sandbox === 'full' && Number((m.event.data?.['seen'] as SeenReport | undefined)?.ringFull ?? 0) === report.ringFull);
  });

  it('names the rule that refused, and where the policy says it', async () => {
    await run('c', '/workspace/bin/seen', 'truncate', '1', '/workspace/fixed/other');
    await run('c', '/workspace/bin/seen', 'truncate', '1', '/workspace/fixed/file');
    await run('c', '/workspace/bin/seen', 'personality', '1');
    await seen('c');
    const refused = async (syscall: string): Promise<unknown> => (await ledger.saw('event', (m) => m.event.sandbox === 'c' && m.event.verdict === 'deny' && m.event.data?.['syscall'] === syscall && m.event.data['rule'] !== undefined)).event.data?.['rule'];
    assert.deepEqual(await refused('truncate'), { id: 'filesystem.readOnly[0]', file: 'trial.yaml', line: 4 });
    assert.deepEqual(await refused('personality'), { id: 'syscalls.deny[0]', file: 'trial.yaml', line: 4 });
    await run('c', '/workspace/bin/seen', 'execve', '1', '/workspace/data/program');
    await seen('c');
    assert.deepEqual(await refused('execve'), { id: 'process.exec.allow', file: 'trial.yaml', line: 4 });
  });

  it('keeps names that would break a line, move a cursor, or are no text', async () => {
    const python = 'import os\nfor n in (b"a\\nb", b"\\x1b[2Jx", b"\\xff\\xfe", "\u202egnp".encode()):\n  try: os.truncate(b"/workspace/fixed/" + n, 0)\n  except OSError: pass\n  try: os.mkdir(b"/workspace/fixed/" + n)\n  except OSError: pass\n';
    await run('c', '/usr/bin/python3', '-c', python);
    await seen('c');
    await ledger.saw('event', (m) => m.event.sandbox === 'c' && m.event.data?.['syscall'] === 'mkdir' && String(m.event.data?.['path']).endsWith('gnp'));
    const paths = events('c').filter((e) => e.data?.['syscall'] === 'mkdir' && e.data['path'] !== '/tmp/made').map((e) => e.data?.['path']);
    assert.deepEqual(paths, ['/workspace/fixed/a\\x0ab', '/workspace/fixed/\\x1b[2Jx', '/workspace/fixed/\\xff\\xfe', '/workspace/fixed/\\xe2\\x80\\xaegnp']);
    for (const event of events('c')) assert.doesNotMatch(event.message, /[\u0000-\u001f\u007f]/);
    assert.deepEqual(events('c').find((e) => e.data?.['syscall'] === 'mkdir')?.data?.['hints'], ['path', 'comm']);
  });
});
