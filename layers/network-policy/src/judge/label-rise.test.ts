/** A label that rises while requests are under way: what would have to be asked about now ends, what the policy accepts goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyHistory, loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from './judge.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';

test('an upload that was begun before the label rose is no way out for what is known since', async () => {
  const ended: string[] = [];
  const begun: string[] = [];
  const upstream = await openUpstream((req, res) => {
    const host = req.headers.host?.split(':')[0] ?? '';
    req.on('error', () => undefined);
    req.once('data', () => begun.push(host));
    req.on('end', () => {
      ended.push(host);
      res.end('done');
    });
  });
  const text = `networkPolicy:
  name: t
  egress:
    allow:
      - { domain: some.test, ports: [${upstream.port}] }
      - { domain: ours.test, ports: [${upstream.port}], accepts: restricted }
`;
  const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
  const policy = compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(text, 'network.yaml'), role: '' }, 1);
  let restricted = false;
  const hosts = ['some.test', 'ours.test'];
  const desk = await openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [upstream.port], intercepted: hosts, pins: hosts.map((host) => ({ host })),
    history: () => ({ ...emptyHistory, readRestricted: restricted }),
  });
  try {
    const upload = async (host: string): Promise<{ readonly socket: Awaited<ReturnType<typeof desk.tcp>>; readonly answer: Promise<string> }> => {
      const socket = await desk.tcp(host, upstream.port);
      const answer = say(socket, `POST /up HTTP/1.1\r\nHost: ${host}:${upstream.port}\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n5\r\nfirst\r\n`, wholeAnswer);
      return { socket, answer };
    };
    const some = await upload('some.test');
    const ours = await upload('ours.test');
    while (begun.length < 2) await new Promise((turn) => setImmediate(turn));
    restricted = true;
    desk.egress.reconsider();
    const told = await some.answer;
    assert.match(told, /^HTTP\/1\.1 403 /);
    assert.match(told, /"rule":"labels\.egress"/);
    ours.socket.write('6\r\nsecond\r\n0\r\n\r\n');
    assert.match(await ours.answer, /^HTTP\/1\.1 200 /);
    assert.deepEqual(ended, ['ours.test']);
  } finally {
    await desk.close();
    await upstream.close();
  }
});
