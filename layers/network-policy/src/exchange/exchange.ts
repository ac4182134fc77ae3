/**
 * One request from check to answer, whatever its wire: decided, held if a person has to be asked, forwarded or refused, and recorded.
 * Its body is read by read-ahead.ts, a person is asked by hold-request.ts, it is sent on by dispatch.ts. Other parts put a hook into standard-hooks.ts (hooks.ts says what each kind sees and may do):
 * check -> [beforeDecision reads a held body] -> decision -> approval -> [limits] -> record -> [outgoing bytes] -> upstream -> [incoming head and bytes] -> answer.
 */
import type { Decision, LedgerEvent } from '@nemoclaw/contract';
import { answerJson, denialBody } from './answers.ts';
import type { Core, Reconsidered, SameTurn } from '../core.ts';
import { begunElsewhere, begunUnread, refusal } from '../core.ts';
import { dispatch, insertInto } from './dispatch.ts';
import type { Underway } from './dispatch.ts';
import { grpcBody, isFramed, isGrpc } from '../protocols/grpc.ts';
import { leaksInHead } from '../credentials/head-leaks.ts';
import { holdRequest } from './hold-request.ts';
import { Stopped } from '../hooks.ts';
import { authority } from '../judge/judge.ts';
import { judgeRequest, resourceOf } from '../judge/judge-request.ts';
import type { Judged } from '../judge/judge-request.ts';
import { PassingRequest } from './passing.ts';
import { readAhead, readsAhead } from './read-ahead.ts';
import { httpRecord } from '../records.ts';
import type { Relay } from '../http/relay.ts';
import { checkRequest, isProblem } from '../http/request-check.ts';
import type { Place, Problem } from '../http/request-check.ts';
import { RequestRead } from './request-read.ts';
import { hasCredential } from '../inspect/answers.ts';
import { lookedFor, looksForMore, type LookedFor } from '../inspect/report.ts';
import { maskTarget, shownPath } from '../inspect/shown-path.ts';
import { hashOf } from '../credentials/sigv4.ts';
import { secretFound } from '../standard-hooks.ts';
import { samePin, type Pin } from '../upstream/pins.ts';
import { AddressRefused } from '../upstream/upstreams.ts';
import { maskTainted } from '../taint/taint.ts';
import type { WebSocketRelay } from '../websocket/websocket-relay.ts';
import { UpgradeWire } from '../websocket/wire-upgrade.ts';
import type { Wire } from '../http/wire.ts';

/** What holds of a request when it is looked at, and then when it is sent on. */
interface Begun extends LookedFor {
  readonly pin: Pin | undefined;
  readonly bound: boolean;
}

/** Of a request that begins now: where it goes, and what is looked for in it. */
const begunNow = (passing: PassingRequest): Begun => ({ pin: passing.core.ports.upstreams.pinOf(passing.place.name), bound: hasCredential(passing), ...lookedFor(passing.core) });

const safe = new Set(['GET', 'HEAD', 'OPTIONS']);

export class Exchange implements Reconsidered {
  readonly #core: Core;
  #began: Begun | undefined;
  readonly #place: Place;
  readonly #wire: Wire;
  readonly #correlation: string;
  #state: 'deciding' | 'held' | 'forwarding' | 'done' = 'deciding';
  #passing: PassingRequest | undefined;
  readonly #read = new RequestRead();
  /** Its resources as text. */
  #resources: string | undefined;
  #approved = false;
  #withdraw: AbortController | undefined;
  #relay: Relay | WebSocketRelay | undefined;

  constructor(core: Core, place: Place, wire: Wire) {
    this.#core = core;
    this.#place = place;
    this.#wire = wire;
    this.#correlation = core.correlation();
  }

  /** Starts; never throws, never rejects. */
  run(): void {
    this.#core.counts.requests += 1;
    this.#core.open.add(this);
    this.#wire.onClose(this.#closed);
    try {
      this.#check();
    } catch (error) {
      this.#broken(error);
    }
  }

