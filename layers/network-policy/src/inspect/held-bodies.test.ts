/** Bodies that are held: as large as the policy says, no slower than a bound, and what is too large to be inspected by the word of its rule. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Dialogue } from '../protocols/testing-servers.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';

const card = '4111 1111 1111 1111';
/** As only somebody sees it who reads JSON. */
const escaped = `\\u0034${card.slice(1)}`;
let desk: Desk;
let upstream: Upstream;
let bytes: number[] = [];

before(async () => {
  upstream = await openUpstream((req, res) => {
    let size = 0;
    req.on('data', (chunk: Buffer) => { size += chunk.length; });
    req.on('end', () => {
      bytes.push(size);
      res.end('fine');
    });
    req.on('error', () => undefined);
  });
  desk = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port] });
});
after(async () => {
  await desk.close();
  await upstream.close();
});
beforeEach(() => {
  bytes = [];
  desk.policy.inspection = undefined;
});

async function post(body: Buffer, headers: string): Promise<string> {
  const socket = await desk.tcp('api.test', upstream.port);
  return say(socket, Buffer.concat([Buffer.from(`POST /x HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n${headers}content-length: ${body.length}\r\n\r\n`), body]), wholeAnswer);
}
const json = 'content-type: application/json\r\n';
const large = Buffer.from(`{"filler":"${'x '.repeat(600_000)}","note":"${escaped}"}`);

test('a policy may want more than 1 MiB held and read as a whole', async () => {
  assert.match(await post(large, json), /^HTTP\/1\.1 200/, 'read as it passes, an escape hides it');
  desk.policy.inspection = { scanForPII: true, maxBody: 4 << 20 };
  assert.match(await post(large, json), /^HTTP\/1\.1 403[\s\S]*inspection\.actions\.credit-card/);
  assert.equal(bytes.length, 1);
});

test('what is encoded and too large is refused, asked about or let through as its rule says, and is on record as not inspected', async () => {
  const body = gzipSync(randomBytes(1_200_000));
  const uninspected = (): number => desk.audit.events.filter(({ message }) => message.includes('not inspected')).length;
  const say_ = (onOversize: 'uninspected' | 'escalate'): void => void Object.assign(desk.policy, { terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize, monitor: false }) });
  assert.match(await post(body, `${json}content-encoding: gzip\r\n`), /inspection\.maxBody/);
  assert.equal(uninspected(), 0);
  say_('uninspected');
  assert.match(await post(body, `${json}content-encoding: gzip\r\n`), /^HTTP\/1\.1 200/);
  assert.deepEqual(bytes, [body.length]);
  assert.equal(uninspected(), 1);
  say_('escalate');
  const answer = post(body, `${json}content-encoding: gzip\r\n`);
  await desk.approver.until(1);
  assert.match(desk.approver.asked[0]?.detail ?? '', /it is not inspected, and not shown/);
  assert.match(desk.approver.asked[0]?.decision.reason ?? '', /not inspected/);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
  assert.match(await answer, /^HTTP\/1\.1 200/);
  assert.equal(uninspected(), 2);
  Object.assign(desk.policy, { terms: () => undefined });
});

test('a held body that comes too slowly ends with 408, on record, and holds no memory after it', async (t) => {
  const hurried = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port], limits: { bodyMs: 2000 } });
  t.after(() => hurried.close());
  // Together these claim more than all held bodies may have.
  const slow = await Promise.all(Array.from({ length: 30 }, () => hurried.tcp('api.test', upstream.port)));
  const answers = await Promise.all(slow.map((socket, i) => new Dialogue(socket).say(`POST /x HTTP/1.1\r\nhost: api.test\r\n${json}${i % 2 === 0 ? 'content-length: 1000000\r\n\r\n{' : 'transfer-encoding: chunked\r\n\r\n1\r\n{\r\n'}`, wholeAnswer)));
  for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 408[\s\S]*"rule":"proxy\.body-late"/);
  assert.equal(bytes.length, 0);
  assert.equal(hurried.audit.events.filter(({ decision }) => decision?.rules[0]?.id === 'proxy.body-late').length, 30);
  for (let i = 0; hurried.egress.stats().buffered > 0; i += 1) {
    assert.ok(i < 6000, 'it is still held');
    await new Promise((next) => setTimeout(next, 5));
  }
});
