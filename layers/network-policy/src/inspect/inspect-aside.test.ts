/** Long bodies are inspected in a thread of their own: the same verdict, and this one answers meanwhile. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { compileKnown } from '@nemoclaw/detect';
import { examine } from './examine.ts';
import { inspectAside, undoAside } from './inspect-aside.ts';

const settings = { scanForPII: true, actions: { 'credit-card': 'redact', email: 'redact', phone: 'redact', ip: 'log' } } as const;
const rows = (n: number): Buffer => Buffer.from(JSON.stringify(Array.from({ length: n }, (_, i) => ({ id: i, mail: `user${i}@example.com`, card: '4111 1111 1111 1111' }))));
const what = (bytes: Buffer, known: readonly string[] = []) => ({ bytes, contentType: 'application/json', known: compileKnown(known), settings });

test('aside and at once give the same, and the loop turns meanwhile', { timeout: 120_000 }, async () => {
  const body = rows(10_000);
  let turns = 0;
  const turning = setInterval(() => { turns += 1; }, 1);
  const aside = await inspectAside('a', what(body));
  clearInterval(turning);
  const here = examine(what(body));
  assert.deepEqual(aside.found, here.found);
  assert.ok(aside.rewritten && here.rewritten && Buffer.compare(aside.rewritten, here.rewritten) === 0);
  assert.equal(aside.found.reduce((sum, { times = 1 }) => sum + times, 0), 20_000);
  assert.ok(turns > 5, `${turns}`);
});

test('the thread that inspects goes behind the one that all wait for', { timeout: 120_000 }, async () => {
  const mine = getPriority(0);
  await inspectAside('a', what(rows(1000)));
  assert.equal(getPriority(0), mine);
  // Field 19 of proc_pid_stat(5); the second one is a name in brackets.
  const others = readdirSync('/proc/self/task').map((thread) => Number(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').split(') ')[1]?.split(' ')[16]));
  assert.ok(others.includes(Math.min(19, mine + 10)), others.join());
});

test('a short body waits for nobody, and one sandbox waits for one body of another, not for all', { timeout: 120_000 }, async () => {
  const ended: string[] = [];
  const many = Array.from({ length: 6 }, (_, i) => Promise.resolve(inspectAside('many', what(rows(4000)))).then(() => ended.push(`many ${i}`)));
  const one = Promise.resolve(inspectAside('one', what(rows(400), ['a-secret-of-the-sandbox']))).then(() => ended.push('one'));
  assert.ok(!(inspectAside('short', what(rows(1))) instanceof Promise));
  await Promise.all([...many, one]);
  assert.ok(ended.indexOf('one') <= 2, ended.join());
});

test('what waits has its limit: beyond it nothing leaves', { timeout: 120_000 }, async () => {
  const bodies = Array.from({ length: 40 }, () => Promise.resolve(inspectAside('greedy', what(Buffer.alloc(1 << 20, 'x ')))));
  const results = await Promise.allSettled(bodies);
  const refused = results.filter(({ status }) => status === 'rejected').length;
  assert.ok(refused >= 6 && refused < 20, `${refused}`);
});

test('encodings are undone aside with the same result, and the loop turns meanwhile; a bomb is one there too', { timeout: 120_000 }, async () => {
  const text = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `${i * 7919} words, `).join(''));
  const limit = 8 << 20;
  for (const [encoding, body] of [['gzip', gzipSync(text)], ['br', brotliCompressSync(text)], ['zstd', zstdCompressSync(text)], ['gzip, br', brotliCompressSync(gzipSync(text))]] as const) {
    const undone = undoAside('a', { body, encoding, limit });
    assert.ok(undone instanceof Promise, encoding);
    const said = await undone;
    assert.ok(said.state === 'done' && said.body.equals(text), encoding);
  }
  const short = undoAside('a', { body: gzipSync('short'), encoding: 'gzip', limit });
  assert.ok(!(short instanceof Promise) && short.state === 'done' && short.body.toString() === 'short');
  const bomb = gzipSync(Buffer.alloc(64 << 20));
  let turns = 0;
  const turning = setInterval(() => { turns += 1; }, 1);
  const begun = performance.now();
  const all = await Promise.all(Array.from({ length: 20 }, () => undoAside('a', { body: bomb, encoding: 'gzip', limit })));
  clearInterval(turning);
  assert.deepEqual(all.map(({ state }) => state), all.map(() => 'bomb'));
  assert.ok(turns > 5, `${turns}`);
  // After each the sandbox rests, which leaves the processor to the others.
  assert.ok(performance.now() - begun > 19 * 45);
  assert.equal((await undoAside('a', { body: Buffer.alloc(5000, 'no'), encoding: 'gzip', limit })).state, 'damaged');
});

test('after a body that took long its sandbox rests: whoever asks later comes first', { timeout: 120_000 }, async () => {
  await inspectAside('long', what(Buffer.alloc(16 << 20, '1234 ')));
  const order: string[] = [];
  const short = what(Buffer.alloc(20_000, 'x '));
  await Promise.all(['long', 'other'].map(async (sandbox) => {
    await inspectAside(sandbox, short);
    order.push(sandbox);
  }));
  assert.deepEqual(order, ['other', 'long']);
});

test('a body that breaks the thread is not inspected, and the next one gets a fresh thread', { timeout: 120_000 }, async () => {
  const broken = { ...what(rows(1000)), contentType: undefined as unknown as string };
  const [ended, next] = await Promise.allSettled([inspectAside('a', broken), inspectAside('a', what(rows(1000)))]);
  assert.equal(ended.status, 'rejected');
  assert.ok(next.status === 'fulfilled' && next.value.found.length > 0);
});
