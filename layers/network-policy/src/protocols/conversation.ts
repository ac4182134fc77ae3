/** What every conversation that is not HTTP shares: its decisions, its records, its wait for a person, and its end by a policy change. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ActionRequest, AppMessage, Decision } from '@nemoclaw/contract';
import { safeLine } from '@nemoclaw/contract';
import { withoutPlaceholders } from '../credentials/credentials.ts';
import { askPerson } from '../judge/ask-person.ts';
import type { Question } from '../judge/ask-person.ts';
import { Stopped } from '../hooks.ts';
import type { TlsContexts } from '../tls/contexts.ts';
import type { Core, Reconsidered } from '../core.ts';
import { begunElsewhere, begunUnread, refusal } from '../core.ts';
import type { Examination, Examined } from '../inspect/examine.ts';
import { strictest, type Found, type InspectionSettings } from '../inspect/findings.ts';
import { inspectAside } from '../inspect/inspect-aside.ts';
import { valuesOf } from '../inspect/inspect-values.ts';
import { blocked, lookedFor, looksForMore, recordFound, settingsOf, type Reported } from '../inspect/report.ts';
import { authority } from '../judge/judge.ts';
import { connectionRecord } from '../records.ts';
import { countAgainst } from '../judge/rule-limits.ts';
import type { Place } from '../http/request-check.ts';
import type { Sought } from '../taint/memory.ts';
import { keepsTainted, maskTainted } from '../taint/taint.ts';
import { samePin, type Pin } from '../upstream/pins.ts';
import { AddressRefused } from '../upstream/upstreams.ts';

export interface Judged {
  readonly request: ActionRequest;
  readonly decision: Decision;
}
/** `approvalId` is '' where nobody was asked. */
export type Asked = { readonly verdict: 'allow'; readonly approvalId: string } | { readonly verdict: 'deny' | 'waiting'; readonly decision: Decision; readonly approvalId: string };

/** The key of what a person is asked about. */
const asked = ' asked';
/** Names of what one conversation may have under way. */
const mostRunning = 4096;

interface Running {
  readonly request: ActionRequest;
  readonly asks: boolean;
}

/** Why something is not said. */
export interface Stop {
  readonly decision: Decision;
  readonly message: string;
}

/** How values are looked at. `way`: what they are, in a word. `place`: where value n, from 1, stands. */
export interface Said {
  readonly way: string;
  readonly counts: (found: Found) => boolean;
  readonly place: (n: number) => string;
}

const inNames: ReadonlySet<string> = new Set(['email', 'ip', 'phone']);
/** In names and addresses, which a protocol itself has. */
export const countsInName = ({ type }: Found): boolean => !inNames.has(type);
/** What somebody logs in with may be a secret, but none of the sandbox's own. */
const countsInLogin = (found: Found): boolean => countsInName(found) && found.type !== 'secret';

export abstract class Conversation implements Reconsidered {
  protected readonly core: Core;
  protected readonly place: Place;
  readonly #correlation: string;
  readonly #withdraw = new AbortController();
  readonly #pin: Pin | undefined;
  #ended = false;
  /** What was let in and is not over: it is decided again when the policy changes. */
  readonly #running = new Map<string, Running>();

  protected constructor(core: Core, place: Place) {
    this.core = core;
    this.place = place;
    this.#correlation = core.correlation();
    this.#pin = core.ports.upstreams.pinOf(place.name);
  }

  /** Holds the conversation until it is over. Never rejects. */
  async run(client: Socket): Promise<void> {
    this.core.open.add(this);
    client.once('close', () => this.end());
    try {
      await this.talk();
    } catch (error) {
      this.#failed(error);
    }
    this.end();
  }

