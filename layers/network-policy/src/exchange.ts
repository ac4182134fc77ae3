/**
 * One request from check to answer, whatever its wire: decided, held if a person has to be asked, forwarded or refused, and recorded.
 * Other parts do not change this file; they put a hook into standard-hooks.ts (hooks.ts says what each kind sees and may do):
 * check -> [beforeDecision reads a held body] -> decision -> approval -> [limits] -> record -> [outgoing bytes] -> upstream -> [incoming head and bytes] -> answer.
 */
import type { Decision, HoldOutcome, LedgerEvent } from '@nemoclaw/contract';
import { answerJson, denialBody } from './answers.ts';
import type { Core, Reconsidered, SameTurn } from './core.ts';
import { refusal } from './core.ts';
import { grpcAnswer, grpcTransform, isGrpc } from './grpc.ts';
import { insertCredentials } from './credentials.ts';
import { holdDetail, holdSummary } from './hold-card.ts';
import { Stopped } from './hooks.ts';
import type { AnswerHead, ByteTransform, DenialShape, Reading } from './hooks.ts';
import { hasCredential } from './inspect/answers.ts';
import { inspectedBytes } from './inspect/report.ts';
import { undoEncodings } from './inspect/undo-encodings.ts';
import { authority } from './judge.ts';
import { judgeRequest, resourceOf } from './judge-request.ts';
import type { Judged } from './judge-request.ts';
import { collectBody, OutgoingBody } from './outgoing-body.ts';
import { bodyLimit } from './body-limit.ts';
import { leaksInHead } from './head-leaks.ts';
import { httpRecord } from './records.ts';
import { hashOf } from './sigv4.ts';
import { PassingRequest } from './passing.ts';
import { newerValues, RenewingHandler } from './renewal.ts';
import { Relay } from './relay.ts';
import { checkRequest, isProblem } from './request-check.ts';
import type { CheckedRequest, Place, Problem } from './request-check.ts';
import { secretFound } from './standard-hooks.ts';
import { safeTrailers } from './trailers.ts';
import { AddressRefused } from './upstreams.ts';
import type { Wire } from './wire.ts';
import { UpgradeWire } from './wire-upgrade.ts';
import { dispatchWebSocket } from './websocket-dispatch.ts';
import type { WebSocketRelay } from './websocket-relay.ts';

const safe = new Set(['GET', 'HEAD', 'OPTIONS']);

