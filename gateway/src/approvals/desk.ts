/** Where questions to a human lie: opened by whoever holds a request, decided once by a person, the policy, a demo rule or the clock. */
import {
  NemoError,
  safeLine,
  type ApprovalView,
  type AuditSink,
  type Clock,
  type Decision,
  type ActionRequest,
  type GrantView,
  type HoldOutcome,
  type HoldRequestWire,
  type Ids,
  type LedgerEvent,
  type Store,
  type StoreWrite,
} from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import { KeyedLock } from '../keyed-lock.ts';
import { approvalView } from './card.ts';
import { Grants } from './grants.ts';
import { keptRequest, placeOf, withoutPayload } from './kept-request.ts';
import { approvalKey, approvalRecordSchema, asRequest, isOpen, readKept, type ApprovalRecord, type Kept, type RequestWire } from './record.ts';
import { summaryOnRecord } from './summary.ts';
import { Window } from './window.ts';

/** What the desk must know about a sandbox to open a question for it. */
export interface DeskSandbox {
  readonly name: string;
  readonly agent: string;
  readonly createdByUid: number;
  /** The workspace's owner and everybody who ran something in it. */
  readonly drivenBy: readonly number[];
  /** How long a question stays open, ms. */
  readonly timeoutMs: number;
  /** By the policy now in force; never throws. */
  decide(request: ActionRequest): Decision;
  /** The action has HTTP matches in the catalogue. */
  seenAsHttp(action: string): boolean;
  /** The blueprint's scripted answer, only ever for the demo provider. */
  demoAnswer(request: ActionRequest): 'approve' | 'deny' | undefined;
}

/** How whoever holds the request is told. Rejecting means that it could not be told. */
export type Answer = (outcome: HoldOutcome) => Promise<void>;

export interface DeskDeps {
  readonly store: Store;
  readonly audit: AuditSink;
  readonly clock: Clock;
  readonly ids: Ids;
  sandbox(id: string): DeskSandbox | undefined;
  /** How many people may decide; with two or more nobody approves what their own agent asks. */
  people(): number;
  /** What a card shows of a text, and what is kept of it: secrets and what else no person decides by are masked. */
  mask(text: string, kind: 'tool' | 'http'): string;
  /** Something about the open questions of this sandbox changed. */
  changed(sandbox: string, approval: ApprovalView): void;
}

/** Open questions a sandbox may have at once; more are refused. */
export const maxOpen = 64;
/** Decided questions of a sandbox that are kept; older ones stand in the record only, since an agent can ask and give up without end. */
export const maxDecided = 200;
/** Characters of a request's detail that are kept: about as many as a card shows. */
const maxDetail = 19_000;

type Settled = 'approved' | 'rejected' | 'expired' | 'withdrawn';

export class ApprovalDesk {
  readonly #deps: DeskDeps;
  readonly #grants: Grants;
  readonly #kept = new Map<string, Kept<ApprovalRecord>>();
  readonly #holders = new Map<string, Answer>();
  /** Questions that the gateway's own policy could reproduce; only these can be allowed by an edit of the policy. */
  readonly #reproduced = new Set<string>();
  /** Open questions as they were asked, for the policy: what is kept may say less. */
  readonly #asked = new Map<string, ActionRequest>();
  readonly #windows = new Map<string, Window>();
  readonly #lock = new KeyedLock();

  constructor(deps: DeskDeps) {
    this.#deps = deps;
    this.#grants = new Grants(deps, (sandbox, by) => deps.people() > 1 && (deps.sandbox(sandbox)?.drivenBy ?? []).some((uid) => by === `uid:${uid}`));
  }

  /** Reads everything back after a start; nobody holds anything until they say so again. */
  async load(): Promise<void> {
    await this.#grants.load();
    for (const entry of await this.#deps.store.list('sandbox/')) {
      if (entry.key.split('/')[2] !== 'approval') continue;
      const kept = readKept(approvalRecordSchema, entry);
      if (!kept) continue;
      kept.record.held = false;
      this.#keep(kept);
    }
  }

