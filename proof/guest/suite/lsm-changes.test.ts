/** Other rules for a sandbox of tier A that runs: in force for what runs in it already, in one step, with nothing open in between. */
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { createSandbox } from '@nemoclaw/openshell';
import { temporary } from './kept.ts';

const policy = (filesystem: string) => loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: changes }\nspec: { requires: [tier-a], isolation: { network: none, filesystem: workspace }, filesystem: { ${filesystem} } }\n`, 'changes.yaml');
const always = 'readOnly: [/workspace/ro/**]';
const escalate = (on: string) => `escalate: [{ path: /workspace/prod/**, on: [${on}] }]`;

/** Prints a line for each change of what it may do; `fixed`, read-only before and after every change, must never be written. Ends when `stop` is there. */
const watcher = `
import os, errno
def e(f):
    try:
        f(); return 'ok'
    except OSError as x:
        return errno.errorcode[x.errno]
def touch(p, flags=os.O_WRONLY): os.close(os.open(p, flags))
before = None; rounds = 0; opened = 0
while not os.path.exists('stop'):
    now = (e(lambda: touch('file')), e(lambda: touch('later/in', os.O_RDONLY)))
    if e(lambda: touch('ro/fixed')) == 'ok': opened += 1
    rounds += 1
    if now != before:
        with open('seen', 'a') as f: f.write(' '.join(now) + '\\n')
        before = now
print(rounds, opened)`;

test('a change of rules bites for what runs already, takes back what it added, and leaves no moment without rules', { timeout: 900_000 }, async () => {
  using folder = temporary('changes');
  const at = (...names: string[]): string => join(folder.path, ...names);
  for (const name of ['ro', 'later', 'prod']) mkdirSync(at(name));
  for (const name of ['ro/fixed', 'file', 'later/in', 'prod/a', 'prod/b']) writeFileSync(at(name), 'x');
  for (const name of ['', 'ro', 'later', 'prod', 'ro/fixed', 'file', 'later/in', 'prod/a', 'prod/b']) chownSync(at(name), 1000, 1000);
  const asked: string[] = [];
  await using sandbox = await createSandbox(policy(always), {
    workspace: folder.path,
    approver: async (request) => (asked.push(request.request.resource.kind === 'file' ? `${request.request.resource.op} ${request.request.resource.path}` : '?'), { verdict: 'deny', approvalId: request.holdId, by: 'test', reason: '' }),
  });
  assert.equal(sandbox.tier, 'A');
  const running = await sandbox.exec(['/usr/bin/python3', '-c', watcher]);
  const seen = (): string[] => (existsSync(at('seen')) ? readFileSync(at('seen'), 'utf8').trim().split('\n') : []);
  const until = async (line: string, more: number): Promise<void> => {
    for (let tries = 0; tries < 3000 && !(seen().length >= more && seen().at(-1) === line); tries += 1) await sleep(50);
    assert.equal(seen().at(-1), line, seen().join(', '));
  };
  await until('ok ok', 1);
  const strict = policy(`readOnly: [/workspace/ro/**, /workspace/file], deny: [/workspace/later/**]`);
  await sandbox.update(strict);
  await until('EPERM EPERM', 2);
  // Between two strict sets nothing may be written, however often they are exchanged.
  for (let n = 0; n < 20; n += 1) await sandbox.update(n % 2 === 0 ? policy(`readOnly: [/workspace/ro/**, /workspace/file], deny: [/workspace/later/**], ${escalate('delete')}`) : strict);
  // The change may come between the first and the second try of a round, but only the first change is seen at all.
  assert.match(seen().join(), /^ok ok,(ok EPERM,)?EPERM EPERM$/);
  await sandbox.update(policy(always));
  await until('ok ok', 3);
  writeFileSync(at('stop'), '');
  const { stdout, stderr } = await running.output();
  const [rounds, opened] = stdout.trim().split(' ').map(Number);
  assert.ok((rounds ?? 0) > 10 && opened === 0, stdout + stderr);
  await assert.rejects(sandbox.update(policy('readOnly: [/workspace/ro/deep/**]')), { code: 'NEMO_E_APPLY', message: /more than at the start/ });
  // What is asked about changes too, and what is refused leaves the rules before it in force.
  const remove = async (name: string): Promise<number | null> => (await (await sandbox.exec(['/bin/rm', '-f', `/workspace/prod/${name}`])).output()).code;
  await sandbox.update(policy(`${always}, ${escalate('delete')}`));
  assert.notEqual(await remove('a'), 0);
  assert.deepEqual([...new Set(asked)], ['delete /workspace/prod/a']);
  await sandbox.update(policy(always));
  assert.equal(await remove('b'), 0);
  assert.deepEqual([existsSync(at('prod/a')), existsSync(at('prod/b'))], [true, false]);
});