  /** The policy changed: what is decided otherwise now ends, the rest goes on. */
  reconsider(turn: SameTurn): void {
    const passing = this.#passing;
    if (!passing || this.#state === 'done' || this.#state === 'deciding') return;
    if (this.#state === 'held') {
      const now = this.#judge(passing);
      const refused = now.decision.verdict === 'deny' ? now.decision : this.#unlooked(passing);
      if (!refused && now.decision.verdict === 'escalate') return;
      this.#withdraw?.abort('policy');
      if (refused) this.#deny(refused, 'refused by the new policy while it waited');
      else void this.#forward(now, passing, 'allowed by the new policy while it waited');
      return;
    }
    const now = this.#decisionNow(passing, turn);
    const stands = now.verdict === 'allow' || (now.verdict === 'escalate' && this.#approved);
    const decision = stands ? this.#overtaken(passing) : now;
    if (!decision) return;
    // The answer comes before the stop, which would be taken for a failure of the upstream.
    if (!this.#wire.headSent) this.#deny(decision, 'ended by the new policy');
    else {
      this.#record('deny', 'ended by the new policy', decision);
      this.#finish();
      this.#wire.cut(decision);
    }
    this.#relay?.stop(new Error('the policy changed'));
  }

  /** What is still allowed may have begun otherwise than it would now. */
  #overtaken(passing: PassingRequest): Decision | undefined {
    const { version } = this.#core.config;
    if (!samePin(this.#began?.pin, begunNow(passing).pin)) return begunElsewhere(version);
    return this.#isBlind(passing) ? begunUnread(version) : undefined;
  }

  /** Of what was read already: its denial, where the policy has more looked for since. */
  #unlooked(passing: PassingRequest): Decision | undefined {
    return this.#began && looksForMore(passing.core, this.#began) ? begunUnread(this.#core.config.version) : undefined;
  }

  /** Whether it began when nothing was looked for in it, and something is now: what it sends from here on, or what comes from a host that has a credential by now, would pass unseen. */
  #isBlind(passing: PassingRequest): boolean {
    const { scans, secrets, bound } = this.#began ?? {};
    const now = begunNow(passing);
    if (now.bound && !bound) return true;
    if (this.#wire instanceof UpgradeWire) return !scans && !secrets && (now.scans || now.secrets);
    return passing.checked.hasBody && !this.#read.body && this.#unlooked(passing) !== undefined;
  }

  #check(): void {
    const checked = checkRequest(this.#wire.fields, this.#place);
    if (isProblem(checked)) {
      this.refuse(checked);
      return;
    }
    const core = this.#core;
    const passing = new PassingRequest(core, this.#place, checked, this.#correlation);
    this.#passing = passing;
    if (this.#wire instanceof UpgradeWire) passing.asked = [{ message: { protocol: 'websocket' } }];
    else if (this.#wire.version === '2' && checked.method === 'POST' && isGrpc(checked.contentType)) passing.asked = [{ message: { protocol: 'grpc' } }];
    const inserted = core.config.credentials.length > 0 ? insertInto(['host', authority(this.#place), ...checked.headers], passing, hashOf(undefined)) : undefined;
    if (inserted && 'verdict' in inserted) {
      this.#deny(inserted, misplaced);
      return;
    }
    if (!core.secrets.empty && leaksInHead(core, checked)) throw secretFound(passing, 'the URL or a header');
    for (const reader of core.hooks.heads) this.#read.note(reader.read(passing));
    const ahead = readsAhead(passing);
    if (ahead === 'nothing') {
      this.#settle(passing);
      return;
    }
    const early = ahead === 'inspected' ? this.#judge(passing).decision : undefined;
    if (early?.verdict === 'deny') this.#deny(early, 'denied');
    else void this.#collect(passing).catch((error: unknown) => this.#broken(error));
  }

  /** Reads the body first, because the decision depends on it. */
  async #collect(passing: PassingRequest): Promise<void> {
    this.#began = begunNow(passing);
    await readAhead(this.#wire, passing, this.#read, () => this.#state === 'deciding');
    if (this.#state !== 'deciding') return;
    const unlooked = this.#unlooked(passing);
    if (unlooked) this.#deny(unlooked, 'refused by the new policy while its body came');
    else this.#settle(passing);
  }

  #settle(passing: PassingRequest): void {
    const judged = this.#judge(passing);
    passing.judged = judged;
    if (judged.decision.verdict === 'allow') void this.#forward(judged, passing, 'allowed');
    else if (judged.decision.verdict === 'escalate') void this.#hold(judged, passing).catch((error: unknown) => this.#broken(error));
    else this.#deny(judged.decision, 'denied');
  }

  #judge(passing: PassingRequest): Judged {
    return judgeRequest(passing, this.#read);
  }

  /** A request that nothing was read of but its head is decided by its resources alone, as every other of this turn with the same ones. */
  #decisionNow(passing: PassingRequest, turn: SameTurn): Decision {
    if (!this.#read.bare || passing.asked.length > 0 || this.#core.ports.judge.headersNamed(this.#place.name).length > 0) return this.#judge(passing).decision;
    this.#resources ??= JSON.stringify(passing.checked.paths.map((path) => resourceOf(this.#place, passing.checked, path, [], undefined, this.#place.program)));
    const known = turn.get(this.#resources);
    if (known) return known;
    const { decision } = this.#judge(passing);
    turn.set(this.#resources, decision);
    return decision;
  }

  async #hold(judged: Judged, passing: PassingRequest): Promise<void> {
    this.#state = 'held';
    this.#began ??= begunNow(passing);
    const withdraw = new AbortController();
    this.#withdraw = withdraw;
    // A client that closed its side may be gone: nothing is done later for nobody.
    this.#wire.onHalfClose?.(() => withdraw.abort());
    const outcome = await holdRequest(judged, passing, this.#read, () => this.#live('held'), withdraw);
    if (outcome === 'ended') return;
    if (withdraw.signal.aborted) {
      this.#deny({ ...judged.decision, verdict: 'deny', reason: 'the client closed its side of the connection while a person was asked', hint: 'Send it again, and keep the connection open until the answer comes.' }, wentAway);
      return;
    }
    if (outcome === 'granted') {
      await this.#forward(judged, passing, 'allowed by an earlier approval', true);
      return;
    }
    if (outcome === 'full') {
      this.#unavailable('too many requests wait for approval already');
      return;
    }
    if (outcome.verdict === 'allow') await this.#forward(judged, passing, `approved by ${outcome.by}`, true, outcome.approvalId);
    else if (outcome.verdict === 'deny') this.#deny({ ...judged.decision, verdict: 'deny', decidedBy: 'approval', reason: outcome.reason, hint: 'A person refused this request. Do not try it again; tell the user.' }, `rejected by ${outcome.by}`, { approvalId: outcome.approvalId });
    else if (outcome.verdict === 'waiting') {
      this.#record('escalate', 'still waiting for approval', judged.decision, { approvalId: outcome.approvalId });
      this.#tell(503, { status: 'waiting', approvalId: outcome.approvalId, rule: judged.decision.rules[0]?.id ?? 'default', reason: judged.decision.reason, hint: passing.checked.hasBody && !this.#read.body ? 'Its body was not kept: send it again when somebody is there to approve it, and wait.' : 'Send the identical request again later; it passes once after approval.' }, { 'retry-after': '30' });
      this.#finish();
    } else this.#deny({ ...judged.decision, verdict: 'deny', reason: outcome.reason, hint: 'Nobody could be asked. Try again later.' }, 'nobody could be asked');
  }

  /** Sends the request on. What was escalated, or cannot be undone, is on durable record first. */
  #forward(judged: Judged, passing: PassingRequest, message: string, approved = false, approvalId = ''): Promise<void> {
    this.#began = begunNow(passing);
    const core = this.#core;
    const { checked } = passing;
    this.#state = 'forwarding';
    passing.judged = judged;
    this.#approved = approved;
    try {
      for (const hook of core.hooks.limits) hook.admit(passing);
    } catch (error) {
      this.#broken(error);
      return atOnce;
    }
    core.counts.allowed += 1;
    const event = httpRecord(core.seen(this.#correlation), this.#place, checked.method, shownPath(passing), approved ? 'approved' : 'allow', message, judged.decision, approvalId === '' ? undefined : { approvalId });
    if (approved || (judged.decision.action !== '' && judged.decision.intent.reversibility === 'irreversible' && !safe.has(checked.method))) return this.#forwardOnceRecorded(event, passing);
    core.ports.audit.emit(event);
    this.#send(passing);
    return atOnce;
  }

  async #forwardOnceRecorded(event: LedgerEvent, passing: PassingRequest): Promise<void> {
    try {
      await this.#core.ports.audit.commit(event);
    } catch {
      if (this.#live('forwarding')) this.#unavailable('the record cannot be written, so this request cannot be made');
      return;
    }
    if (this.#live('forwarding')) this.#send(passing);
  }

  #send(passing: PassingRequest): void {
    try {
      const { body } = this.#read;
      const looked = body && isFramed(passing.checked.contentType) ? grpcBody(passing, body) : body;
      if (looked instanceof Promise) looked.then((ready) => { if (this.#live('forwarding')) dispatch(passing, this.#wire, ready, this.#underway(passing)); }).catch((error: unknown) => this.#broken(error));
      else dispatch(passing, this.#wire, looked, this.#underway(passing));
    } catch (error) {
      this.#broken(error);
    }
  }

  #underway(passing: PassingRequest): Underway {
    return {
      started: (relay) => { this.#relay = relay; },
      ended: () => this.#finish(),
      failed: (error) => this.#failed(error),
      misplaced: (decision) => this.#deny(decision, misplaced),
      live: () => this.#live('forwarding'),
      sentAgain: () => this.#record('allow', 'sent again with a newer credential', passing.judged?.decision),
    };
  }

  #failed(error: Error): void {
    if (this.#state === 'done') return;
    if (error instanceof Stopped) this.#stop(error);
    else if (error instanceof AddressRefused) this.#deny(refusal(this.#core.config.version, 'network.addresses', error.message, 'Ask the operator to name the address in the network policy (`addresses`).'), 'the name leads to an address that is not allowed');
    else {
      const { headSent } = this.#wire;
      this.#record('allow', `the upstream failed: ${failure(error)}`, this.#passing?.judged?.decision, { error: failure(error) });
      this.#finish();
      if (headSent) this.#wire.cut();
      else answerJson(this.#wire, 502, { error: 'upstream_failed', reason: failure(error), hint: 'The request was allowed, but the other side could not be reached or answered wrongly.' });
    }
  }

  #deny(decision: Decision, message: string, more: Readonly<Record<string, unknown>> = {}, status = 403, headers: Readonly<Record<string, string>> = {}): void {
    this.#core.counts.denied += 1;
    this.#record('deny', message, decision, more);
    this.#finish();
    if (this.#wire.headSent) this.#wire.cut(decision);
    else this.#tell(status, { ...denialBody(decision, this.#correlation), ...more }, headers);
  }

  /** In the words of the protocol that the request spoke. */
  #tell(status: number, data: Readonly<Record<string, unknown>>, headers: Readonly<Record<string, string>>): void {
    const told = this.#read.shape?.(data, status);
    answerJson(this.#wire, told?.status ?? status, data, headers, told?.body);
  }

  /** A hook refused. */
  #stop(stopped: Stopped): void {
    this.#deny(stopped.decision, stopped.message, stopped.more, stopped.status, stopped.headers);
    this.#relay?.stop(stopped);
  }

  /** What is no request that any policy could be asked about. */
  refuse(problem: Problem): void {
    const core = this.#core;
    core.counts.refused += 1;
    const decision = refusal(core.config.version, `proxy.${problem.code}`, `${problem.why}.`, 'Send a plain, unambiguous request.');
    const { method = '', url = '' } = this.#wire.fields;
    core.ports.audit.emit(httpRecord(core.seen(this.#correlation), this.#place, method, maskTainted(maskTarget(pathOf(url), core.secrets.known), core.taint.sought({ core, place: this.#place }, [])), 'deny', problem.why, decision));
    this.#finish();
    // Whatever follows on this connection is not trusted either.
    this.#wire.distrust();
    answerJson(this.#wire, problem.status, { ...denialBody(decision, this.#correlation), error: problem.code });
  }

  #unavailable(reason: string): void {
    this.#record('deny', reason, this.#passing?.judged?.decision);
    answerJson(this.#wire, 503, { error: 'unavailable', reason, layer: 'proxy' }, { 'retry-after': '5' });
    this.#finish();
  }

  #broken(error: unknown): void {
    if (this.#state === 'done') return;
    if (error instanceof Stopped) {
      this.#stop(error);
      return;
    }
    this.#record('deny', 'failed inside the proxy', refusal(this.#core.config.version, 'error', 'The proxy failed on this request.', ''), { error: failure(error) });
    this.#finish();
    answerJson(this.#wire, 500, { error: 'internal', rule: 'error', reason: 'the proxy failed on this request', layer: 'proxy' });
    this.#relay?.stop(new Error('failed inside the proxy'));
  }

  #record(verdict: 'allow' | 'deny' | 'escalate', message: string, decision: Decision | undefined, more?: Readonly<Record<string, unknown>>): void {
    const core = this.#core;
    core.ports.audit.emit(httpRecord(core.seen(this.#correlation), this.#place, this.#wire.fields.method ?? '', this.#passing ? shownPath(this.#passing) : '', verdict, message, decision, more));
  }

  #live(state: 'held' | 'forwarding'): boolean {
    return this.#state === state;
  }

  #finish(): void {
    this.#state = 'done';
    this.#core.open.delete(this);
  }

  readonly #closed = (): void => {
    if (this.#state === 'done') return;
    const held = this.#state === 'held';
    this.#finish();
    if (held) this.#record('deny', wentAway, this.#passing?.judged?.decision);
    this.#withdraw?.abort();
    this.#relay?.stop(new Error('the client went away'));
  };
}

const wentAway = 'the client went away while it waited';
const misplaced = 'a credential cannot be put in where its placeholder stands';
const atOnce = Promise.resolve();

/** For the record: parameters may be anything, and so may what stands before a path. */
const pathOf = (target: string): string => (target.startsWith('/') ? (target.split(/[?#]/)[0] ?? '') : '');

function failure(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return code === '' ? error.message.slice(0, 200) : `${code}: ${error.message.slice(0, 200)}`;
}