  /**
   * A request is held and a human is to be asked. `deadlineIn` ms bounds the question where the holder has its own deadline.
   * The same hold again (holder or gateway came back) and the identical request again both go on with the question that lies here.
   * Resolves when the question is in the store; the answer goes through `answer`. Throws RangeError for a hold that cannot be honest.
   */
  async open(hold: HoldRequestWire, answer: Answer, deadlineIn?: number): Promise<void> {
    await this.#lock.run(`open/${hold.sandbox}`, async () => {
      const sandbox = this.#deps.sandbox(hold.sandbox);
      if (!sandbox) return answer({ verdict: 'unavailable', reason: 'The sandbox is not known.' });
      const same = this.#find((record) => record.sandbox === hold.sandbox && record.holdId === hold.holdId);
      if (same) return this.#lock.run(same.record.id, () => this.#again(same, hold, answer));
      const waiting = this.#find((record) => record.sandbox === hold.sandbox && record.key === hold.key && isOpen(record.state) && !record.held);
      if (waiting) return this.#lock.run(waiting.record.id, () => this.#attach(waiting, hold, answer));
      const grant = await this.#grants.consume(hold.sandbox, hold.key);
      if (grant) return answer({ verdict: 'allow', approvalId: grant.approvalId, by: grant.by });
      if (this.#openOf(hold.sandbox).length >= maxOpen) return answer({ verdict: 'unavailable', reason: `${maxOpen} requests of this sandbox already wait for a person.` });
      await this.#ask(sandbox, hold, answer, deadlineIn);
      await this.#forgetOld(hold.sandbox);
    });
  }

  /** The oldest that nobody waits for and that give nothing any more. A failure to remove one is no failure of the question: it is tried again with the next. */
  async #forgetOld(sandbox: string): Promise<void> {
    const decided = [...this.#kept.values()].filter(({ record }) => record.sandbox === sandbox && !isOpen(record.state) && !record.held);
    if (decided.length <= maxDecided) return;
    const inUse = new Set(this.#grants.unused(sandbox).map(({ approvalId }) => approvalId));
    for (const kept of decided.sort((a, b) => a.record.createdAt - b.record.createdAt).slice(0, decided.length - maxDecided)) {
      const { id } = kept.record;
      if (inUse.has(id)) continue;
      await this.#lock.run(id, async () => {
        await this.#deps.store.delete(approvalKey(kept.record), kept.revision);
        this.#kept.delete(id);
        this.#reproduced.delete(id);
        this.#windows.delete(id);
      }).catch(() => undefined);
    }
    await this.#grants.forgetOld(sandbox, maxDecided);
  }

  async #ask(sandbox: DeskSandbox, hold: HoldRequestWire, answer: Answer, deadlineIn: number | undefined): Promise<void> {
    const now = this.#deps.clock.now();
    const request = hold.request as RequestWire;
    const asked = asRequest(request);
    const decision = sandbox.decide(asked);
    // Of a system call its path is what is decided on, and what the policy speaks of.
    const { kind } = hold;
    const mask = (text: string): string => (kind === 'syscall' ? text : this.#deps.mask(text, kind));
    const record: ApprovalRecord = {
      id: this.#deps.ids.next('apr'),
      sandbox: hold.sandbox,
      sandboxName: sandbox.name,
      agent: sandbox.agent,
      createdByUid: sandbox.createdByUid,
      drivenBy: [...sandbox.drivenBy],
      holdId: hold.holdId,
      kind: hold.kind,
      key: hold.key,
      request: hold.tainted === true ? placeOf(request) : keptRequest(request, mask),
      decision: hold.decision as ApprovalRecord['decision'],
      ofAnswer: hold.answer !== undefined,
      summary: safeLine(mask(hold.summary)),
      detail: hold.detail.length > maxDetail ? `${hold.detail.slice(0, maxDetail)}\n… (${hold.detail.length - maxDetail} more)` : hold.detail,
      createdAt: now,
      deadline: now + Math.min(sandbox.timeoutMs, deadlineIn ?? sandbox.timeoutMs),
      state: 'waiting',
      held: true,
      decidedAt: null,
      by: '',
      reason: '',
      effect: '',
      alsoHttp: hold.kind === 'tool' && sandbox.seenAsHttp(hold.decision.action) && request.params.some(([name]) => name === '$request'),
    };
    const kept: Kept<ApprovalRecord> = { record, revision: await this.#deps.store.put(approvalKey(record), record, 0) };
    this.#keep(kept);
    this.#holders.set(record.id, answer);
    this.#asked.set(record.id, asked);
    // What the policy says of a request says nothing of its answer.
    if (decision.verdict === 'escalate' && !record.ofAnswer) this.#reproduced.add(record.id);
    this.#deps.audit.emit(this.#event(record, `Waiting for a person: ${summaryOnRecord(record)}`, 'escalate'));
    this.#deps.changed(record.sandbox, this.#view(record));
    const scripted = record.ofAnswer ? undefined : sandbox.demoAnswer(asked);
    await this.#lock.run(record.id, async () => {
      if (!isOpen(record.state)) return;
      // What the policy in force denies is not a question, whatever the holder says.
      if (decision.verdict === 'deny') await this.#settle(kept, 'rejected', 'policy', decision.reason);
      else if (scripted) await this.#settle(kept, scripted === 'approve' ? 'approved' : 'rejected', 'demo rule', 'Scripted answer of the demo blueprint.');
    });
  }

  /** The same hold once more: after a restart of holder or gateway. */
  async #again(kept: Kept<ApprovalRecord>, hold: HoldRequestWire, answer: Answer): Promise<void> {
    const { record } = kept;
    if (record.key !== hold.key || this.#holders.has(record.id)) throw new RangeError(`hold ${hold.holdId} was used before`);
    if (isOpen(record.state)) return this.#attach(kept, hold, answer);
    if (record.state === 'approved' && record.effect === '') {
      // Decided, but the word never reached the holder. It is the same held request, so it is still the one use.
      return this.#tell(kept, answer, { verdict: 'allow', approvalId: record.id, by: record.by });
    }
    const grant = record.state === 'granted' ? await this.#grants.consume(record.sandbox, record.key) : undefined;
    if (grant) return this.#tell(kept, answer, { verdict: 'allow', approvalId: record.id, by: record.by });
    await answer({ verdict: 'deny', approvalId: record.id, by: record.by || 'gateway', reason: record.reason || `It was ${record.state}.` });
  }

  async #attach(kept: Kept<ApprovalRecord>, hold: HoldRequestWire, answer: Answer): Promise<void> {
    this.#holders.set(kept.record.id, answer);
    // Its key is the same, so it is the same request.
    this.#asked.set(kept.record.id, asRequest(hold.request as RequestWire));
    // Who drives it by now asks it too.
    const drivenBy = [...new Set([...kept.record.drivenBy, ...(this.#deps.sandbox(hold.sandbox)?.drivenBy ?? [])])];
    await this.#save(kept, { holdId: hold.holdId, held: true, drivenBy });
    this.#deps.changed(kept.record.sandbox, this.#view(kept.record));
  }

  /** The holder's patience ended or it died: the question stays, and an approval becomes a one-shot grant. */
  async release(sandbox: string, holdId: string): Promise<void> {
    const kept = this.#find((record) => heldByWorker(record, sandbox, holdId) && record.held);
    if (kept) await this.#lock.run(kept.record.id, () => this.#detach(kept));
  }

  /** Every question held by what matches loses its holder (a worker's link closed). */
  async releaseAll(of: (record: { readonly sandbox: string; readonly kind: string }) => boolean): Promise<void> {
    for (const kept of [...this.#kept.values()]) if (kept.record.held && of(kept.record)) await this.#lock.run(kept.record.id, () => this.#detach(kept));
  }

  async #detach(kept: Kept<ApprovalRecord>): Promise<void> {
    this.#holders.delete(kept.record.id);
    if (!kept.record.held) return;
    await this.#save(kept, { held: false });
    if (isOpen(kept.record.state)) this.#deps.changed(kept.record.sandbox, this.#view(kept.record));
  }

  /** The agent gave the request up: there is nothing left to decide. */
  async withdraw(sandbox: string, holdId: string, why: string): Promise<void> {
    const kept = this.#find((record) => heldByWorker(record, sandbox, holdId) && isOpen(record.state));
    if (!kept) return;
    await this.#lock.run(kept.record.id, async () => {
      // A person may have decided meanwhile.
      if (isOpen(kept.record.state)) await this.#settle(kept, 'withdrawn', 'agent', safeLine(why, 200));
    });
  }

  /** A new policy reached the holder first and it acted on it: the question is closed with what that policy says here. Nothing is let through by it. */
  async overtaken(sandboxId: string, holdId: string): Promise<void> {
    const sandbox = this.#deps.sandbox(sandboxId);
    const kept = this.#find((record) => record.sandbox === sandboxId && record.holdId === holdId && isOpen(record.state));
    if (!sandbox || !kept || kept.record.kind === 'syscall') return;
    this.#holders.delete(kept.record.id);
    await this.#lock.run(kept.record.id, async () => {
      if (!isOpen(kept.record.state)) return;
      const { verdict, reason } = sandbox.decide(this.#request(kept.record));
      if (verdict === 'escalate') await this.#settle(kept, 'withdrawn', 'agent', 'The holder took it back.');
      else await this.#settle(kept, verdict === 'allow' ? 'approved' : 'rejected', 'policy', reason);
      await this.#save(kept, { held: false });
    });
  }

  /** What became of a held system call, in openshelld's words. */
  async ended(sandbox: string, holdId: string, effect: string): Promise<void> {
    const kept = this.#find((record) => record.sandbox === sandbox && record.holdId === holdId);
    if (!kept) return;
    await this.#lock.run(kept.record.id, async () => {
      this.#holders.delete(kept.record.id);
      const { record } = kept;
      if (isOpen(record.state)) {
        if (effect === 'timeout') await this.#settle(kept, 'expired', 'timeout', 'Nobody decided in time.');
        else await this.#settle(kept, 'withdrawn', 'agent', effect);
      }
      await this.#save(kept, { held: false, effect });
      this.#deps.audit.emit(this.#event(record, `${record.summary}: ${effect}`, effect === 'performed' ? 'approved' : 'rejected'));
      this.#deps.changed(record.sandbox, this.#view(record));
    });
  }

  /** A person decides. The first decision stands; another one is a conflict that names it. */
  async decide(id: string, verdict: 'approve' | 'deny', reason: string, uid: number): Promise<ApprovalView> {
    const kept = this.#kept.get(id);
    if (!kept) throw new NemoError('NEMO_E_NOT_FOUND', { what: `There is no approval ${safeLine(id, 80)}.`, fix: 'Look at `nemoclaw approvals list`.' });
    return this.#lock.run(id, async () => {
      const { record } = kept;
      if (isOpen(record.state) && this.#isOver(id)) await this.#settle(kept, 'expired', 'timeout', 'Nobody decided in time.');
      if (!isOpen(record.state)) {
        throw new NemoError('NEMO_E_DECIDED', { what: `${record.id} is no longer open: it was ${record.state === 'granted' ? 'approved' : record.state} by ${record.by}.`, ...(record.reason ? { why: record.reason } : {}) });
      }
      if (verdict === 'approve' && this.#deps.people() > 1 && (uid === record.createdByUid || record.drivenBy.includes(uid))) {
        throw new NemoError('NEMO_E_SELF_APPROVAL', { what: 'Your own agent asks this, so somebody else must approve it.' });
      }
      await this.#settle(kept, verdict === 'approve' ? 'approved' : 'rejected', `uid:${uid}`, safeLine(reason, 2000));
      return this.#view(record);
    });
  }

  /** After an edit of the policy: what it denies is answered, what it allows goes on. Returns how many were decided. */
  async redecide(sandboxId: string): Promise<number> {
    const sandbox = this.#deps.sandbox(sandboxId);
    let count = 0;
    for (const kept of this.#openOf(sandboxId)) {
      if (!sandbox) break;
      await this.#lock.run(kept.record.id, async () => {
        if (!isOpen(kept.record.state)) return;
        const decision = sandbox.decide(this.#request(kept.record));
        const allowed = decision.verdict === 'allow' && this.#reproduced.has(kept.record.id);
        if (decision.verdict !== 'deny' && !allowed) return;
        count += 1;
        await this.#settle(kept, allowed ? 'approved' : 'rejected', 'policy', decision.reason);
      });
    }
    return count;
  }

  /** Default deny for everything whose time is over. */
  async sweep(): Promise<void> {
    for (const kept of this.#kept.values()) {
      if (!isOpen(kept.record.state) || !this.#isOver(kept.record.id)) continue;
      await this.#lock.run(kept.record.id, async () => {
        if (isOpen(kept.record.state)) await this.#settle(kept, 'expired', 'timeout', 'Nobody decided in time.');
      });
    }
  }

  /** The sandbox is gone for good. */
  async close(sandbox: string): Promise<void> {
    for (const kept of this.#openOf(sandbox)) {
      await this.#lock.run(kept.record.id, async () => {
        if (isOpen(kept.record.state)) await this.#settle(kept, 'withdrawn', 'gateway', 'The sandbox was stopped.');
      });
    }
    await this.#grants.drop(sandbox);
  }

  async consumeGrant(sandbox: string, key: string): Promise<boolean> {
    const grant = await this.#grants.consume(sandbox, key);
    const kept = grant && this.#kept.get(grant.approvalId);
    if (kept) this.#deps.changed(sandbox, this.#view(kept.record));
    return grant !== undefined;
  }

  /** Keys that wait or would pass, for the worker: a repeat re-attaches instead of asking anew. */
  pending(sandbox: string): { key: string; approvalId: string }[] {
    return [...this.#openOf(sandbox).map(({ record }) => ({ key: record.key, approvalId: record.id })), ...this.#grants.unused(sandbox)];
  }

  list(state = ''): ApprovalView[] {
    return [...this.#kept.values()].filter(({ record }) => state === '' || record.state === state).sort((a, b) => b.record.createdAt - a.record.createdAt).map(({ record }) => this.#view(record));
  }

  get(id: string): ApprovalView | undefined {
    const kept = this.#kept.get(id);
    return kept && this.#view(kept.record);
  }

  grants(): GrantView[] {
    return this.#grants.list((id) => this.#deps.sandbox(id)?.name ?? id);
  }

  waiting(sandbox: string): number {
    return this.#openOf(sandbox).length;
  }

  /** Record first, effect after: an approval that cannot be put on record does not happen; a denial happens anyway. What the request carries leaves the store with the decision. */
  async #settle(kept: Kept<ApprovalRecord>, state: Settled, by: string, reason: string): Promise<void> {
    const { record } = kept;
    const approved = state === 'approved';
    const bare = { ...record, request: withoutPayload(record.request), summary: summaryOnRecord(record), detail: '' } satisfies ApprovalRecord;
    const event = this.#event({ ...bare, state, by, reason }, `${wordOf(state)} by ${by}: ${bare.summary}`, approved ? 'approved' : 'rejected');
    try {
      await this.#deps.audit.commit(event);
    } catch (cause) {
      if (approved) throw new NemoError('NEMO_E_RECORD', { what: 'The approval was not given, because it could not be put on record.', cause });
    }
    const answer = this.#holders.get(record.id);
    const needsGrant = approved && by !== 'policy' && (answer === undefined || record.alsoHttp);
    const grant = needsGrant ? this.#grants.prepare(bare, by) : undefined;
    const decidedAt = this.#deps.clock.now();
    const next = { ...bare, state: approved && answer === undefined && grant ? 'granted' : state, by, reason, decidedAt } satisfies ApprovalRecord;
    const writes: StoreWrite[] = [{ op: 'put', key: approvalKey(record), value: next, expectedRevision: kept.revision }];
    if (grant) writes.push(grant.write);
    const [revision, grantRevision] = await this.#deps.store.batch(writes);
    Object.assign(record, next);
    kept.revision = revision ?? kept.revision;
    grant?.made(grantRevision ?? 0);
    this.#asked.delete(record.id);
    if (answer) {
      await this.#tell(kept, answer, approved ? { verdict: 'allow', approvalId: record.id, by } : { verdict: 'deny', approvalId: record.id, by, reason: reason || `It was ${state}.` });
    }
    this.#deps.changed(record.sandbox, this.#view(record));
  }

  async #tell(kept: Kept<ApprovalRecord>, answer: Answer, outcome: HoldOutcome): Promise<void> {
    try {
      await answer(outcome);
    } catch {
      // Whoever still holds it says so again, and is answered then (`#again`).
      return;
    }
    this.#holders.delete(kept.record.id);
    if (kept.record.effect === '') await this.#save(kept, { held: false, effect: 'answered' });
  }

  async #save(kept: Kept<ApprovalRecord>, change: Partial<ApprovalRecord>): Promise<void> {
    Object.assign(kept.record, change);
    kept.revision = await this.#deps.store.put(approvalKey(kept.record), kept.record, kept.revision);
  }

  #keep(kept: Kept<ApprovalRecord>): void {
    const { id, createdAt, deadline } = kept.record;
    this.#kept.set(id, kept);
    this.#windows.set(id, new Window(this.#deps.clock, createdAt, deadline));
  }

  /** What is not known counts as over. */
  #isOver(id: string): boolean {
    return this.#windows.get(id)?.over ?? true;
  }

  #request(record: ApprovalRecord): ActionRequest {
    return this.#asked.get(record.id) ?? asRequest(record.request);
  }

  #find(is: (record: ApprovalRecord) => boolean): Kept<ApprovalRecord> | undefined {
    for (const kept of this.#kept.values()) if (is(kept.record)) return kept;
    return undefined;
  }

  #openOf(sandbox: string): Kept<ApprovalRecord>[] {
    return [...this.#kept.values()].filter(({ record }) => record.sandbox === sandbox && isOpen(record.state));
  }

  #view(record: ApprovalRecord): ApprovalView {
    return approvalView(record, this.#deps.people() > 1 ? [] : ['Single operator: who runs the agent also decides.']);
  }

  #event(record: ApprovalRecord, message: string, verdict: LedgerEvent['verdict']): LedgerEvent {
    const { rules, reason, policyVersion, decidedBy, micros, action } = record.decision;
    return gatewayEvent(this.#deps.clock.now(), record.sandbox, message, {
      class: 'userAccess',
      activity: 1,
      severity: 2,
      layer: 'approval',
      ...(verdict === undefined ? {} : { verdict }),
      decision: { action, rules, reason, policyVersion, decidedBy, micros } as NonNullable<LedgerEvent['decision']>,
      correlation: record.id,
      data: { approvalId: record.id, holdId: record.holdId, kind: record.kind, state: record.state, by: record.by, because: record.reason, task: record.request.task, key: record.key },
    });
  }
}

/** A system call is held by the shim: no worker has a say in it, not even to give it up. */
function heldByWorker(record: ApprovalRecord, sandbox: string, holdId: string): boolean {
  return record.sandbox === sandbox && record.holdId === holdId && record.kind !== 'syscall';
}

function wordOf(state: Settled): string {
  return { approved: 'Approved', rejected: 'Rejected', expired: 'Expired', withdrawn: 'Withdrawn' }[state];
}
