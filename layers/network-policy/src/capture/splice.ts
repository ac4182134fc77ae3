/** A connection whose bytes are not read: decided once by host and port, then joined to the checked address. Where its client waits for the server, only what the client says first is looked at. */
import type { Socket } from 'node:net';
import { safeLine, type Decision, type LedgerEvent } from '@nemoclaw/contract';
import { askPerson } from '../judge/ask-person.ts';
import type { Core, Reconsidered } from '../core.ts';
import { begunElsewhere, begunUnread, refusal } from '../core.ts';
import { countAgainst } from '../judge/rule-limits.ts';
import { authority } from '../judge/judge.ts';
import type { HostResource } from '../judge/judge.ts';
import { connectionRecord } from '../records.ts';
import type { Place } from '../http/request-check.ts';
import { samePin, type Pin } from '../upstream/pins.ts';
import { AddressRefused } from '../upstream/upstreams.ts';
import { firstWords } from './first-words.ts';

/** Bytes that are read before the other side gets them, at most: the end of what the client says stands behind them. */
const mostAhead = 64 * 1024;

export class Splice implements Reconsidered {
  readonly #core: Core;
  readonly #place: Place;
  readonly #client: Socket;
  readonly #correlation: string;
  readonly #withdraw = new AbortController();
  /** What the client said and the other side has not got yet. */
  #ahead = Buffer.alloc(0);
  /** Set while the client may still turn out to speak TLS or HTTP. */
  #aside: (() => void) | undefined;
  #serverSpoke = false;
  /** Passes on what the client says. */
  #join: (() => void) | undefined;
  #late: NodeJS.Timeout | undefined;
  /** Where it was connected to. */
  #pin: Pin | undefined;
  #approved = false;
  #asking = false;
  #upstream: Socket | undefined;
  #done = false;

  /** `aside`: called, with all its bytes unread again, if the client speaks TLS or HTTP before the server speaks; without it the client is passed on whatever it says. */
  constructor(core: Core, place: Place, client: Socket, aside?: () => void) {
    this.#core = core;
    this.#place = place;
    this.#client = client;
    this.#aside = aside;
    this.#correlation = core.correlation();
    this.#pin = core.ports.upstreams.pinOf(place.name);
  }

  /** `client` is paused, with every byte it sent so far still unread. Never rejects. */
  async run(): Promise<void> {
    this.#core.open.add(this);
    // A side that has said all may still listen: each end is passed on by itself.
    this.#client.allowHalfOpen = true;
    this.#client.once('close', () => this.#end(this.#client));
    try {
      await this.#decide();
    } catch (error) {
      this.#refuse(refusal(this.#core.config.version, error instanceof AddressRefused ? 'network.addresses' : 'error', error instanceof Error ? error.message : 'the connection failed', ''), 'the upstream could not be reached');
    }
  }

  get #resource(): HostResource {
    return { kind: 'host', host: this.#place.name, port: this.#place.port, ...this.#core.programAt(this.#place) };
  }

