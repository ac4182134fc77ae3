/** Turns what workers and openshelld hold into questions on the desk, in the gateway's own words. */
import { unlabelled, type ActionRequest, type GatewayToWorker, type HoldRequestWire, type Resource, type SyscallHold } from '@nemoclaw/contract';
import { answerKey } from '@nemoclaw/decide';
import type { House } from '../house.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { onlyDemo } from '../sandboxes/providers.ts';
import type { DeskSandbox } from './desk.ts';
import { placeOf } from './kept-request.ts';
import { asRequest, type RequestWire } from './record.ts';
import { ofAnswer, summaryOf, syscallDetail } from './summary.ts';

/** What the desk may know of a sandbox. */
export function deskSandbox(live: LiveSandbox): DeskSandbox {
  const { bundle, inForce } = live;
  const scripted = onlyDemo(live.record.value.providers) ? new Set(bundle.blueprint.demo.approvedRequests) : new Set<string>();
  return {
    name: live.record.value.name,
    agent: bundle.blueprint.agent.kind,
    createdByUid: live.record.value.createdBy,
    drivenBy: [...new Set([live.record.value.owner ?? live.record.value.createdBy, ...live.drivers])],
    timeoutMs: bundle.approvals?.timeout ?? 15 * 60_000,
    decide: (request) => inForce.decide(request),
    seenAsHttp: (action) => bundle.catalogue?.actions.some((entry) => entry.name === action && entry.match.some((match) => match.http !== undefined)) ?? false,
    demoAnswer: (request) => (scripted.size > 0 && scripted.has(inForce.key(withoutPlace(request))) ? 'approve' : undefined),
  };
}

/** Sandbox, task and inode are new each time, and a client's headers its own, so a blueprint names the request as it is without them. */
export function withoutPlace(request: ActionRequest): ActionRequest {
  const { resource, params } = request;
  if (resource.kind !== 'file') return { ...request, sandbox: '', task: '', ...(params.has('$headers') ? { params: new Map([...params].filter(([name]) => name !== '$headers')) } : {}) };
  return { ...request, sandbox: '', task: '', resource: { kind: 'file', path: resource.path, op: resource.op, ...(resource.toPath === undefined ? {} : { toPath: resource.toPath }) } };
}

/**
 * A hold of a worker. Throws RangeError where it cannot be honest: the key is not that of the request, so that approving what is shown
 * would let something else through; or it claims another role or task than the sandbox has.
 */
export async function workerHold(house: House, hold: HoldRequestWire): Promise<void> {
  const live = house.sandboxes.get(hold.sandbox);
  const answer = (message: Extract<GatewayToWorker, { t: 'hold.outcome' }>['outcome']): Promise<void> => {
    const owner = house.sandboxes.ownerOf(hold.sandbox);
    return house.workers.send(owner, { t: 'hold.outcome', sandbox: hold.sandbox, holdId: hold.holdId, outcome: message }) ? Promise.resolve() : Promise.reject(new Error('the worker is gone'));
  };
  if (!live || live.record.value.state !== 'running') return answer({ verdict: 'unavailable', reason: 'The sandbox is not running.' });
  const given = hold.request as RequestWire;
  const request = asRequest(given);
  const key = live.inForce.key(request);
  if ((hold.answer === undefined ? key : answerKey(key, hold.answer)) !== hold.key) throw new RangeError('the key is not that of the request');
  const kindFits = hold.kind === 'tool' ? request.resource.kind === 'tool' : request.resource.kind === 'http' || request.resource.kind === 'host';
  if (!kindFits) throw new RangeError('the kind is not that of the request');
  if (request.role !== live.bundle.role) throw new RangeError('the role is not that of the sandbox');
  // Not compared with the task that runs now: a request of the last one may still be on its way.
  if (!/^[A-Za-z0-9_-]{0,64}$/.test(request.task)) throw new RangeError('the task is not one of ours');
  // What labelled hosts told the sandbox is known to its worker alone.
  const shown = hold.tainted === true ? placeOf(given) : given;
  const summary = summaryOf(asRequest(shown), hold.decision.action);
  await house.desk.open({ ...hold, summary: hold.answer === undefined ? summary : ofAnswer(summary) }, answer);
}

function resourceOf(hold: SyscallHold): Resource {
  if (hold.op === 'call') return { kind: 'call', name: hold.syscall.split(' ')[0] ?? '', args: hold.toPath === null ? hold.path : `${hold.path} to ${hold.toPath}` };
  return { kind: 'file', path: hold.path, op: hold.op, dev: hold.dev, ino: hold.ino, ...(hold.toPath === null ? {} : { toPath: hold.toPath }) };
}

/** A held system call, as openshelld resolved it. */
export async function syscallHold(house: House, hold: SyscallHold): Promise<void> {
  const answer = async (verdict: 'allow' | 'deny'): Promise<void> => {
    await house.backend.answerHold(hold.sandbox, hold.holdId, verdict);
  };
  const live = house.sandboxes.get(hold.sandbox);
  if (!live) return answer('deny');
  const request: ActionRequest = {
    sandbox: hold.sandbox,
    role: live.bundle.role,
    task: live.record.value.task,
    source: 'syscall',
    action: '',
    resource: resourceOf(hold),
    params: new Map(),
    labels: unlabelled,
    provenance: new Map(),
    history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() },
  };
  const decision = live.inForce.decide(request);
  const wire: HoldRequestWire = {
    holdId: hold.holdId,
    sandbox: hold.sandbox,
    kind: 'syscall',
    request: { sandbox: request.sandbox, role: request.role, task: request.task, source: request.source, action: request.action, resource: request.resource, params: [], labels: request.labels },
    decision,
    key: live.inForce.key(request),
    summary: `${summaryOf(request, decision.action)}${/ \([a-z ]+\)$/.exec(hold.syscall)?.[0] ?? ''}`,
    detail: syscallDetail(hold),
    patienceMs: Math.max(0, hold.deadline - house.clock.monotonic()),
  };
  await house.desk.open(wire, (outcome) => answer(outcome.verdict === 'allow' ? 'allow' : 'deny'), wire.patienceMs);
}
