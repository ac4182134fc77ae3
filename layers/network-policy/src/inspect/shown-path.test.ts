/** What is found in a path is in no record, answer, question or line on a terminal, plain or encoded, whatever the wire. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { denials } from '../standalone/denials.ts';
import { openDesk, openUpstream, say, testClock, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { ask, openSession } from '../testing/testing-http2.ts';
import { maskTarget } from './shown-path.ts';

const values = [['credit-card', '4111111111111111'], ['secret', 'ghp_16C7e42F292c6912E7710c838347Ae178B4a'], ['us-ssn', '536-22-8145'], ['iban', 'DE89370400440532013000'], ['email', 'jane.roe@example.org']] as const;
const sentence = (value: string): string => `please take this one: ${value}, and go on`;
const base64 = (value: string): string => Buffer.from(sentence(value)).toString('base64url');
/** The middle of what stands for the value, however the run is cut. */
const encodedMiddle = (value: string): string => base64(value).slice(34, 42);
const percent = (value: string): string => [...Buffer.from(value)].map((byte) => `%${byte.toString(16)}`).join('');

async function open(t: TestContext): Promise<{ readonly desk: Desk; readonly upstream: Upstream }> {
  const upstream = await openUpstream((req, res) => {
    req.resume();
    res.end('fine');
  });
  const desk = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port] });
  t.after(async () => {
    await desk.close();
    await upstream.close();
  });
  return { desk, upstream };
}

/** What a run by itself writes: its file, and its standard error as lines and as JSON. */
function written(desk: Desk): string {
  const folder = mkdtempSync(join(tmpdir(), 'shown-path-'));
  try {
    let text = '';
    for (const json of [true, false]) {
      const sink = denials({ write: (line) => { text += line; }, json, file: join(folder, `record-${json}`), clock: testClock, secrets: () => [] });
      for (const event of desk.audit.events) sink.emit(event);
      sink.close();
      text += readFileSync(join(folder, `record-${json}`), 'utf8');
    }
    assert.ok(text.includes('denied: GET'), 'what is searched is there');
    return text;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const everything = (one: unknown): string => JSON.stringify(one, (_key, value: unknown) => (value instanceof Map ? [...value] : value));

for (const wire of ['HTTP/1.1', 'HTTP/2', 'a WebSocket handshake'] as const) {
  test(`${wire}: a value in a path that is refused is neither in the record, the answer nor on the terminal`, async (t) => {
    const { desk, upstream } = await open(t);
    desk.policy.inspection = { scanForPII: true, actions: { email: 'redact' } };
    const session = wire === 'HTTP/2' ? await openSession(desk, 'api.test', upstream.port, false) : undefined;
    t.after(() => session?.destroy());
    const get = async (path: string): Promise<string> => {
      if (session) return everything(await ask(session, { ':path': path }));
      const upgrade = wire === 'HTTP/1.1' ? 'connection: close\r\n' : 'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
      return say(await desk.tcp('api.test', upstream.port), `GET ${path} HTTP/1.1\r\nhost: api.test:${upstream.port}\r\n${upgrade}\r\n`, wholeAnswer);
    };
    for (const [type, value] of values) {
      for (const form of [value, base64(value), percent(value)]) {
        const before = desk.audit.events.length;
        const answer = await get(`/begin/${form}/end`);
        assert.ok(answer.includes(`inspection.actions.${type}`), answer);
        const denied = desk.audit.events.slice(before).find((one) => one.class === 'httpActivity' && one.verdict === 'deny');
        assert.equal(denied?.data?.['path'], `/begin/[redacted:${type}]/end`, type);
        const told = answer + everything(desk.audit.events) + written(desk);
        for (const canary of [value, form, encodedMiddle(value)]) assert.ok(!told.includes(canary), `${type} ${form}`);
      }
    }
  });
}

test('a value that only goes on record is not in the path there either, and reaches the other side', async (t) => {
  const { desk, upstream } = await open(t);
  const get = async (path: string): Promise<string> => say(await desk.tcp('api.test', upstream.port), `GET ${path} HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n`, wholeAnswer);
  assert.match(await get('/of/jane.roe@example.org/x'), /fine/);
  assert.match(await get('/plain/path'), /fine/);
  assert.deepEqual(desk.audit.events.filter(({ class: kind }) => kind === 'httpActivity').map(({ data }) => data?.['path']), ['/of/[redacted:email]/x', '/plain/path']);
});

test('what is no request at all is recorded without the values in its path', async (t) => {
  const { desk, upstream } = await open(t);
  for (const [, value] of values) {
    for (const form of [value, base64(value)]) {
      const answer = await say(await desk.tcp('api.test', upstream.port), `TRACE /x/${form} HTTP/1.1\r\nhost: api.test\r\n\r\n`, wholeAnswer);
      const told = answer + everything(desk.audit.events);
      assert.match(answer, /^HTTP\/1\.1 405/);
      assert.ok(!told.includes(value) && !told.includes(encodedMiddle(value)), told);
    }
  }
});

test('a question shows no value of its path, and says that the request is not to be kept where it is encoded', async (t) => {
  const { desk, upstream } = await open(t);
  desk.policy.inspection = { scanForPII: true, actions: { default: 'escalate' } };
  let asked = 0;
  for (const [type, value] of values) {
    for (const form of [value, base64(value)]) {
      const reply = say(await desk.tcp('api.test', upstream.port), `GET /x/${form}?y=${form} HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n`, wholeAnswer);
      await desk.approver.until(asked += 1);
      const { summary = '', detail = '', tainted } = desk.approver.asked[asked - 1] ?? {};
      assert.equal(tainted, form !== value, type);
      for (const canary of [value, form, encodedMiddle(value)]) assert.ok(!`${summary}\n${detail}`.includes(canary), detail);
      assert.ok(summary.endsWith(`/x/[redacted:${type}]`), summary);
      desk.approver.answer({ verdict: 'deny', approvalId: `apr_${asked}`, by: 'ann', reason: 'no' });
      assert.match(await reply, / 403 /);
    }
  }
});

test('what goes over several parts of a path takes all of it; what is found in none stays as it is', () => {
  const slashes = Buffer.from('>?>?>?>?>?>? card 4111 1111 1111 1111 >?>?>?>?').toString('base64');
  assert.ok(slashes.includes('/'));
  assert.equal(maskTarget(`/a/${slashes}`, []).includes(slashes.slice(20, 40)), false);
  for (const path of ['/', '', '/v1/users/12/items', '/a?b=c', '/%F0%9F%99%82/é', '/static/app.3f2a91c.js']) assert.equal(maskTarget(path, []), path);
  const once = maskTarget('/cards/4111111111111111/of/jane@example.org', []);
  assert.equal(once, '/cards/[redacted:credit-card]/of/[redacted:email]');
  assert.equal(maskTarget(once, []), once);
  assert.equal(maskTarget('/4111111111111111?to=jane@example.org', [], new Set(['email'])), '/[redacted:credit-card]?to=jane@example.org');
});