  reconsider(): void {
    if (this.#done) return;
    const decision = this.#judge();
    if (decision.verdict === 'deny' || (decision.verdict === 'escalate' && !this.#approved && !this.#asking)) this.#refuse(decision, 'ended by the new policy');
    else if (!this.#unread) this.#refuse(begunUnread(this.#core.config.version), 'ended by the new policy');
    else if (!this.#asking && !samePin(this.#pin, this.#core.ports.upstreams.pinOf(this.#place.name))) this.#refuse(begunElsewhere(this.#core.config.version), 'ended by the new policy');
  }

  /** Whether the policy has such connections passed on unread. */
  get #unread(): boolean {
    const handling = this.#core.ports.judge.handling(this.#place.name, this.#place.port);
    return handling === 'unread' || handling === (this.#place.tls ? 'passthrough' : 'raw');
  }

  #judge(): Decision {
    return this.#core.decide(this.#core.request('connect', this.#resource));
  }

  async #decide(): Promise<void> {
    const { judge, audit, upstreams } = this.#core.ports;
    const decision = this.#judge();
    if (decision.verdict === 'deny') {
      this.#refuse(decision, 'denied');
      return;
    }
    // The policy may say so since its client began.
    if (!this.#unread) return this.#refuse(begunUnread(this.#core.config.version), 'to be read by the new policy');
    if (this.#aside || decision.verdict === 'escalate') this.#readAhead();
    if (this.#done) return;
    if (decision.verdict === 'escalate') {
      const request = this.#core.request('connect', this.#resource);
      const where = safeLine(authority(this.#place));
      this.#asking = true;
      const outcome = await askPerson(this.#core, { request, decision, key: judge.key(request), card: () => ({ summary: `connect to ${where}`, detail: `An unread connection to ${where}.` }) }, this.#withdraw.signal);
      if (outcome !== 'granted' && this.#withdraw.signal.aborted) {
        this.#refuse({ ...decision, verdict: 'deny' }, 'the client closed its side of the connection while a person was asked');
        return;
      }
      if (outcome !== 'granted' && (outcome === 'full' || outcome.verdict !== 'allow')) {
        this.#refuse({ ...decision, verdict: 'deny' }, outcome === 'full' ? 'too many requests wait for approval already' : outcome.verdict === 'deny' ? `rejected by ${outcome.by}` : 'not approved in time');
        return;
      }
      this.#approved = true;
      this.#asking = false;
    }
    if (this.#done) return;
    const over = countAgainst(this.#core, this.#resource);
    if (over && !over.monitor) {
      this.#refuse(over.decision, 'over the rate of its rule');
      return;
    }
    const event = (message: string): LedgerEvent => connectionRecord(this.#core.seen(this.#correlation), this.#place, this.#approved ? 'approved' : 'allow', message, decision);
    let told = false;
    const tell = (): void => {
      if (!told) audit.emit(event('passed through unread'));
      told = true;
    };
    if (this.#approved) {
      await audit.commit(event(this.#aside ? 'opened before its client said anything' : 'passed through unread'));
      told = true;
    } else if (!this.#aside) tell();
    this.#pin = upstreams.pinOf(this.#place.name);
    const upstream = await upstreams.connect(this.#place.name, this.#place.port, false);
    if (this.#done) {
      upstream.destroy();
      return;
    }
    this.#upstream = upstream;
    upstream.once('close', () => this.#end(upstream));
    upstream.allowHalfOpen = true;
    upstream.once('data', () => {
      this.#serverSpoke = true;
      tell();
    });
    upstream.pipe(this.#client);
    this.#join = () => {
      tell();
      this.#stopReading();
      if (this.#ahead.length > 0) upstream.write(this.#ahead);
      this.#ahead = Buffer.alloc(0);
      this.#client.pipe(upstream);
      this.#client.resume();
    };
    if (!this.#aside) this.#join();
  }

  /** Until `#stopReading`. */
  #readAhead(): void {
    this.#client.on('readable', this.#take);
    this.#client.once('end', this.#ended);
    this.#take();
  }

  #stopReading(): void {
    clearTimeout(this.#late);
    this.#client.off('readable', this.#take);
    this.#client.off('end', this.#ended);
  }

  readonly #take = (): void => {
    while (!this.#done && this.#ahead.length < mostAhead) {
      const chunk: unknown = this.#client.read();
      if (!Buffer.isBuffer(chunk)) return;
      this.#ahead = Buffer.concat([this.#ahead, chunk]);
      this.#look(false);
    }
  };

  /** A client that closes its side while a person is asked may be gone: nothing is done later for nobody. */
  readonly #ended = (): void => {
    this.#withdraw.abort();
    this.#look(true);
  };

  /** A client that waits is not thereby one that is passed on: TLS and HTTP are read whenever they begin. */
  #look(ended: boolean): void {
    if (!this.#aside || this.#done) return;
    const words = firstWords(this.#ahead, ended);
    if (words === 'more') {
      this.#late ??= setTimeout(() => this.#refuse(this.#own('proxy.head-late', 'What the client began to say may be a request of HTTP, and did not go on.'), 'the request head did not come in time'), this.#core.ports.limits.helloMs);
    } else if (words === 'other') {
      clearTimeout(this.#late);
      this.#aside = undefined;
      this.#join?.();
    } else if (this.#serverSpoke) {
      // Its connection has begun already and cannot be begun anew, and no protocol goes on like this.
      this.#refuse(this.#own('proxy.protocol', 'TLS or HTTP that begins after the server spoke cannot be read.'), 'TLS or HTTP after the server spoke first');
    } else this.#leave(this.#aside);
  }

  #own(rule: string, reason: string): Decision {
    return refusal(this.#core.config.version, rule, reason, 'A rule with `protocol: tcp` passes on whatever is said there.');
  }

  /** As if it had never been here: nothing of the client's was passed on. */
  #leave(aside: () => void): void {
    this.#forget();
    this.#upstream?.unpipe(this.#client).destroy();
    this.#client.allowHalfOpen = false;
    this.#client.unshift(this.#ahead);
    try {
      aside();
    } catch {
      // One connection's failure stays its own.
      this.#client.destroy();
    }
  }

  #refuse(decision: Decision, message: string): void {
    if (this.#done) return;
    this.#core.counts.denied += 1;
    this.#core.ports.audit.emit(connectionRecord(this.#core.seen(this.#correlation), this.#place, 'deny', message, decision));
    // Of what was denied nothing more leaves.
    this.#upstream?.resetAndDestroy();
    this.#end();
  }

  /** `closed`: the side that is gone. */
  #end(closed?: Socket): void {
    if (this.#done) return;
    this.#forget();
    if (closed && !closed.readableEnded) {
      // It broke off: in protocols without lengths an end in order would make what came of it look whole.
      this.#client.resetAndDestroy();
      this.#upstream?.resetAndDestroy();
      return;
    }
    // What is on its way is still flushed towards a side that ended in order.
    this.#client.destroySoon();
    if (this.#upstream) this.#core.flush(this.#upstream);
  }

  #forget(): void {
    this.#done = true;
    this.#stopReading();
    this.#core.open.delete(this);
    this.#withdraw.abort();
  }
}
