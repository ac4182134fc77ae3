import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame, FrameDecoder } from '@nemoclaw/contract';
import { LinkSink } from './link-sink.ts';
import { serveLink } from './link-source.ts';
import { LedgerReader } from './reader.ts';
import { bench, event, kinds, records, type Bench } from './test-kit.ts';
import type { LedgerWriter } from './writer.ts';

let b: Bench;
const ends: (() => unknown)[] = [];
beforeEach(() => {
  b = bench();
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  b.remove();
});

/** A pair of connected sockets. */
async function pair(): Promise<[Socket, Socket]> {
  const path = join(b.root, `${randomUUID().slice(0, 8)}.sock`);
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const near = connect(path);
  const far = await accepted;
  server.close();
  ends.push(
    () => near.destroy(),
    () => far.destroy(),
  );
  return [near, far];
}

async function ledger(): Promise<LedgerWriter> {
  const writer = await b.open();
  ends.push(() => writer.close());
  return writer;
}

function serve(writer: LedgerWriter, link: Socket, mayRead = false): void {
  serveLink(link, { writer, reader: new LedgerReader(writer), name: 'worker:1', mayRead, now: b.clock.now });
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(2);
}

const messages = (): unknown[] =>
  records(b.read())
    .map((r) => r['message'])
    .filter((m) => /^e\d/.test(String(m)));

test('emit and commit reach the record in order; commit resolves when durable', async () => {
  const writer = await ledger();
  const [near, far] = await pair();
  serve(writer, far);
  const sink = new LinkSink({ clock: b.clock, ids: b.ids });
  sink.attach(near);
  for (let i = 0; i < 100; i += 1) sink.emit(event(`e${i}`));
  await sink.commit(event('e100', { verdict: 'approved' }));
  assert.deepEqual(
    messages(),
    Array.from({ length: 101 }, (_, i) => `e${i}`),
  );
  assert.equal(sink.stats().buffered, 0);
});

test('words of every script go over a link whole, many events in one write', async () => {
  const writer = await ledger();
  const [near, far] = await pair();
  serve(writer, far);
  const sink = new LinkSink({ clock: b.clock, ids: b.ids });
  sink.attach(near);
  const words = Array.from({ length: 50 }, (_, i) => `e${i} ${'aä€語😀\n"'.repeat(i)}`);
  for (const one of words) sink.emit(event(one));
  await sink.flush();
  assert.deepEqual(messages(), words);
});

test('a flush waits for what was given and for nothing else, however long the writer would gather', async () => {
  const writer = await b.open({ batchMs: 3_600_000 });
  ends.push(() => writer.close());
  const [near, far] = await pair();
  serve(writer, far);
  const sink = new LinkSink({ clock: b.clock, ids: b.ids });
  await sink.flush();
  sink.attach(near);
  await sink.flush();
  for (let i = 0; i < 10; i += 1) sink.emit(event(`e${i}`));
  await sink.flush();
  assert.equal(messages().length, 10);
  assert.equal(sink.stats().buffered, 0);
  sink.emit(event('e10'));
  const cut = sink.flush();
  near.destroy();
  await cut;
  assert.equal(sink.stats().connected, false);
});

test('settled waits until a source has come to a number, and writes at once then', async () => {
  const writer = await b.open({ batchMs: 3_600_000 });
  ends.push(() => writer.close());
  const source = writer.connect('openshelld', () => undefined);
  source.receive(1, event('e0'), false);
  await writer.settled('openshelld', 1);
  assert.deepEqual(messages(), ['e0']);
  let done = false;
  const waiting = writer.settled('openshelld', 3).then(() => (done = true));
  source.receive(2, event('e1'), false);
  await turn();
  await turn();
  assert.equal(done, false);
  source.receive(3, event('e2'), false);
  await waiting;
  assert.deepEqual(messages(), ['e0', 'e1', 'e2']);
});

