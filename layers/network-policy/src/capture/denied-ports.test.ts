/** The published example policy, unedited, on ports that no rule has: whatever a client says or waits for, its rule is on record. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from '../judge/judge.ts';
import { openDesk, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';

const host = 'smtp.company.com';
let desk: Desk;

before(async () => {
  const text = readFileSync(new URL('../../../../contract/vectors/policy/network-policy.yaml', import.meta.url), 'utf8');
  const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
  const policy = compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(text, 'network.yaml'), role: '' }, 1);
  // No upstream is named: whatever would be let out finds nothing.
  desk = await openDesk({ rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [25, 143, 465, 22, 8080], intercepted: [host] });
});
after(() => desk.close());

/** Runs a program of Python with the address and port that lead to `port` of the host; resolves when it has ended. */
async function python(port: number, program: string): Promise<string> {
  const way = await desk.tcp(host, port);
  const { remoteAddress = '', remotePort = 0 } = way;
  way.destroy();
  const { stdout } = await promisify(execFile)('/usr/bin/python3', ['-c', `import smtplib, imaplib, ssl\nat, port = ${JSON.stringify(remoteAddress)}, ${remotePort}\ntry:\n  ${program}\n  print("open")\nexcept Exception as e:\n  print("closed", type(e).__name__)\n`], { timeout: 60_000 });
  return stdout.trim();
}
/** The last that is on record of a port. */
async function recorded(port: number): Promise<unknown> {
  const reason = `${host} is allowed on port 587, not ${port}.`;
  for (;;) {
    const found = desk.audit.events.findLast((event) => event.data?.['port'] === port);
    if (found) return [found.verdict, found.decision?.rules[0]?.id, found.decision?.reason === reason];
    await new Promise((done) => setTimeout(done, 10));
  }
}
const denied = ['deny', 'egress.allow[2]', true];

test('clients of mail that wait for a greeting are closed by the rule', async () => {
  assert.equal(await python(25, 'smtplib.SMTP(at, port)'), 'closed SMTPServerDisconnected');
  assert.deepEqual(await recorded(25), denied);
  assert.match(await python(143, 'imaplib.IMAP4(at, port)'), /^closed /);
  assert.deepEqual(await recorded(143), denied);
});

test('and inside TLS too', async () => {
  assert.match(await python(465, `c = ssl._create_unverified_context(); w = c.wrap_socket; c.wrap_socket = lambda s, server_hostname: w(s, server_hostname="${host}"); smtplib.SMTP_SSL(at, port, context=c)`), /^closed /);
  assert.deepEqual(await recorded(465), denied);
});

test('a client that says first what is neither HTTP nor TLS is closed by the rule, one of HTTP gets the answer that teaches', async () => {
  const text = await say(await desk.tcp(host, 22), 'SSH-2.0-OpenSSH_9.6\r\n');
  assert.equal(text, '');
  assert.deepEqual(await recorded(22), denied);
  const answer = await say(await desk.tcp(host, 8080), `GET / HTTP/1.1\r\nHost: ${host}:8080\r\n\r\n`, wholeAnswer);
  assert.match(answer, /^HTTP\/1\.1 403 [^]*"rule":"egress\.allow\[2\]"/);
  assert.deepEqual(await recorded(8080), denied);
});
