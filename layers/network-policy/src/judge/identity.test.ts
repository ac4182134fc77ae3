/** An approval of a request is for that request: with its head and with its body, and with no other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ActionRequest } from '@nemoclaw/contract';
import type { CheckedRequest } from '../http/request-check.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import { identified } from './identity.ts';
import { resourceOf } from './judge-request.ts';

/** What becomes of `second` where a person approved `first` after its client had been told to wait. */
async function afterApproval(cases: readonly (readonly [first: string, second: string, body?: string, other?: string])[], verdict: 'allow' | 'escalate' = 'escalate'): Promise<('asked' | 'passed')[]> {
  const host = 'ask.test';
  const up = await openUpstream((req, res) => { req.resume(); req.on('end', () => res.end('ok')); });
  const desk = await openDesk({ rules: [{ host, verdict }], pins: [{ host }], ports: [up.port] });
  const chunked = (body: string): string => `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const request = (headers: string, body: string): string => `POST /run HTTP/1.1\r\nHost: ${host}\r\n${headers}Connection: close\r\n${headers.includes('octet-stream') ? chunked(body) : `Content-Length: ${body.length}\r\n\r\n${body}`}`;
  desk.policy.inspection = verdict === 'allow' ? { scanForPII: true, actions: { email: 'escalate' } } : undefined;
  const out: ('asked' | 'passed')[] = [];
  for (const [first, second, body = '{"a":1}', other = body] of cases) {
    const before = desk.approver.asked.length;
    const waiting = say(await desk.tcp(host, up.port), request(first, body), wholeAnswer);
    await desk.approver.until(before + 1);
    const key = desk.approver.asked.at(-1)?.key ?? '';
    desk.approver.answer({ verdict: 'waiting', approvalId: 'apr_1' });
    assert.match(await waiting, /^HTTP\/1\.1 503/);
    desk.approver.grants.add(key);
    const again = say(await desk.tcp(host, up.port), request(second, other), wholeAnswer);
    await Promise.race([again, desk.approver.until(before + 2)]);
    const asked = desk.approver.asked.length > before + 1;
    if (asked) desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'ann', reason: 'no' });
    assert.match(await again, asked ? /^HTTP\/1\.1 403/ : /^HTTP\/1\.1 200/);
    desk.approver.grants.delete(key);
    out.push(asked ? 'asked' : 'passed');
  }
  await desk.close();
  await up.close();
  return out;
}

test('an approval does not hold for another value, or another set, of the headers that say what is done', async () => {
  const json = 'Content-Type: application/json\r\n';
  const aws = (key: string, where: string): string => `Authorization: AWS4-HMAC-SHA256 Credential=${key}/20261119/${where}/aws4_request, SignedHeaders=host, Signature=${'a'.repeat(64)}\r\n`;
  const said = await afterApproval([
    ['X-Amz-Target: T.DescribeTable\r\n', 'X-Amz-Target: T.DeleteTable\r\n'], [json, 'Content-Type: text/plain\r\n'], ['Destination: /b\r\n', 'Destination: /etc\r\n'], ['', 'Cookie: session=admin\r\n'],
    ['Authorization: Bearer one\r\n', 'Authorization: Bearer two\r\n'], ['X-A: 1\r\nX-A: 2\r\n', 'X-A: 2\r\nX-A: 1\r\n'], ['Stripe-Account: a\r\n', ''],
    [aws('KEYNUMBERONE', 'eu/s3'), aws('KEYNUMBERTWO', 'eu/s3')], [aws('KEYNUMBERONE', 'eu/s3'), aws('KEYNUMBERONE', 'us/s3')], [aws('KEYNUMBERONE', 'eu/s3'), aws('KEYNUMBERONE', 'eu/iam')],
    ['X-Note: AWS4-HMAC-SHA256 Credential=A/pay 1\r\n', 'X-Note: AWS4-HMAC-SHA256 Credential=A/pay 1000\r\n'], ['Cookie: AWS4-HMAC-SHA256 Credential=a/; user=1\r\n', 'Cookie: AWS4-HMAC-SHA256 Credential=a/; user=2\r\n'],
  ]);
  assert.deepEqual(said, said.map(() => 'asked'));
});

test('an approval holds for the request sent again: with another date, trace, order of headers, client version', async () => {
  const signed = (day: string, digit: string): string => `Authorization: AWS4-HMAC-SHA256 Credential=KEYNUMBERONE/202611${day}/eu/s3/aws4_request, SignedHeaders=host, Signature=${digit.repeat(64)}\r\nX-Amz-Date: ${day}\r\n`;
  const said = await afterApproval([
    ['X-Amz-Target: T.Get\r\nDate: a\r\nUser-Agent: a/1\r\n', 'User-Agent: a/2\r\nDate: b\r\nx-amz-target: T.Get\r\nTraceparent: 00-1\r\nX-Request-Id: 7\r\n'], ['', 'Accept: */*\r\nAccept-Encoding: gzip\r\n'],
    [signed('19', 'a'), signed('20', 'b')],
  ]);
  assert.deepEqual(said, said.map(() => 'passed'));
});

test('an approval of a body that nobody read holds for no other', async () => {
  const streamed = 'Content-Type: application/octet-stream\r\nX-Mail: ann@company.test\r\n';
  assert.deepEqual(await afterApproval([[streamed, streamed, 'pay 10 to bob', 'pay 99 to eve'], [streamed, streamed, 'pay 10 to bob']], 'allow'), ['asked', 'asked']);
});

test('an approval of an upload to AWS is for its data, in whatever chunks', async () => {
  const framed = 'X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nX-Amz-Decoded-Content-Length: 5\r\n';
  const [one, two, other] = ['5\r\nhello\r\n0\r\n\r\n', '2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n', '5\r\nhallo\r\n0\r\n\r\n'];
  assert.deepEqual(await afterApproval([[framed, framed, one, two], [framed, framed, one, other]]), ['passed', 'asked']);
});

test('a header that only CGI and its heirs take for another is one of its values', () => {
  const checked = { method: 'GET', query: [], headers: ['X-Tenant', 'acme', 'X_Tenant', 'evil', 'x_admin', '1'] } as unknown as CheckedRequest;
  const { headers } = resourceOf({ name: 'crm.test', port: 443, tls: true }, checked, '/', ['x-tenant', 'x-admin'], undefined, undefined);
  assert.deepEqual({ ...headers }, { 'x-tenant': ['acme', 'evil'], 'x-admin': ['1'] });
});

test('no field of a body passes for what is bound of the head', () => {
  const request = (params: readonly (readonly [string, unknown])[], action = '') => ({ action, params: new Map(params) }) as unknown as ActionRequest;
  const of = (params: readonly (readonly [string, unknown])[], headers: readonly string[], action = '') => [...identified(request(params, action), { headers: [...headers], hasBody: false, target: '/', paths: ['/'] }, true, () => 'once').params];
  const [[, digest] = []] = of([], ['X-Target', 'Delete']);
  assert.match(String(digest), /^[0-9a-f]{64}$/);
  assert.notDeepEqual(of([['$headers', digest]], []), [['$headers', digest]]);
  assert.notDeepEqual(of([['$request', 'x']], ['Authorization', 'a']), [['$request', 'x']], 'a field called so is no tool');
  assert.deepEqual(of([['$request', 'x']], ['Authorization', 'a', 'Content-Type', 'b'], 'crm.update'), [['$request', 'x']], 'a tool call has neither');
});

test('where a path can be read in several ways, an approval is for it as it is written', () => {
  const of = (target: string, paths: readonly string[], params: readonly (readonly [string, unknown])[] = [], action = '') => [...identified({ action, params: new Map(params) } as unknown as ActionRequest, { headers: [], hasBody: false, target, paths }, true, () => 'once').params];
  const [read, plain] = [['/admin%2Fdel', '/admin/del'], ['/admin/del']];
  const [[, digest] = []] = of('/admin%2Fdel?a=1', read);
  assert.deepEqual(of('/admin%2Fdel?a=2', read), [['$target', digest]]);
  assert.deepEqual(of('/admin/del', plain), []);
  assert.notDeepEqual(of('/admin%2fdel', read), [['$target', digest]]);
  assert.notDeepEqual(of('/admin/del', plain, [['$target', digest]]), [['$target', digest]], 'no field of a body passes for it');
  assert.deepEqual(of('/find?q=a%20b', ['/find']), []);
  assert.notDeepEqual(of('/find?q=a+b', ['/find']), [], 'some servers read a plus as it is');
  assert.deepEqual(of('/find?q=a+b', ['/find'], [['$request', 'x']], 'crm.find'), [['$request', 'x']], 'its approval is for the tool call');
  assert.notDeepEqual(of('/find?q=1?a+b', ['/find']), of('/find?q=1?a+c', ['/find']));
});