test('a new link sends what was not acknowledged; the record has each event once', async () => {
  const writer = await ledger();
  const [near, far] = await pair();
  // The first link takes bytes and answers nothing.
  far.resume();
  const sink = new LinkSink({ clock: b.clock, ids: b.ids });
  sink.attach(near);
  for (let i = 0; i < 5; i += 1) sink.emit(event(`e${i}`));
  await turn();
  far.destroy();
  await until(() => !sink.stats().connected);
  sink.emit(event('e5'));
  for (let again = 0; again < 2; again += 1) {
    const [near2, far2] = await pair();
    serve(writer, far2);
    sink.attach(near2);
    await sink.commit(event(`e${6 + again}`));
  }
  assert.deepEqual(messages(), ['e0', 'e1', 'e2', 'e3', 'e4', 'e5', 'e6', 'e7']);
  assert.ok(!kinds(b.read()).some((kind) => kind.startsWith('source.')));
});

test('commit is refused at once without a writer, and when the writer goes away; the event says so later', async () => {
  const sink = new LinkSink({ clock: b.clock, ids: b.ids });
  await assert.rejects(sink.commit(event('e0')), /not reachable/);
  const [near, far] = await pair();
  far.resume();
  sink.attach(near);
  const commit = assert.rejects(sink.commit(event('e1', { correlation: 'apr_1' })), /went away/);
  await turn();
  far.destroy();
  await commit;
  assert.equal(sink.takes.commit, false);
  assert.equal(sink.takes.append, true);
  const writer = await ledger();
  const [near2, far2] = await pair();
  serve(writer, far2);
  sink.attach(near2);
  await sink.commit(event('e2'));
  const late = records(b.read()).find((r) => JSON.stringify(r).includes('commit.refused')) as { unmapped: { data: Record<string, unknown> }; metadata: { correlation_uid: string } };
  assert.equal(late.unmapped.data['seq'], 1);
  assert.equal(late.metadata.correlation_uid, 'apr_1');
  assert.deepEqual(messages(), ['e1', 'e2']);
});

test('a writer that does not answer refuses the commit in time', async () => {
  const [near, far] = await pair();
  far.resume();
  const sink = new LinkSink({ clock: b.clock, ids: b.ids, commitMs: 20 });
  sink.attach(near);
  await assert.rejects(sink.commit(event('e0')), /did not answer/);
  assert.equal(sink.stats().lastSeq, 2);
});

test('a full buffer refuses, counts, tells, and admits the loss when it has room again', async () => {
  const told: { refusing: boolean; refused: number }[] = [];
  const sink = new LinkSink({ clock: b.clock, ids: b.ids, maxBuffered: 2000, onAuditFailure: (state) => told.push(state) });
  for (let i = 0; i < 50; i += 1) sink.emit(event(`e${i}`));
  const { refused } = sink.stats();
  assert.ok(refused > 0 && sink.stats().buffered <= 2000);
  assert.deepEqual(
    told.map((t) => t.refusing),
    [true],
  );
  const writer = await ledger();
  const [near, far] = await pair();
  serve(writer, far);
  sink.attach(near);
  await until(() => sink.stats().buffered === 0);
  await sink.commit(event('e99'));
  assert.deepEqual(
    told.map((t) => t.refusing),
    [true, false],
  );
  const loss = records(b.read()).find((r) => JSON.stringify(r).includes('source.refused')) as { unmapped: { data: { lost: number } } };
  assert.equal(loss.unmapped.data.lost, refused);
  assert.equal(messages().length, 51 - refused);
});

test('events that cannot be serialised or are far too large keep their words', async () => {
  const writer = await ledger();
  const [near, far] = await pair();
  serve(writer, far);
  const sink = new LinkSink({ clock: b.clock, ids: b.ids });
  sink.attach(near);
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  sink.emit(event('e0', { data: circle }));
  sink.emit(event('e1', { data: { big: 'x '.repeat(400_000) } }));
  await sink.commit(event('e2'));
  assert.deepEqual(messages(), ['e0', 'e1', 'e2']);
});

