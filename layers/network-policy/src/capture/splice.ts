/** A connection whose bytes are not read: decided once by host and port, then joined to the checked address. */
import type { Socket } from 'node:net';
import { safeLine, type Decision } from '@nemoclaw/contract';
import { askPerson } from '../judge/ask-person.ts';
import type { Core, Reconsidered } from '../core.ts';
import { refusal } from '../core.ts';
import { countAgainst } from '../judge/rule-limits.ts';
import { authority } from '../judge/judge.ts';
import type { HostResource } from '../judge/judge.ts';
import { connectionRecord } from '../records.ts';
import type { Place } from '../http/request-check.ts';
import { AddressRefused } from '../upstream/upstreams.ts';

/** Bytes that are read while a person is asked, at most: the end of what the client says stands behind them. */
const mostAhead = 64 * 1024;

export class Splice implements Reconsidered {
  readonly #core: Core;
  readonly #place: Place;
  readonly #client: Socket;
  readonly #correlation: string;
  readonly #withdraw = new AbortController();
  /** What the client said while a person was asked. */
  readonly #ahead: Buffer[] = [];
  #approved = false;
  #upstream: Socket | undefined;
  #done = false;

  constructor(core: Core, place: Place, client: Socket) {
    this.#core = core;
    this.#place = place;
    this.#client = client;
    this.#correlation = core.correlation();
  }

  /** `client` is paused, with every byte it sent so far still unread. Never rejects. */
  async run(): Promise<void> {
    this.#core.open.add(this);
    // A side that has said all may still listen: each end is passed on by itself.
    this.#client.allowHalfOpen = true;
    this.#client.once('close', () => this.#end());
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
    if (decision.verdict === 'allow' || (decision.verdict === 'escalate' && (this.#approved || !this.#upstream))) return;
    this.#refuse(decision, 'ended by the new policy');
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
    if (decision.verdict === 'escalate') {
      const request = this.#core.request('connect', this.#resource);
      const stop = this.#readAhead();
      const where = safeLine(authority(this.#place));
      const outcome = await askPerson(this.#core, { request, decision, key: judge.key(request), card: () => ({ summary: `connect to ${where}`, detail: `An unread connection to ${where}.` }) }, this.#withdraw.signal);
      stop();
      if (outcome !== 'granted' && this.#withdraw.signal.aborted) {
        this.#refuse({ ...decision, verdict: 'deny' }, 'the client closed its side of the connection while a person was asked');
        return;
      }
      if (outcome !== 'granted' && (outcome === 'full' || outcome.verdict !== 'allow')) {
        this.#refuse({ ...decision, verdict: 'deny' }, outcome === 'full' ? 'too many requests wait for approval already' : outcome.verdict === 'deny' ? `rejected by ${outcome.by}` : 'not approved in time');
        return;
      }
      this.#approved = true;
    }
    if (this.#done) return;
    const over = countAgainst(this.#core, this.#resource);
    if (over && !over.monitor) {
      this.#refuse(over.decision, 'over the rate of its rule');
      return;
    }
    const event = connectionRecord(this.#core.seen(this.#correlation), this.#place, this.#approved ? 'approved' : 'allow', 'passed through unread', decision);
    if (this.#approved) await audit.commit(event);
    else audit.emit(event);
    const upstream = await upstreams.connect(this.#place.name, this.#place.port, false);
    if (this.#done) {
      upstream.destroy();
      return;
    }
    this.#upstream = upstream;
    upstream.once('close', () => this.#end());
    upstream.allowHalfOpen = true;
    for (const bytes of this.#ahead.splice(0)) upstream.write(bytes);
    this.#client.pipe(upstream).pipe(this.#client);
    this.#client.resume();
  }

  /** A client that closes its side may be gone: nothing is done later for nobody. Until what is given back is called. */
  #readAhead(): () => void {
    const client = this.#client;
    let bytes = 0;
    const take = (chunk: Buffer): void => {
      this.#ahead.push(chunk);
      bytes += chunk.length;
      if (bytes >= mostAhead) client.pause();
    };
    const ended = (): void => this.#withdraw.abort();
    client.on('data', take);
    client.once('end', ended);
    client.resume();
    return () => {
      client.off('data', take);
      client.off('end', ended);
      client.pause();
    };
  }

  #refuse(decision: Decision, message: string): void {
    if (this.#done) return;
    this.#core.counts.denied += 1;
    this.#core.ports.audit.emit(connectionRecord(this.#core.seen(this.#correlation), this.#place, 'deny', message, decision));
    this.#end();
  }

  #end(): void {
    if (this.#done) return;
    this.#done = true;
    this.#core.open.delete(this);
    this.#withdraw.abort();
    // What is on its way is still flushed towards a side that ended in order.
    this.#client.destroySoon();
    this.#upstream?.destroySoon();
  }
}
