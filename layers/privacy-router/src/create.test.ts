/** The router with the real policy, evaluator and detectors behind it. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { loadApprovalPolicy, loadCatalogue, loadSandboxPolicy, type LedgerEvent } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { createRouter } from './index.ts';
import { ask, callChunk, chunk, Provider, readStream, ScriptedApprover, streamOf } from './scripted.ts';

const sandbox = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: support }
spec:
  isolation: { network: restricted, filesystem: workspace, syscalls: minimal }
  permissions: { allowedAPIs: [crm.read, mail.send], deniedAPIs: [admin.*] }
`;
const catalogue = `actions:
  - name: crm.read
    match: [{ tool: crm_read }]
    labels: { sensitivity: confidential, reversibility: fully-reversible, scope: single, compliance: [] }
  - name: mail.send
    match: [{ tool: send_mail }]
    attributes: { recipient: "$.to" }
    labels: { sensitivity: internal, reversibility: irreversible, scope: external, compliance: [] }
  - name: admin.reset
    match: [{ tool: admin_reset }]
    labels: { sensitivity: restricted, reversibility: irreversible, scope: organization, compliance: [] }
  - name: process.exec
    match: [{ tool: bash }]
    local: process
    labels: { sensitivity: public, reversibility: fully-reversible, scope: single, compliance: [] }
`;
const approvals = `triggers: [{ action: mail.send, threshold: always }]
channels: [terminal]
timeout: 15m
defaultAction: deny
`;

test('seed-shaped files: read passes, admin and the unlisted are refused, mail is asked and approved', async () => {
  const policy = compilePolicy(
    { sandboxPolicy: loadSandboxPolicy(sandbox, 'sandbox.yaml'), catalogue: loadCatalogue(catalogue, 'actions.yaml'), approvals: loadApprovalPolicy(approvals, 'approvals.yaml'), role: '', files: new Map() },
    1,
  );
  const provider = await Provider.start();
  const approver = new ScriptedApprover();
  const events: LedgerEvent[] = [];
  const committed: LedgerEvent[] = [];
  let count = 0;
  const router = createRouter({
    sandbox: 'sbx-1',
    config: () => config,
    policy: () => policy,
    decider: { version: 1, decide: (request) => decide(policy, request) },
    approver,
    audit: { emit: (event) => void events.push(event), commit: async (event) => void committed.push(event) },
    labels: { current: () => 'public', raise: async () => {} },
    clock: { now: () => 0, monotonic: () => performance.now() },
    ids: { next: (prefix) => `${prefix}_${++count}` },
  });
  const config = {
    sandbox: 'sbx-1', name: 'a', role: '', task: 't', version: 1, policy: '', ca: { certPem: '', keyPem: '', rootPem: '' }, providers: [provider.plan()], placeholderKey: 'placeholder',
    credentials: [], upstreams: [], label: 'public' as const, patience: { streamMs: 10_000, httpMs: 1000, keepAliveMs: 10_000 },
  };
  const server = createServer((req, res) => router.handle(req, res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const mail = '{"to":"ann@customer.example","text":"key sk-outside"}';
  provider.scripts.push(streamOf([callChunk(0, 'a1', 'crm_read', '{"id":1}'), callChunk(1, 'a2', 'admin_reset', '{}'), callChunk(2, 'a3', 'other', '{}'), callChunk(3, 'a4', 'bash', '{"command":"ls"}'), callChunk(4, 'a5', 'send_mail', mail), chunk({}, 'tool_calls')]));
  try {
    const answering = fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer placeholder', 'content-type': 'application/json' },
      body: JSON.stringify(ask([{ role: 'user', content: 'go' }], ['crm_read', 'admin_reset', 'other', 'bash', 'send_mail'])),
    });
    const question = await approver.question(1);
    assert.match(question.hold.summary, /ann@customer\.example/);
    assert.doesNotMatch(question.hold.summary + question.hold.detail, /sk-outside/);
    assert.match(question.hold.key, /^[0-9a-f]{64}$/);
    question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:1' });
    const read = readStream(await (await answering).text());
    assert.deepEqual(read.calls.map((call) => call.name), ['crm_read', 'refused_by_policy', 'refused_by_policy', 'bash', 'send_mail']);
    assert.equal(read.calls[4]?.args, mail);
    assert.match(read.calls[1]?.args ?? '', /permissions\.deniedAPIs\[0\]/);
    assert.match(read.calls[2]?.args ?? '', /not in the action catalogue/);
    assert.deepEqual(committed.map((event) => [event.decision?.action, event.verdict]), [['mail.send', 'approved']]);
    assert.deepEqual(Object.keys(Object(committed[0]?.data?.['attributes'])), ['recipient']);
    assert.doesNotMatch(JSON.stringify([events, committed]), /ann@|sk-outside/);
  } finally {
    await router.close();
    server.closeAllConnections();
    server.close();
    await provider.close();
  }
});
