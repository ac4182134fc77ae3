/** Messages that a worker has no business to send, on its two kinds of channels. `own` is its own sandbox, `other` the other worker's. */
import type { HoldRequestWire } from '@nemoclaw/contract';

const plan = { v: 1 };
const key = 'a'.repeat(64);

/** On the control channel: what only the gateway or the ledger may ask of openshelld. */
export function forgedRequests(own: string, other: string, holdId: string): readonly (Readonly<Record<string, unknown>> & { readonly t: string })[] {
  return [own, other].flatMap((sandbox) => [
    { t: 'sandbox.destroy', sandbox },
    { t: 'sandbox.freeze', sandbox, frozen: true },
    { t: 'exec', sandbox, execId: 'forged', argv: ['/bin/touch', '/workspace/forged'], env: [], cwd: '/', tty: null },
    { t: 'exec.attach', sandbox, execId: 'forged' },
    { t: 'exec.signal', sandbox, execId: 'forged', signal: 9 },
    { t: 'exec.resize', sandbox, execId: 'forged', rows: 1, cols: 1 },
    { t: 'hold.answer', sandbox, holdId, verdict: 'allow' },
  ]).concat([
    { t: 'sandbox.create', sandbox: 'forged', plan, registration: '', worker: 'worker:1' },
    { t: 'sign', count: 1_000_000, head: 'f'.repeat(64), why: 'commit' },
    { t: 'host' },
    { t: 'workspaces' },
    { t: 'attach', sandbox: other },
    { t: 'configure', sandbox: own },
    { t: '__proto__' },
  ] as never[]);
}

/** A question for a person, as an honest worker would put it. `key` is the caller's to fill in. */
export function question(sandbox: string, role: string, holdId: string, key: string): HoldRequestWire {
  const labels = { sensitivity: 'restricted', reversibility: 'irreversible', scope: 'external', compliance: [] } as const;
  return {
    holdId, sandbox, kind: 'http', key, summary: 'may I', detail: 'detail', patienceMs: 600_000,
    request: { sandbox, role, task: '', source: 'http', action: '', resource: { kind: 'http', host: `ask-${role}.example`, port: 80, method: 'PUT', path: '/x', query: [], tls: false }, params: [], labels },
    decision: { verdict: 'escalate', action: '', rules: [], reason: 'asks', hint: '', intent: labels, policyVersion: 1, decidedBy: 'table', micros: 1 },
  };
}

/** On the link to the gateway: each is a breach that must close the link and be on record. */
export function forgedMessages(own: string, ownRole: string, other: string, otherRole: string): readonly { readonly what: string; readonly message?: object; readonly bytes?: Buffer }[] {
  const mine = question(own, ownRole, 'forged-hold', key);
  return [
    { what: 'an outcome for a hold', message: { t: 'hold.outcome', sandbox: own, holdId: 'x', outcome: { verdict: 'allow', approvalId: 'apr_x', by: 'uid:0' } } },
    { what: 'a configuration', message: { t: 'configure', config: {} } },
    { what: 'an approval', message: { t: 'approve', id: 'apr_x' } },
    { what: 'a question for a sandbox it was not given', message: { t: 'hold', hold: question(other, otherRole, 'forged-other', key) } },
    { what: 'a question whose request is another sandbox’s', message: { t: 'hold', hold: { ...mine, request: { ...mine.request, sandbox: other } } } },
    { what: 'a held system call', message: { t: 'hold', hold: { ...mine, kind: 'syscall' } } },
    { what: 'a question whose key is another request’s', message: { t: 'hold', hold: mine } },
    { what: 'a label of a sandbox it was not given', message: { t: 'label.raise', id: 1, sandbox: other, to: 'restricted', why: 'x' } },
    { what: 'a label that does not exist', message: { t: 'label.raise', id: 1, sandbox: own, to: 'none', why: 'x' } },
    { what: 'a grant of a sandbox it was not given', message: { t: 'grant.consume', id: 1, sandbox: other, key } },
    { what: 'the use of a sandbox it was not given', message: { t: 'usage', sandbox: other, requests: 1, bytesOut: 1, tokens: 1 } },
    { what: 'a withdrawal for a sandbox it was not given', message: { t: 'hold.withdrawn', sandbox: other, holdId: 'x', why: 'x' } },
    { what: 'bytes that are no JSON', bytes: Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from('{a}')]) },
    { what: 'a frame of 4 GiB', bytes: Buffer.from([255, 255, 255, 255, 1]) },
  ];
}