export class Exchange implements Reconsidered {
  readonly #core: Core;
  readonly #place: Place;
  readonly #wire: Wire;
  readonly #correlation: string;
  #state: 'deciding' | 'held' | 'forwarding' | 'done' = 'deciding';
  #passing: PassingRequest | undefined;
  #body: Buffer | undefined;
  /** The body without its content encoding: what a person is shown. */
  #readable: Buffer | undefined;
  #attributes = noAttributes;
  #shape: DenialShape | undefined;
  /** Its resources as text. */
  #resources: string | undefined;
  /** A hook wants a person asked, whatever the policy says. */
  #escalate: Decision | undefined;
  /** What its card does not show. */
  #hidden: ReadonlySet<string> = nothingHidden;
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
      if (now.decision.verdict === 'escalate') return;
      this.#withdraw?.abort('policy');
      if (now.decision.verdict === 'deny') this.#deny(now.decision, 'refused by the new policy while it waited');
      else void this.#forward(now, passing, 'allowed by the new policy while it waited');
      return;
    }
    const decision = this.#decisionNow(passing, turn);
    if (decision.verdict === 'allow' || (decision.verdict === 'escalate' && this.#approved)) return;
    // The answer comes before the stop, which would be taken for a failure of the upstream.
    if (!this.#wire.headSent) this.#deny(decision, 'ended by the new policy');
    else {
      this.#record('deny', 'ended by the new policy', decision);
      this.#finish();
      this.#wire.cut(decision);
    }
    this.#relay?.stop(new Error('the policy changed'));
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
    const inserted = core.config.credentials.length > 0 ? this.#insert(checked, ['host', authority(this.#place), ...checked.headers], hashOf(undefined)) : undefined;
    if (inserted && 'verdict' in inserted) {
      this.#deny(inserted, 'a credential placeholder is out of place');
      return;
    }
    if (!core.secrets.empty && leaksInHead(core, checked)) throw secretFound(passing, 'the URL or a header');
    for (const reader of core.hooks.heads) this.#note(reader.read(passing));
    let reads = false;
    let inspects = true;
    for (const reader of core.hooks.beforeDecision) {
      if (!((checked.hasBody || reader.bodiless === true) && reader.needs(passing))) continue;
      reads = true;
      inspects &&= reader.inspects === true;
    }
    if (!reads) {
      this.#settle(passing);
      return;
    }
    const early = inspects ? this.#judge(passing).decision : undefined;
    if (early?.verdict === 'deny') this.#deny(early, 'denied');
    else void this.#collect(passing).catch((error: unknown) => this.#broken(error));
  }

  #note(read: Pick<Reading, 'escalate' | 'hidden'> | undefined): void {
    this.#escalate = read?.escalate ?? this.#escalate;
    if (read?.hidden !== undefined && read.hidden.size > 0) this.#hidden = new Set([...this.#hidden, ...read.hidden]);
  }

  /** Reads the body first, because the decision depends on it. */
  async #collect(passing: PassingRequest): Promise<void> {
    const core = this.#core;
    const { checked } = passing;
    if (!checked.hasBody) {
      for (const reader of core.hooks.beforeDecision) if (reader.bodiless === true) this.#understand(passing, await reader.read(passing, nothing, nothing));
      if (this.#state === 'deciding') this.#settle(passing);
      return;
    }
    const { bodyBytes: decided, bufferedBytes, bodyMs } = core.ports.limits;
    const bodyBytes = Math.max(decided, inspectedBytes(core));
    // What has a length is counted at once, what has none as it comes.
    let size = checked.length ?? 0;
    const tooLarge = (): Stopped => new Stopped(refusal(core.config.version, 'proxy.body-too-large', `The policy depends on the body of this request, and it is larger than ${bodyBytes} bytes, or too much is held already.`, 'Send a smaller body.'), 'the body is too large to decide on');
    if (size > bodyBytes || core.buffered + size > bufferedBytes) throw tooLarge();
    core.buffered += size;
    this.#wire.onClose(() => { core.buffered -= size; });
    this.#wire.goOn();
    const body = await collectBody(this.#wire.body, bodyBytes, bodyMs, (more) => {
      if (checked.length !== undefined) return true;
      if (core.buffered + more > bufferedBytes || this.#state !== 'deciding') return false;
      size += more;
      core.buffered += more;
      return true;
    });
    if (this.#state !== 'deciding') return;
    if (body === 'late') throw new Stopped(refusal(core.config.version, 'proxy.body-late', 'The policy depends on the body of this request, and it comes too slowly.', 'Send the body faster, or in smaller pieces.'), 'the body comes too slowly', 408);
    if (!Buffer.isBuffer(body)) throw tooLarge();
    const undone = undoEncodings(body, checked.contentEncoding, Math.max(decided * 4, bodyBytes));
    if (undone.state !== 'done') throw new Stopped(refusal(core.config.version, 'proxy.body-encoding', `It cannot be checked: ${undone.why}.`, 'Send the body without a content encoding.'), undone.why);
    const readable = undone.body;
    this.#body = body;
    this.#readable = readable;
    const attributes = new Map<string, unknown>();
    for (const reader of core.hooks.beforeDecision) {
      const reading = reader.read(passing, readable, this.#body);
      const read = reading instanceof Promise ? await reading : reading;
      if (this.#state !== 'deciding') return;
      for (const [name, value] of read?.attributes ?? []) attributes.set(name, value);
      this.#understand(passing, read);
      this.#body = read?.body ?? this.#body;
      this.#note(read);
    }
    this.#attributes = attributes;
    this.#settle(passing);
  }

  #understand(passing: PassingRequest, read: Reading | undefined): void {
    // What the head says that it is, no body makes it something else.
    const [said] = passing.asked;
    if (said?.message.protocol !== 'websocket' && said?.message.protocol !== 'grpc') passing.asked = read?.asked ?? passing.asked;
    this.#shape = read?.shape ?? this.#shape;
  }

  #settle(passing: PassingRequest): void {
    const judged = this.#judge(passing);
    passing.judged = judged;
    if (judged.decision.verdict === 'allow') void this.#forward(judged, passing, 'allowed');
    else if (judged.decision.verdict === 'escalate') void this.#hold(judged, passing).catch((error: unknown) => this.#broken(error));
    else this.#deny(judged.decision, 'denied');
  }

  #judge(passing: PassingRequest): Judged {
    return judgeRequest(passing, { attributes: this.#attributes, body: this.#body, escalate: this.#escalate });
  }

  /** A request that nothing was read of but its head is decided by its resources alone, as every other of this turn with the same ones. */
  #decisionNow(passing: PassingRequest, turn: SameTurn): Decision {
    if (this.#body || passing.asked.length > 0 || this.#escalate || this.#attributes.size > 0 || this.#core.ports.judge.headersNamed(this.#place.name).length > 0) return this.#judge(passing).decision;
    this.#resources ??= JSON.stringify(passing.checked.paths.map((path) => resourceOf(this.#place, passing.checked, path, [], undefined, this.#place.program)));
    const known = turn.get(this.#resources);
    if (known) return known;
    const { decision } = this.#judge(passing);
    turn.set(this.#resources, decision);
    return decision;
  }

  async #hold(judged: Judged, passing: PassingRequest): Promise<void> {
    const core = this.#core;
    const { approver, ids, limits, sandbox, judge } = core.ports;
    this.#state = 'held';
    const key = judge.key(judged.request);
    if (await approver.consumeGrant(sandbox, key)) {
      if (this.#live('held')) await this.#forward(judged, passing, 'allowed by an earlier approval', true);
      return;
    }
    if (!this.#live('held')) return;
    if (core.held >= limits.heldRequests) {
      this.#unavailable('too many requests wait for approval already');
      return;
    }
    const withdraw = new AbortController();
    this.#withdraw = withdraw;
    core.held += 1;
    core.counts.held += 1;
    let outcome: HoldOutcome;
    try {
      outcome = await approver.ask({
        holdId: ids.next('hold'), sandbox, kind: 'http', request: judged.request, decision: judged.decision, key, patienceMs: core.config.patience.httpMs,
        summary: holdSummary(this.#place, passing.checked), detail: holdDetail(this.#place, passing.checked, this.#readable, core.config.credentials, this.#hidden),
      }, withdraw.signal);
    } finally {
      core.held -= 1;
    }
    if (!this.#live('held')) return;
    if (outcome.verdict === 'allow') await this.#forward(judged, passing, `approved by ${outcome.by}`, true, outcome.approvalId);
    else if (outcome.verdict === 'deny') this.#deny({ ...judged.decision, verdict: 'deny', decidedBy: 'approval', reason: outcome.reason, hint: 'A person refused this request. Do not try it again; tell the user.' }, `rejected by ${outcome.by}`, { approvalId: outcome.approvalId });
    else if (outcome.verdict === 'waiting') {
      this.#record('escalate', 'still waiting for approval', judged.decision, { approvalId: outcome.approvalId });
      this.#tell(503, { status: 'waiting', approvalId: outcome.approvalId, rule: judged.decision.rules[0]?.id ?? 'default', reason: judged.decision.reason, hint: 'Send the identical request again later; it passes once after approval.' }, { 'retry-after': '30' });
      this.#finish();
    } else this.#deny({ ...judged.decision, verdict: 'deny', reason: outcome.reason, hint: 'Nobody could be asked. Try again later.' }, 'nobody could be asked');
  }

  /** Sends the request on. What was escalated, or cannot be undone, is on durable record first. */
  #forward(judged: Judged, passing: PassingRequest, message: string, approved = false, approvalId = ''): Promise<void> {
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
    const event = httpRecord(core.seen(this.#correlation), this.#place, checked.method, checked.paths[0] ?? '', approved ? 'approved' : 'allow', message, judged.decision, approvalId === '' ? undefined : { approvalId });
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
      this.#dispatch(passing);
    } catch (error) {
      this.#broken(error);
    }
  }

  #dispatch(passing: PassingRequest): void {
    const core = this.#core;
    const { hooks } = core;
    const { checked } = passing;
    const { name, port, tls } = this.#place;
    const headers = ['host', authority(this.#place), ...checked.headers];
    const inserted = this.#insert(checked, headers, this.#body || !checked.hasBody ? hashOf(this.#body) : undefined);
    if ('verdict' in inserted) {
      this.#deny(inserted, 'a credential placeholder is out of place');
      return;
    }
    this.#plainAnswer(passing, headers);
    if (this.#wire instanceof UpgradeWire) {
      this.#relay = dispatchWebSocket(core, passing, this.#wire, headers, inserted.used, { ended: () => this.#finish(), failed: (error) => this.#failed(error) });
      return;
    }
    const limit = this.#body || checked.hasBody ? bodyLimit(passing, this.#body?.length ?? checked.length ?? 0) : undefined;
    this.#wire.goOn();
    let body: Buffer | OutgoingBody | null = null;
    if (this.#body) body = this.#body;
    else if (checked.hasBody) {
      const transforms: ByteTransform[] = limit ? [limit] : [];
      for (const hook of hooks.outgoing) {
        const transform = isGrpc(checked.contentType) ? grpcTransform(hook, passing) : hook.open(passing);
        if (!transform) continue;
        transforms.push(transform);
        if (hook.changesLength) dropHeader(headers, 'content-length');
      }
      body = new OutgoingBody(this.#wire, transforms, core.pace);
    }
    if (Buffer.isBuffer(body)) sayLength(headers, checked, body);
    const relay = new Relay(this.#wire, inserted.used, (head) => incoming(passing, head), {
      data: (bytes) => { core.counts.bytesIn += bytes; },
      ended: () => {
        core.counts.bytesOut += Buffer.isBuffer(body) ? body.length : (body?.bytes ?? 0);
        this.#finish();
      },
      failed: (error) => this.#failed(error),
    });
    this.#relay = relay;
    const { version } = this.#wire;
    const send = (out: readonly string[], handler: Relay | RenewingHandler): void => core.ports.upstreams.send({ host: name, port, tls, version, path: checked.target, method: checked.method, headers: out, body, trailers: () => safeTrailers(this.#wire.trailers()) }, handler);
    if (!core.ports.renew || !inserted.used.some((one) => one.renewable === true)) {
      send(headers, relay);
      return;
    }
    const again = (): void => {
      if (!this.#live('forwarding')) return;
      const fresh = ['host', authority(this.#place), ...checked.headers];
      const anew = this.#insert(checked, fresh, hashOf(this.#body));
      if ('verdict' in anew) {
        this.#deny(anew, 'a credential placeholder is out of place');
        return;
      }
      this.#plainAnswer(passing, fresh);
      if (this.#body) sayLength(fresh, checked, this.#body);
      relay.mask(anew.used);
      this.#record('allow', 'sent again with a newer credential', passing.judged?.decision);
      send(fresh, relay);
    };
    send(headers, new RenewingHandler(relay, { renew: () => newerValues(core, inserted.used), again: body instanceof OutgoingBody ? undefined : again }));
  }

  /** What comes back is searched or read, so it must not come encoded. */
  #plainAnswer(passing: PassingRequest, headers: string[]): void {
    if (hasCredential(passing) || passing.asked.some(({ message }) => message.protocol === 'mcp')) for (const name of ['accept-encoding', 'grpc-accept-encoding']) dropHeader(headers, name);
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

  /** `bodyHash`: what a signature is made over, undefined where the body is not read. */
  #insert(checked: CheckedRequest, headers: string[], bodyHash: string | undefined): { readonly used: Parameters<typeof insertCredentials>[2] } | Decision {
    const { config, ports } = this.#core;
    const { name, port, tls } = this.#place;
    const result = insertCredentials(headers, checked.target, config.credentials, { host: name, port, method: checked.method, bodyHash, paths: checked.paths, confidential: tls || ports.upstreams.pinned(name) });
    if (result.state === 'done') return { used: result.used };
    return refusal(config.version, 'credentials.binding', `A credential placeholder stands in ${result.where}, where it is not bound to.`, 'Use the placeholder only in the header and for the host it was given for.');
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
    const told = this.#shape?.(data, status);
    answerJson(this.#wire, told?.status ?? status, data, headers, told?.body);
  }

  /** A hook refused. */
  #stop(stopped: Stopped): void {
    this.#deny(stopped.decision, stopped.message, {}, stopped.status, stopped.headers);
    this.#relay?.stop(stopped);
  }

  /** What is no request that any policy could be asked about. */
  refuse(problem: Problem): void {
    const core = this.#core;
    core.counts.refused += 1;
    const decision = refusal(core.config.version, `proxy.${problem.code}`, `${problem.why}.`, 'Send a plain, unambiguous request.');
    const { method = '', url = '' } = this.#wire.fields;
    core.ports.audit.emit(httpRecord(core.seen(this.#correlation), this.#place, method, pathOf(url), 'deny', problem.why, decision));
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
    core.ports.audit.emit(httpRecord(core.seen(this.#correlation), this.#place, this.#wire.fields.method ?? '', this.#passing?.checked.paths[0] ?? '', verdict, message, decision, more));
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
    if (held) this.#record('deny', 'the client went away while it waited', this.#passing?.judged?.decision);
    this.#withdraw?.abort();
    this.#relay?.stop(new Error('the client went away'));
  };
}

const nothing = Buffer.alloc(0);
const noAttributes: ReadonlyMap<string, unknown> = new Map();
const nothingHidden: ReadonlySet<string> = new Set();
const atOnce = Promise.resolve();

/** What looks at the answer, in the order of the hooks. */
function incoming(passing: PassingRequest, head: AnswerHead): readonly ByteTransform[] {
  const messages = isGrpc(passing.checked.contentType);
  const out: ByteTransform[] = [];
  for (const hook of passing.core.hooks.incoming) {
    const transform = messages ? grpcAnswer(hook, passing, head) : hook.open(passing, head);
    if (transform) out.push(transform);
  }
  return out;
}

/** For the record: parameters may be anything, and so may what stands before a path. */
const pathOf = (target: string): string => (target.startsWith('/') ? (target.split(/[?#]/)[0] ?? '') : '');

function dropHeader(headers: string[], name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) if (headers[i]?.toLowerCase() === name) headers.splice(i, 2);
}

/** A body that was replaced, or that came in chunks and is here as a whole, has a length of its own. */
function sayLength(headers: string[], checked: CheckedRequest, body: Buffer): void {
  if (checked.length === body.length) return;
  dropHeader(headers, 'content-length');
  headers.push('content-length', String(body.length));
}

function failure(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return code === '' ? error.message.slice(0, 200) : `${code}: ${error.message.slice(0, 200)}`;
}
