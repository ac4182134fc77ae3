/** A client that asks for much and reads nothing, through the real egress: so many of its answers stand still and no more, and it alone waits for that. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import type { Clock } from '@nemoclaw/contract';
import { openDesk, openUpstream, say, testClock, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';

const piece = Buffer.alloc(1 << 18, 'x');
const pieces = 128;
/** Monotonic ms: it stands until it is moved, so that no slow machine makes a moment long. */
let ms = 0;
const clock: Clock = { now: () => testClock.now(), monotonic: () => ms };
let upstream: Upstream;
let desk: Desk;

function pour(res: ServerResponse, left: number): void {
  if (left === 0) res.end();
  else if (res.write(piece)) pour(res, left - 1);
  else res.once('drain', () => pour(res, left - 1));
}

before(async () => {
  upstream = await openUpstream((req, res) => {
    if (req.url === '/large') pour(res, pieces);
    else res.end('fine');
  });
  desk = await openDesk({ rules: [{ host: 'slow.test', verdict: 'allow' }], pins: [{ host: 'slow.test' }], ports: [upstream.port], clock });
});
after(async () => {
  await desk.close();
  await upstream.close();
});

const head = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: slow.test:${upstream.port}\r\n\r\n`;

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i += 1) {
    assert.ok(i < 6000, what);
    await new Promise((next) => setTimeout(next, 10));
  }
}

test('what is not read stands still; what comes next waits until one is read or given up, and the longest gives way at last', { timeout: 120_000 }, async () => {
  const clients: Socket[] = [];
  for (let i = 0; i < 66; i += 1) {
    const client = await desk.tcp('slow.test', upstream.port);
    client.pause();
    client.write(head('/large'));
    clients.push(client);
    await until(`${i + 1} answers stand still`, () => desk.egress.stats().still === i + 1);
  }
  // A moment is nothing: others go on beside them.
  assert.match(await say(await desk.tcp('slow.test', upstream.port), head('/'), wholeAnswer), /^HTTP\/1\.1 200 [^]*fine/);
  ms = 5000;
  const waiting = say(await desk.tcp('slow.test', upstream.port), head('/'), wholeAnswer);
  let answered = false;
  void waiting.then(() => { answered = true; });
  await until('the next request has come', () => desk.egress.stats().requests === 68);
  assert.equal(answered, false);
  // Who leaves while it waits leaves nothing behind.
  const leaving = await desk.tcp('slow.test', upstream.port);
  leaving.write(head('/'));
  await until('one more waits', () => desk.egress.stats().unsent === 2);
  leaving.resetAndDestroy();
  await until('it is forgotten', () => desk.egress.stats().unsent === 1);
  for (const client of clients.splice(60)) client.destroy();
  assert.match(await waiting, /^HTTP\/1\.1 200 [^]*fine/);

  for (let i = 60; i < 64; i += 1) {
    const client = await desk.tcp('slow.test', upstream.port);
    client.pause();
    client.write(head('/large'));
    clients.push(client);
  }
  await until('64 stand still', () => desk.egress.stats().still === 64);
  ms = 60_000;
  assert.match(await say(await desk.tcp('slow.test', upstream.port), head('/'), wholeAnswer), /^HTTP\/1\.1 200 [^]*fine/);
  assert.equal(desk.egress.stats().gaveWay, 1);
  const told = desk.audit.events.filter((event) => event.decision?.rules[0]?.id === 'proxy.unread');
  assert.deepEqual(told.map(({ verdict }) => verdict), ['deny']);
  const [first] = clients;
  assert.ok(first);
  let got = 0;
  first.on('data', (chunk: Buffer) => { got += chunk.length; });
  first.resume();
  await once(first, 'close');
  assert.ok(got < piece.length * pieces);

  // One that is read after all comes to its end.
  const last = clients.at(-1);
  assert.ok(last);
  let whole = 0;
  last.on('data', (chunk: Buffer) => { whole += chunk.length; });
  last.resume();
  await until('all of it', () => whole > piece.length * pieces);
  for (const client of clients) client.destroy();
  await until('nothing stands still', () => desk.egress.stats().still === 0);
});