  reconsider(): void {
    if (!samePin(this.#pin, this.core.ports.upstreams.pinOf(this.place.name))) return this.#overtaken(begunElsewhere(this.core.config.version));
    for (const { request: { resource, params }, asks } of this.#running.values()) {
      const decision = this.core.decide({ ...this.core.request('connect', resource), params });
      if (decision.verdict === 'allow' || (decision.verdict === 'escalate' && asks)) continue;
      return this.#overtaken(decision);
    }
  }

  #overtaken(decision: Decision): void {
    this.record('deny', 'ended by the new policy', decision);
    this.refuse(decision);
    this.end();
  }

  /** `judged` was let in, under this key, until `settled`. `asks`: a person was asked about it, or can still be before anything of it leaves. */
  protected runs(key: string, { request }: Judged, asks: boolean): void {
    if (this.#ended) return;
    this.#running.set(key, { request, asks });
    // No protocol has so many words.
    if (this.#running.size > mostRunning) this.end();
  }

  /** What was let in is over, but for the conversation itself (key '') and what a person is asked about. */
  protected settled(): void {
    for (const key of this.#running.keys()) if (key !== '' && key !== asked) this.#running.delete(key);
  }

  /** For what is found in it. */
  protected get about(): Reported {
    return { core: this.core, place: this.place, correlation: this.#correlation };
  }

  protected get over(): boolean {
    return this.#ended;
  }

  /** The conversation, from its first byte to its last. */
  protected abstract talk(): Promise<void>;
  /** Tells the client, in the words of its protocol, that this is where it ends. */
  protected abstract refuse(decision: Decision): void;
  /** Closes whatever is open. */
  protected abstract close(): void;
  /** Reads on, a little, so that it is seen when the client closes its side. Until what is given back is called. */
  protected abstract readAhead(): () => void;
  protected judge(message: AppMessage, params: ReadonlyMap<string, unknown> = noParams): Judged {
    const request: ActionRequest = { ...this.core.request('connect', { kind: 'host', host: this.place.name, port: this.place.port, message, ...this.core.programAt(this.place) }), params };
    return { request, decision: this.core.decide(request) };
  }

  /** Asks a person about what is escalated; the question ends with the client. What is allowed so is on durable record before this resolves. */
  protected async ask(judged: Judged, summary: string, detail: string): Promise<Asked> {
    const { request, decision } = judged;
    const { judge, audit } = this.core.ports;
    const stop = this.readAhead();
    this.runs(asked, judged, true);
    const before = lookedFor(this.core);
    const outcome = await askPerson(this.core, { ...judged, key: judge.key(request), card: () => this.#card(request, summary, detail) }, this.#withdraw.signal).finally(stop);
    this.#running.delete(asked);
    if (outcome === 'full') return { verdict: 'waiting', decision: { ...decision, reason: 'Too many requests wait for approval already.' }, approvalId: '' };
    const approvalId = outcome === 'granted' || outcome.verdict === 'unavailable' ? '' : outcome.approvalId;
    if (outcome !== 'granted' && outcome.verdict === 'waiting') return { verdict: 'waiting', decision, approvalId };
    if (outcome !== 'granted' && outcome.verdict !== 'allow') return { verdict: 'deny', decision: { ...decision, verdict: 'deny', decidedBy: 'approval', reason: outcome.reason }, approvalId };
    if (looksForMore(this.core, before)) return { verdict: 'deny', decision: begunUnread(this.core.config.version), approvalId };
    await audit.commit(connectionRecord(this.core.seen(this.#correlation), this.place, 'approved', 'approved', decision, { approvalId }));
    return { verdict: 'allow', approvalId };
  }

  #card(request: ActionRequest, summary: string, detail: string): ReturnType<Question['card']> {
    const { tainted } = this;
    return { summary: maskTainted(safeLine(summary, 200), tainted), detail: maskTainted(detail, tainted), tainted: keepsTainted(request, '', tainted) };
  }

  /** What may not be said to this place. `accepts` is for what has requests: here one rule may let in what another has to answer for. */
  protected get tainted(): Sought | undefined {
    return this.core.taint.sought(this.about, []);
  }

  /** Inspects what is said, in its turn. Undefined where that cannot be done: then it must not go on. */
  protected async inspect(what: Pick<Examination, 'bytes' | 'contentType' | 'mail' | 'ends'>, { scanForPII, actions }: InspectionSettings): Promise<Examined | undefined> {
    const { pace, ports, secrets } = this.core;
    try {
      await pace.rested();
      return await pace.measure(() => inspectAside(ports.sandbox, { ...what, known: secrets.known, tainted: this.tainted, settings: { scanForPII, ...(actions ? { actions } : {}) } }));
    } catch {
      return undefined;
    }
  }

  /** What forbids to say these values, by their classes. Nothing can be taken out of them, nor asked about while others wait behind them: `redact` and `escalate` block. The sandbox's own secrets never leave. */
  protected async stopIn(values: readonly Buffer[], { way, counts, place }: Said): Promise<Stop | undefined> {
    const settings = settingsOf(this.core);
    if (values.length === 0) return undefined;
    if (!settings.scanForPII) {
      const at = values.findIndex((value) => this.core.secrets.inBytes(value));
      return at < 0 ? undefined : blocked(this.about, { type: 'known-secret', kind: 'known', confidence: 1, place: place(at + 1) });
    }
    const examined = await this.inspect({ ...valuesOf(values), contentType: '' }, settings);
    if (!examined) return { decision: this.refusal('inspection.scanForPII', `The ${way} could not be inspected.`, 'Send it again later, or in smaller pieces.'), message: `the ${way} could not be inspected` };
    const found = examined.found.filter(counts).map((one) => ({ ...one, place: one.place.replace(/value (\d+)/, (_, n) => place(Number(n))) }));
    const worst = strictest(found, settings);
    if (worst) recordFound(this.about, way, found, worst.action === 'log' ? 'log' : 'block');
    return worst && worst.action !== 'log' ? blocked(this.about, worst.found) : undefined;
  }

  /** The same of what somebody logs in with, where placeholders may stand. */
  protected stopInLogin(texts: readonly string[]): Promise<Stop | undefined> {
    const rest = texts.map((text) => Buffer.from(withoutPlaceholders(text, this.core.config.credentials)));
    return this.stopIn(rest, { way: 'login', counts: countsInLogin, place: () => 'the login' });
  }

  /** Counts what is about to be sent against the rate of its rule; the denial where that many were sent already. */
  protected overRate(message: AppMessage): Decision | undefined {
    const over = countAgainst(this.core, { kind: 'host', host: this.place.name, port: this.place.port, message, ...this.core.programAt(this.place) });
    if (!over?.monitor) return over?.decision;
    this.core.ports.audit.emit(connectionRecord(this.core.seen(this.#correlation), this.place, 'observe', 'over the rate of its rule, which only watches', over.decision));
    return undefined;
  }

  protected record(verdict: 'allow' | 'deny' | 'escalate', message: string, decision: Decision | undefined, more: Readonly<Record<string, unknown>> = {}): void {
    if (verdict === 'deny') this.core.counts.denied += 1;
    this.core.ports.audit.emit(connectionRecord(this.core.seen(this.#correlation), this.place, verdict, message, decision, more));
  }

  protected refusal(rule: string, reason: string, hint: string): Decision {
    return refusal(this.core.config.version, rule, reason, hint);
  }

  /** Our server side of TLS on the client's connection. Rejects if the handshake fails, or is for another name. */
  protected async encrypt(socket: Socket, contexts: TlsContexts): Promise<TLSSocket> {
    const tls = new TLSSocket(socket, { isServer: true, secureContext: contexts.for(this.place.name) });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => fail(), this.core.ports.limits.helloMs);
      const fail = (): void => {
        clearTimeout(timer);
        tls.destroy();
        reject(new Error('the client gave up the TLS handshake; it may not trust the sandbox certificate authority'));
      };
      tls.on('error', fail);
      tls.on('_tlsError', fail);
      tls.once('close', fail);
      tls.once('secure', () => {
        clearTimeout(timer);
        tls.off('close', fail);
        resolve();
      });
    });
    this.core.counts.handshakes += 1;
    // A socket's name is typed as boolean where there is none.
    const named: unknown = Reflect.get(tls, 'servername');
    if (typeof named === 'string' && named.toLowerCase() !== this.place.name) {
      tls.destroy();
      throw new Error('the server name is not the name that was looked up');
    }
    return tls;
  }

  protected end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.core.open.delete(this);
    this.#withdraw.abort();
    this.close();
  }

  #failed(error: unknown): void {
    if (this.#ended) return;
    const why = error instanceof Error ? error.message : 'the conversation failed';
    const decision = error instanceof Stopped ? error.decision : this.refusal(error instanceof AddressRefused ? 'network.addresses' : 'proxy.conversation', why, '');
    this.record('deny', why, decision);
    this.refuse(decision);
  }

  protected get where(): string {
    return safeLine(authority(this.place));
  }
}

const noParams: ReadonlyMap<string, unknown> = new Map();
