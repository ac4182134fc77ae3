/** One request from check to answer: decided, held if a person has to be asked, forwarded or refused, and recorded. */
import { hash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ActionRequest, Decision, HoldOutcome } from '@nemoclaw/contract';
import { answerJson, denialBody } from './answers.ts';
import { decodeBody, readAttributes } from './body-attributes.ts';
import type { Core, Reconsidered } from './core.ts';
import { refusal } from './core.ts';
import { insertCredentials } from './credentials.ts';
import { holdDetail, holdSummary } from './hold-card.ts';
import { authority, stricter } from './judge.ts';
import type { HttpResource } from './judge.ts';
import { collectBody, OutgoingBody, SecretInBody } from './outgoing-body.ts';
import { httpRecord } from './records.ts';
import { Relay } from './relay.ts';
import { checkRequest, isProblem } from './request-check.ts';
import type { CheckedRequest, Place, Problem } from './request-check.ts';
import { AddressRefused } from './upstreams.ts';

interface Judged {
  readonly request: ActionRequest;
  readonly decision: Decision;
}
const safe = new Set(['GET', 'HEAD', 'OPTIONS']);

export class Exchange implements Reconsidered {
  readonly #core: Core;
  readonly #place: Place;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #correlation: string;
  #expects: boolean;
  #state: 'deciding' | 'held' | 'forwarding' | 'done' = 'deciding';
  #checked: CheckedRequest | undefined;
  #judged: Judged | undefined;
  #body: Buffer | undefined;
  /** The body without its content encoding: what a person is shown. */
  #readable: Buffer | undefined;
  #attributes: ReadonlyMap<string, unknown> = new Map();
  #approved = false;
  #withdraw: AbortController | undefined;
  #relay: Relay | undefined;

  constructor(core: Core, place: Place, req: IncomingMessage, res: ServerResponse, expects: boolean) {
    this.#core = core;
    this.#place = place;
    this.#req = req;
    this.#res = res;
    this.#expects = expects;
    this.#correlation = core.correlation();
  }

  /** Starts; never throws, never rejects. */
  run(): void {
    this.#core.counts.requests += 1;
    this.#core.open.add(this);
    this.#res.on('close', this.#closed);
    try {
      this.#check();
    } catch (error) {
      this.#broken(error);
    }
  }

