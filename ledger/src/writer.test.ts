import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { bench, event, kinds, records, type Bench } from './test-kit.ts';
import { verifyLedger } from './verify.ts';

let b: Bench;
beforeEach(() => {
  b = bench();
});
afterEach(() => b.remove());

const verify = (): ReturnType<typeof verifyLedger> => verifyLedger({ dir: b.dir, checkpoints: b.checkpoints });

/** Sends `n` events and waits until all are durable. */
async function send(ledger: Awaited<ReturnType<Bench['open']>>, source: string, from: number, n: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const handle = ledger.connect(source, (seq) => {
      if (seq >= from + n - 1) {
        handle.close();
        resolve();
      }
    });
    for (let i = 0; i < n; i += 1) handle.receive(from + i, event(`event ${from + i}`), false);
  });
}

test('a record is whole from first to last and carries OCSF fields', async () => {
  const ledger = await b.open();
  await send(ledger, 'worker:1', 1, 20);
  await ledger.record(event('approved by a person', { class: 'userAccess', activity: 1, verdict: 'approved', correlation: 'apr_1' }));
  while (!b.signed.some(({ why }) => why === 'commit')) await sleep(5);
  await ledger.close();
  const report = verify();
  assert.deepEqual(report.findings, []);
  assert.equal(report.records, 23);
  assert.equal(report.unsigned, 0);
  const all = records(b.read());
  const approved = all.find((r) => r['message'] === 'approved by a person') as Record<string, never>;
  assert.equal(approved['type_uid'], 300501);
  assert.equal(approved['disposition_id'], 8);
  assert.deepEqual(
    all.map((r) => (r['metadata'] as { sequence: number }).sequence),
    Array.from({ length: 23 }, (_, i) => i + 1),
  );
  assert.equal(b.signed.at(-1)?.why, 'stop');
});

test('the chain goes on over segments and over restarts, and sources keep their numbers', async () => {
  for (let life = 0; life < 3; life += 1) {
    const ledger = await b.open({ segmentSize: 4000 });
    await send(ledger, 'worker:1', life * 10 + 1, 10);
    await ledger.close();
  }
  assert.ok(b.files().length > 3, 'several segments');
  assert.deepEqual(verify().findings, []);
  assert.ok(!kinds(b.read()).includes('source.gap') && !kinds(b.read()).includes('source.restarted'));
});

test('what is sent again after a reconnect is taken once', async () => {
  let ledger = await b.open();
  await send(ledger, 'worker:1', 1, 5);
  await ledger.close();
  ledger = await b.open();
  const acked: number[] = [];
  const handle = ledger.connect('worker:1', (seq) => acked.push(seq));
  for (let seq = 3; seq <= 7; seq += 1) handle.receive(seq, event(`event ${seq}`), false);
  await ledger.record(event('flush'));
  await ledger.close();
  assert.equal(acked.at(-1), 7);
  const messages = records(b.read())
    .map((r) => r['message'])
    .filter((m) => String(m).startsWith('event '));
  assert.deepEqual(
    messages,
    [1, 2, 3, 4, 5, 6, 7].map((n) => `event ${n}`),
  );
});

test('gaps and restarts of a source are admitted before the event that shows them', async () => {
  const ledger = await b.open();
  const handle = ledger.connect('worker:1', () => undefined);
  handle.run('run-a');
  handle.receive(1, event('one'), false);
  handle.receive(5, event('five'), false);
  handle.run('run-b');
  handle.receive(1, event('one again'), false);
  const old = ledger.connect('openshelld', () => undefined);
  old.receive(1, event('o1'), false);
  old.receive(2, event('o2'), false);
  old.receive(1, event('o1 again'), false);
  await ledger.close();
  const told = records(b.read()).map((r) => {
    const data = (r['unmapped'] as { data?: Record<string, unknown> }).data;
    return typeof data?.['kind'] === 'string' ? data['kind'] : r['message'];
  });
  assert.deepEqual(told.slice(1, -1), ['one', 'source.gap', 'five', 'source.restarted', 'one again', 'o1', 'o2', 'source.restarted', 'o1 again']);
  const gap = records(b.read()).find((r) => JSON.stringify(r).includes('source.gap')) as { unmapped: { data: unknown } };
  assert.deepEqual(gap.unmapped.data, { kind: 'source.gap', source: 'worker:1', from: 2, to: 4 });
});