test('known secrets do not leave the process', async () => {
  const [near, far] = await pair();
  const sink = new LinkSink({ clock: b.clock, ids: b.ids, known: () => ['hunter2-"quoted"-value'] });
  const chunks: Buffer[] = [];
  far.on('data', (chunk: Buffer) => chunks.push(chunk));
  sink.attach(near);
  sink.emit(event('with hunter2-"quoted"-value inside', { data: { header: 'hunter2-"quoted"-value' } }));
  await until(() => Buffer.concat(chunks).includes('inside'));
  assert.ok(!Buffer.concat(chunks).toString().includes('hunter2'));
});

test('a peer that may not read, or sends what cannot be read, loses its link and is on record', async () => {
  const writer = await ledger();
  for (const bad of [encodeFrame({ t: 'query', id: 1, q: { kind: 'status' } }), encodeFrame({ t: 'event', seq: -1, event: {} }), Buffer.from('ffffffff00', 'hex'), encodeFrame(null)]) {
    const [near, far] = await pair();
    serve(writer, far);
    const closed = new Promise((resolve) => near.once('close', resolve));
    near.resume();
    near.write(bad);
    await closed;
  }
  await writer.record(event('flush'));
  assert.equal(kinds(b.read()).filter((kind) => kind === 'link.bad').length, 4);
});

test('a worker speaks for the data plane only', async () => {
  const writer = await ledger();
  for (const [layer, verdict, taken] of [['approval', 'approved', false], ['landlock', 'deny', false], ['ledger', 'allow', false], ['router', 'deny', true]] as const) {
    const [near, far] = await pair();
    serve(writer, far);
    const sink = new LinkSink({ clock: b.clock, ids: b.ids });
    sink.attach(near);
    const done = sink.commit(event(`e0 ${layer}`, { layer, verdict }));
    if (taken) await done;
    else await assert.rejects(done, /went away/);
  }
  assert.deepEqual(messages(), ['e0 router']);
});

test('the gateway asks for status and tail, and follows live from any place without gaps', async () => {
  const writer = await ledger();
  const [near, far] = await pair();
  serve(writer, far, true);
  const decoder = new FrameDecoder();
  const got: Record<string, unknown>[] = [];
  near.on('data', (chunk: Buffer) => got.push(...(decoder.push(chunk) as Record<string, unknown>[])));
  for (let i = 0; i < 5; i += 1) await writer.record(event(`e${i}`, { sandbox: i % 2 === 0 ? 'a' : 'b' }));
  near.write(encodeFrame({ t: 'query', id: 1, q: { kind: 'status' } }));
  near.write(encodeFrame({ t: 'query', id: 2, q: { kind: 'tail', sandbox: 'a', after: 0, limit: 2 } }));
  near.write(encodeFrame({ t: 'query', id: 3, q: { kind: 'tail', after: -1, limit: 2 } }));
  near.write(encodeFrame({ t: 'query', id: 4, q: { kind: 'nonsense' } }));
  near.write(encodeFrame({ t: 'follow', id: 5, sandbox: 'b', after: 2 }));
  await until(() => got.length >= 5);
  for (let i = 5; i < 9; i += 1) await writer.record(event(`e${i}`, { sandbox: i % 2 === 0 ? 'a' : 'b' }));
  const followed = (): unknown[] => got.filter((m) => m['t'] === 'records').flatMap((m) => (m['records'] as Record<string, unknown>[]).map((r) => r['message']));
  await until(() => followed().length >= 4);
  near.write(encodeFrame({ t: 'unfollow', id: 5 }));
  const reply = (id: number): unknown => got.find((m) => m['t'] === 'reply' && m['id'] === id)?.['result'];
  const names = (id: number): unknown[] => (reply(id) as Record<string, unknown>[]).map((r) => r['message']);
  assert.equal((reply(1) as { count: number }).count, 6);
  assert.deepEqual(names(2), ['e0', 'e2']);
  assert.deepEqual(names(3), ['e3', 'e4']);
  assert.equal(got.find((m) => m['id'] === 4)?.['ok'], false);
  assert.deepEqual(followed(), ['e1', 'e3', 'e5', 'e7']);
});
