/** The threshold `external-only` of email.send, through a whole egress and a policy as people write it: mail among ourselves goes out, mail to others waits for a person. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadApprovalPolicy, loadCatalogue, loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from '../judge/judge.ts';
import { openDesk } from '../testing/testing-egress.ts';
import { Dialogue, openMailServer } from './testing-servers.ts';

const reply = (text: string): boolean => /^\d{3} .*\r\n$/m.test(text.slice(text.lastIndexOf('\n', text.length - 2) + 1));

test('a mail to our own domain passes, one with a single recipient elsewhere is asked about whole', async () => {
  const server = await openMailServer('smtp.test');
  const policy = compilePolicy({
    sandboxPolicy: sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {}, permissions: { allowedAPIs: ['email.send'] } } }),
    network: loadNetworkPolicy(`networkPolicy:\n  name: t\n  egress:\n    allow:\n      - { domain: smtp.test, ports: [${server.port}], protocol: smtp }\n`, 'network.yaml'),
    approvals: loadApprovalPolicy('triggers:\n  - { action: email.send, threshold: external-only }\nchannels: [terminal]\ntimeout: 15m\ndefaultAction: deny\n', 'approvals.yaml'),
    catalogue: loadCatalogue('organization: { domains: [acme.example] }\nactions:\n  - name: email.send\n    match: [{ tool: email_send }]\n    labels: { sensitivity: internal, reversibility: irreversible, scope: external, compliance: [] }\n', 'actions.yaml'),
    role: '',
  }, 1);
  const desk = await openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [server.port], intercepted: ['smtp.test'], pins: [{ host: 'smtp.test', caPem: server.caPem }],
  });
  try {
    const begin = async (...recipients: string[]): Promise<Dialogue> => {
      const mail = new Dialogue(await desk.tcp('smtp.test', server.port));
      await mail.say('', reply);
      for (const line of ['EHLO agent', 'MAIL FROM:<ann@acme.example>', ...recipients.map((one) => `RCPT TO:<${one}>`)]) assert.match(await mail.say(`${line}\r\n`, reply), /^250/, line);
      assert.match(await mail.say('DATA\r\n', reply), /^354/);
      return mail;
    };
    const ours = await begin('bob@acme.example', 'carol@acme.example');
    assert.match(await ours.say('Subject: x\r\n\r\nhello\r\n.\r\n', reply), /^250/);
    assert.equal(desk.approver.asked.length, 0);
    const theirs = await begin('bob@acme.example', 'dave@elsewhere.example');
    const answer = theirs.say('Subject: x\r\n\r\nhello\r\n.\r\n', reply);
    await desk.approver.until(1);
    assert.equal(server.messages.length, 1);
    assert.match(desk.approver.asked[0]?.summary ?? '', /dave@elsewhere\.example/);
    desk.approver.answer({ verdict: 'deny', approvalId: 'apr_1', by: 'ann', reason: 'Not this one.' });
    assert.match(await answer, /^550-5\.7\.1 Denied by policy, rule .*\(event [\w.]+\)\r\n550-5\.7\.1 Not this one\./);
    assert.equal(server.messages.length, 1);
    ours.socket.destroy();
    theirs.socket.destroy();
  } finally {
    await desk.close();
    await server.close();
  }
});