test('a crash at any byte of the tail loses nothing before it, is admitted, and leaves a whole record', async () => {
  const ledger = await b.open();
  await send(ledger, 'worker:1', 1, 6);
  await ledger.close();
  const [file] = b.files() as [string];
  const whole = readFileSync(file);
  const firstLine = whole.indexOf(10) + 1;
  b.signed.length = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length }), fc.constantFrom('cut', 'zeros', 'noise'), async (at, how) => {
      const tail = how === 'cut' ? Buffer.alloc(0) : how === 'zeros' ? Buffer.alloc(700) : Buffer.from(`${'\u0001'.repeat(30)}\n{"x":1}\n{"half`);
      writeFileSync(file, Buffer.concat([whole.subarray(0, at), tail]));
      const before = whole.subarray(0, at).lastIndexOf(10) + 1;
      b.signed.length = 0;
      writeFileSync(`${b.checkpoints}/checkpoints.jsonl`, '');
      const again = await b.open();
      await again.close();
      assert.deepEqual(verify().findings, []);
      const now = readFileSync(file);
      assert.ok(now.subarray(0, before).equals(whole.subarray(0, before)), 'what was whole is untouched');
      const torn = at > before || tail.length > 0;
      assert.equal(kinds(now.toString()).includes('ledger.torn'), torn);
    }),
    {
      numRuns: 150,
      examples: [
        [0, 'cut'],
        [1, 'cut'],
        [firstLine - 1, 'cut'],
        [firstLine, 'zeros'],
        [whole.length, 'noise'],
      ],
    },
  );
});

test('a tail cut back behind a signed checkpoint is refused by the signer and admitted', async () => {
  const ledger = await b.open();
  await send(ledger, 'worker:1', 1, 8);
  await ledger.close();
  const [file] = b.files() as [string];
  const text = readFileSync(file, 'utf8');
  truncateSync(file, text.split('\n').slice(0, 4).join('\n').length + 1);
  const again = await b.open();
  await again.checkpoint('interval');
  await again.close();
  assert.ok(kinds(b.read()).includes('checkpoint.refused'));
  assert.ok(!verify().ok);
});

test('a write that fails ends the writer: waiting commits are rejected, nothing more is acknowledged', async () => {
  const ledger = await b.open({ segmentSize: 1 });
  // The next segment cannot be created: its name is taken by a folder.
  const next = `${b.dir}/events-${String(ledger.status().count + 1).padStart(16, '0')}.jsonl`;
  appendFileSync(next, 'not ours');
  let acked = 0;
  const handle = ledger.connect('worker:1', () => (acked += 1));
  const commits = Promise.allSettled([1, 2, 3].map((n) => ledger.record(event(`commit ${n}`))));
  handle.receive(1, event('late'), true);
  const outcomes = await commits;
  assert.ok(outcomes.some(({ status }) => status === 'rejected'));
  assert.equal(b.failures.length, 1);
  assert.equal(acked, 0);
  await assert.rejects(ledger.record(event('after')));
  await ledger.close();
});

test('events that are not what the contract says are recorded as such', async () => {
  const ledger = await b.open();
  const handle = ledger.connect('worker:1', () => undefined);
  for (const [i, bad] of [null, 7, 'x', [], { class: 'nope', message: 3 }, { ...event('y'), verdict: 'maybe', time: Infinity }].entries()) handle.receive(i + 1, bad, false);
  await ledger.close();
  assert.deepEqual(verify().findings, []);
  const malformed = records(b.read()).filter((r) => Array.isArray((r['unmapped'] as { data?: { malformed?: unknown } }).data?.malformed));
  assert.equal(malformed.length, 6);
});

test('a second writer is refused while the first lives; one that died is no hindrance', async () => {
  const ledger = await b.open();
  await assert.rejects(b.open(), /another process/);
  await ledger.close();
  const next = await b.open();
  await next.close();
  assert.deepEqual(verify().findings, []);
});