  /** The policy changed: what is decided otherwise now ends, the rest goes on. */
  reconsider(): void {
    if (!this.#checked || this.#state === 'done' || this.#state === 'deciding') return;
    const now = this.#judge(this.#checked);
    if (this.#state === 'held') {
      if (now.decision.verdict === 'escalate') return;
      this.#withdraw?.abort('policy');
      if (now.decision.verdict === 'deny') this.#deny(now.decision, 'refused by the new policy while it waited');
      else void this.#forward(now, this.#checked, 'allowed by the new policy while it waited');
      return;
    }
    if (now.decision.verdict === 'allow' || (now.decision.verdict === 'escalate' && this.#approved)) return;
    // The answer comes before the stop, which would be taken for a failure of the upstream.
    if (!this.#res.headersSent) this.#deny(now.decision, 'ended by the new policy');
    else {
      this.#record('deny', 'ended by the new policy', now.decision);
      this.#finish();
      this.#res.destroy();
    }
    this.#relay?.stop(new Error('the policy changed'));
  }

  #check(): void {
    const checked = checkRequest(this.#req, this.#place);
    if (isProblem(checked)) {
      this.#refuse(checked);
      return;
    }
    this.#checked = checked;
    const { judge } = this.#core.ports;
    const { secrets } = this.#core;
    const inserted = this.#core.config.credentials.length > 0 ? this.#insert(checked, [...checked.headers]) : undefined;
    if (inserted && 'verdict' in inserted) {
      this.#deny(inserted, 'a credential placeholder is out of place');
      return;
    }
    if (judge.scan && !secrets.empty && this.#leaks(checked)) {
      this.#deny(this.#leak('the URL or a header'), 'a secret of this sandbox is in the URL or a header');
      return;
    }
    const encoded = checked.contentEncoding !== '' && checked.contentEncoding !== 'identity';
    const needed = checked.hasBody && (checked.paths.some((path) => judge.needsBody(this.#resource(checked, path), this.#core.history)) || (encoded && judge.scan && !secrets.empty));
    if (needed) void this.#collect(checked).catch((error: unknown) => this.#broken(error));
    else this.#settle(checked);
  }

  /** Reads the body first, because the decision depends on it. */
  async #collect(checked: CheckedRequest): Promise<void> {
    const core = this.#core;
    const { bodyBytes, bufferedBytes } = core.ports.limits;
    const size = checked.length ?? bodyBytes;
    if (size > bodyBytes || core.buffered + size > bufferedBytes) {
      this.#deny(refusal(core.config.version, 'proxy.body-too-large', `The policy depends on the body of this request, and it is larger than ${bodyBytes} bytes.`, 'Send a smaller body.'), 'the body is too large to decide on');
      return;
    }
    core.buffered += size;
    this.#res.once('close', () => { core.buffered -= size; });
    this.#goOn();
    const body = await collectBody(this.#req, bodyBytes);
    if (this.#state !== 'deciding') return;
    if (body === undefined) {
      this.#deny(refusal(core.config.version, 'proxy.body-too-large', `The policy depends on the body of this request, and it is larger than ${bodyBytes} bytes.`, 'Send a smaller body.'), 'the body is too large to decide on');
      return;
    }
    const readable = decodeBody(body, checked.contentEncoding, bodyBytes * 4);
    if (readable === undefined) {
      this.#deny(refusal(core.config.version, 'proxy.body-encoding', 'The content encoding of the body cannot be undone, so it cannot be checked.', 'Send the body without a content encoding.'), 'the body cannot be decoded');
      return;
    }
    if (core.ports.judge.scan && core.secrets.inBytes(readable)) {
      this.#deny(this.#leak('the body'), 'a secret of this sandbox is in the body');
      return;
    }
    const read = readAttributes(readable, checked.contentType);
    if (read.state === 'ambiguous') {
      this.#deny(refusal(core.config.version, 'proxy.body-ambiguous', `The policy depends on the body of this request, and ${read.why}.`, 'Send a body that every parser reads alike.'), read.why);
      return;
    }
    this.#body = body;
    this.#readable = readable;
    this.#attributes = read.attributes;
    this.#settle(checked);
  }

  #settle(checked: CheckedRequest): void {
    const judged = this.#judge(checked);
    this.#judged = judged;
    if (judged.decision.verdict === 'allow') void this.#forward(judged, checked, 'allowed');
    else if (judged.decision.verdict === 'escalate') void this.#hold(judged, checked).catch((error: unknown) => this.#broken(error));
    else this.#deny(judged.decision, 'denied');
  }

  /** The strictest decision over all readings of the path. */
  #judge(checked: CheckedRequest): Judged {
    let strictest: Judged | undefined;
    for (const path of checked.paths) {
      const judged = this.#judgePath(checked, path);
      strictest = strictest ? stricter(strictest, judged) : judged;
    }
    return strictest ?? { request: this.#core.request('http', { kind: 'none' }), decision: refusal(this.#core.config.version, 'error', 'the request has no path', '') };
  }

  #judgePath(checked: CheckedRequest, path: string): Judged {
    const resource = this.#resource(checked, path);
    const bare = this.#core.request('http', resource);
    let request = bare;
    try {
      const known = this.#core.ports.judge.action(resource, this.#attributes);
      if (known) request = { ...bare, action: known.action, params: this.#bound(known.params), labels: known.labels };
      else if (this.#body) request = { ...bare, params: this.#bound(this.#attributes) };
    } catch {
      return { request, decision: refusal(this.#core.config.version, 'error', 'the action of this request could not be read', '') };
    }
    return { request, decision: this.#core.decide(request) };
  }

  /** A body without fields is bound by its hash, so that an approval is for this body and no other. */
  #bound(params: ReadonlyMap<string, unknown>): ReadonlyMap<string, unknown> {
    if (!this.#body || this.#body.length === 0 || this.#attributes.size > 0) return params;
    return new Map([...params, ['bodyHash', hash('sha256', this.#body, 'hex')]]);
  }

  #resource(checked: CheckedRequest, path: string): HttpResource {
    const { name, port, tls } = this.#place;
    return { kind: 'http', host: name, port, method: checked.method, path, query: checked.query, tls };
  }

  async #hold(judged: Judged, checked: CheckedRequest): Promise<void> {
    const core = this.#core;
    const { approver, ids, limits, sandbox, judge } = core.ports;
    this.#state = 'held';
    const key = judge.key(judged.request);
    if (await approver.consumeGrant(sandbox, key)) {
      if (this.#live('held')) await this.#forward(judged, checked, 'allowed by an earlier approval', true);
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
        summary: holdSummary(this.#place, checked), detail: holdDetail(this.#place, checked, this.#readable, core.config.credentials),
      }, withdraw.signal);
    } finally {
      core.held -= 1;
    }
    if (!this.#live('held')) return;
    if (outcome.verdict === 'allow') await this.#forward(judged, checked, `approved by ${outcome.by}`, true, outcome.approvalId);
    else if (outcome.verdict === 'deny') this.#deny({ ...judged.decision, verdict: 'deny', decidedBy: 'approval', reason: outcome.reason, hint: 'A person refused this request. Do not try it again; tell the user.' }, `rejected by ${outcome.by}`, { approvalId: outcome.approvalId });
    else if (outcome.verdict === 'waiting') {
      this.#record('escalate', 'still waiting for approval', judged.decision, { approvalId: outcome.approvalId });
      answerJson(this.#req, this.#res, 503, { status: 'waiting', approvalId: outcome.approvalId, rule: judged.decision.rules[0]?.id ?? 'default', reason: judged.decision.reason, hint: 'Send the identical request again later; it passes once after approval.' }, { 'retry-after': '30' });
      this.#finish();
    } else this.#deny({ ...judged.decision, verdict: 'deny', reason: outcome.reason, hint: 'Nobody could be asked. Try again later.' }, 'nobody could be asked');
  }

  /** Sends the request on. What was escalated, or cannot be undone, is on durable record first. */
  async #forward(judged: Judged, checked: CheckedRequest, message: string, approved = false, approvalId = ''): Promise<void> {
    const core = this.#core;
    this.#state = 'forwarding';
    this.#judged = judged;
    this.#approved = approved;
    core.counts.allowed += 1;
    const event = httpRecord(core.seen(this.#correlation), this.#place, checked.method, checked.paths[0] ?? '', approved ? 'approved' : 'allow', message, judged.decision, approvalId === '' ? {} : { approvalId });
    if (approved || (judged.decision.action !== '' && judged.decision.intent.reversibility === 'irreversible' && !safe.has(checked.method))) {
      try {
        await core.ports.audit.commit(event);
      } catch {
        if (this.#live('forwarding')) this.#unavailable('the record cannot be written, so this request cannot be made');
        return;
      }
      if (!this.#live('forwarding')) return;
    } else core.ports.audit.emit(event);
    try {
      this.#dispatch(checked);
    } catch (error) {
      this.#broken(error);
    }
  }

  #dispatch(checked: CheckedRequest): void {
    const core = this.#core;
    const { name, port, tls } = this.#place;
    const headers = ['host', authority(this.#place), ...checked.headers];
    const inserted = this.#insert(checked, headers);
    if ('verdict' in inserted) {
      this.#deny(inserted, 'a credential placeholder is out of place');
      return;
    }
    this.#goOn();
    const watch = core.ports.judge.scan && !core.secrets.empty ? core.secrets.watch() : undefined;
    const body = !checked.hasBody ? null : (this.#body ?? new OutgoingBody(this.#req, watch));
    if (body && checked.length === undefined && Buffer.isBuffer(body)) headers.push('content-length', String(body.length));
    const relay = new Relay(this.#req, this.#res, inserted.used, {
      started: () => undefined,
      data: (bytes) => { core.counts.bytesIn += bytes; },
      ended: () => {
        core.counts.bytesOut += Buffer.isBuffer(body) ? body.length : (body?.bytes ?? 0);
        this.#finish();
      },
      failed: (error, headSent) => this.#failed(error, headSent),
    });
    this.#relay = relay;
    core.ports.upstreams.pool(name, port, tls).dispatch({ path: checked.target, method: checked.method as 'GET', headers, body }, relay);
  }

  #failed(error: Error, headSent: boolean): void {
    if (this.#state === 'done') return;
    if (error instanceof SecretInBody) this.#deny(this.#leak('the body'), 'a secret of this sandbox is in the body');
    else if (error instanceof AddressRefused) this.#deny(refusal(this.#core.config.version, 'network.addresses', error.message, 'Ask the operator to name the address in the network policy (`addresses`).'), 'the name leads to an address that is not allowed');
    else {
      this.#record('allow', `the upstream failed: ${failure(error)}`, this.#judged?.decision, { error: failure(error) });
      if (!headSent) answerJson(this.#req, this.#res, 502, { error: 'upstream_failed', reason: failure(error), hint: 'The request was allowed, but the other side could not be reached or answered wrongly.' });
      this.#finish();
    }
  }

  #insert(checked: CheckedRequest, headers: string[]): { readonly used: Parameters<typeof insertCredentials>[2] } | Decision {
    const { config, ports } = this.#core;
    const { name, tls } = this.#place;
    const result = insertCredentials(headers, checked.target, config.credentials, { host: name, paths: checked.paths, confidential: tls || ports.upstreams.pinned(name) });
    if (result.state === 'done') return { used: result.used };
    return refusal(config.version, 'credentials.binding', `A credential placeholder stands in ${result.where}, where it is not bound to.`, 'Use the placeholder only in the header and for the host it was given for.');
  }

  #leaks(checked: CheckedRequest): boolean {
    const { secrets, config } = this.#core;
    if (secrets.inText(checked.target)) return true;
    // A placeholder in its own header has been checked already; what is left must hold no secret.
    let text = checked.headers.join('\n');
    for (const { placeholder } of config.credentials) text = text.split(placeholder).join('');
    const basic = /\bbasic +([A-Za-z0-9+/=_-]+)/i.exec(text)?.[1];
    if (basic !== undefined) {
      const decoded = Buffer.from(basic, 'base64').toString('utf8');
      if (config.credentials.some(({ value }) => value !== '' && decoded.includes(value))) return true;
      text = text.replace(basic, '');
    }
    return secrets.inText(text);
  }

  #leak(where: string): Decision {
    return refusal(this.#core.config.version, 'inspection.scanForPII', `A secret of this sandbox stands in ${where}.`, 'Secrets are put in outside the sandbox; never send one yourself.');
  }

  /** Answers `Expect: 100-continue`, once, after the policy let the request pass this far. */
  #goOn(): void {
    if (!this.#expects) return;
    this.#expects = false;
    this.#res.writeContinue();
  }

  #deny(decision: Decision, message: string, more: Readonly<Record<string, unknown>> = {}): void {
    this.#core.counts.denied += 1;
    this.#record('deny', message, decision, more);
    this.#finish();
    answerJson(this.#req, this.#res, 403, { ...denialBody(decision), ...more });
  }

  #refuse(problem: Problem): void {
    const core = this.#core;
    core.counts.refused += 1;
    const decision = refusal(core.config.version, `proxy.${problem.code}`, `${problem.why}.`, 'Send a plain, unambiguous request.');
    core.ports.audit.emit(httpRecord(core.seen(this.#correlation), this.#place, this.#req.method ?? '', this.#req.url ?? '', 'deny', problem.why, decision));
    this.#finish();
    // Whatever follows on this connection is not trusted either.
    answerJson(this.#req, this.#res, problem.status, { error: problem.code, rule: `proxy.${problem.code}`, reason: problem.why, layer: 'proxy' }, { connection: 'close' });
  }

  #unavailable(reason: string): void {
    this.#record('deny', reason, this.#judged?.decision);
    answerJson(this.#req, this.#res, 503, { error: 'unavailable', reason, layer: 'proxy' }, { 'retry-after': '5' });
    this.#finish();
  }

  #broken(error: unknown): void {
    if (this.#state === 'done') return;
    this.#record('deny', 'failed inside the proxy', refusal(this.#core.config.version, 'error', 'The proxy failed on this request.', ''), { error: failure(error) });
    this.#finish();
    answerJson(this.#req, this.#res, 500, { error: 'internal', rule: 'error', reason: 'the proxy failed on this request', layer: 'proxy' });
    this.#relay?.stop(new Error('failed inside the proxy'));
  }

  #record(verdict: 'allow' | 'deny' | 'escalate', message: string, decision: Decision | undefined, more: Readonly<Record<string, unknown>> = {}): void {
    const core = this.#core;
    core.ports.audit.emit(httpRecord(core.seen(this.#correlation), this.#place, this.#req.method ?? '', this.#checked?.paths[0] ?? '', verdict, message, decision, more));
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
    if (held) this.#record('deny', 'the client went away while it waited', this.#judged?.decision);
    this.#withdraw?.abort();
    this.#relay?.stop(new Error('the client went away'));
  };
}

function failure(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return code === '' ? error.message.slice(0, 200) : `${code}: ${error.message.slice(0, 200)}`;
}
