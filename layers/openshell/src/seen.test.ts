/** What is counted of a sandbox's system calls, compared with what a program is known to have done. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { seenVerdicts, type LedgerEvent, type SeenReport } from '@nemoclaw/contract';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';

const spec = (audit: string): string =>
  `isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/fixed], escalate: [{ path: /workspace/prod/**, on: [delete] }] }, process: { exec: { allow: [/usr/bin/**, /workspace/bin/**] } }, syscalls: { deny: [personality] }, auditLog: { syscalls: ${audit} }, enforcement: best-effort`;
type Verdicts = Partial<Record<(typeof seenVerdicts)[number], number>>;

describe('system calls that are seen', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let ledger: TestService;
  let registration: string;
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
  const events = (sandbox: string): LedgerEvent[] => ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === sandbox ? [m.event] : []));

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 30 });
    gateway = await instance.service('gateway');
    ledger = await instance.service('ledger');
    const workspace = await instance.workspace('project');
    registration = workspace.id;
    for (const name of ['bin', 'prod', 'fixed', 'data']) mkdirSync(join(workspace.path, name));
    for (const name of ['prod/kept', 'fixed/file', 'data/program']) writeFileSync(join(workspace.path, name), '#!/bin/true\n');
    chmodSync(join(workspace.path, 'data/program'), 0o755);
    const source = fileURLToPath(new URL('../native/tests/seen.c', import.meta.url));
    const made = spawnSync('gcc', ['-D_GNU_SOURCE', '-O2', '-static', '-pthread', '-Wall', '-Werror', '-o', join(workspace.path, 'bin/seen'), source], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    chmodSync(join(workspace.path, 'bin/seen'), 0o755);
    await gateway.call('create', 'c', instance.plan(spec('counts')), registration, 'worker:1');
  });
  after(async () => {
    await instance?.stop();
  });

  it('counts a thousand allowed, a thousand that Landlock refused, a thousand that seccomp refused, a thousand that were held and denied: exactly', async () => {
    assert.deepEqual(await added('c', 'getpriority', ['getpriority', '1000'], '1000 -'), { done: 1000 });
    // The mode allows it and the mount is writable: Landlock alone refuses to execute outside of what exec.allow names.
    assert.deepEqual(await added('c', 'execve', ['execve', '1000', '/workspace/data/program'], '0 EACCES'), { done: 1, denied: 1000 });
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
});
