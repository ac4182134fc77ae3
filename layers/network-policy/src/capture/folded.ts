/** Events of connections on which nothing was decided by the policy: the first few of a kind are recorded one by one, and like ones that follow soon as one event with their number. */
import type { AuditSink, Clock, LedgerEvent } from '@nemoclaw/contract';

/** ms for which like events are gathered. */
const interval = 1000;
/** Like events in an interval that are recorded one by one. */
const single = 8;
/** Kinds that are told apart by host and port; beyond that only by what happened. */
const mostKinds = 64;

interface Kind {
  /** Recorded one by one in this interval. */
  told: number;
  /** The first of those that were gathered: what is recorded of them all. */
  event: LedgerEvent | undefined;
  count: number;
  last: number;
}

/** Exact: each event that was given is recorded, or is in the `count` of one that is. */
export class Folded {
  readonly #audit: AuditSink;
  readonly #clock: Clock;
  readonly #kinds = new Map<string, Kind>();
  #timer: NodeJS.Timeout | undefined;

  constructor(audit: AuditSink, clock: Clock) {
    this.#audit = audit;
    this.#clock = clock;
  }

  /** `what` and `where`: events with the same are alike. */
  emit(what: string, where: string, event: LedgerEvent): void {
    const key = this.#kinds.has(`${what} ${where}`) || this.#kinds.size < mostKinds ? `${what} ${where}` : what;
    const known = this.#kinds.get(key);
    if (known && known.told >= single) {
      known.event ??= key === what ? without(event) : event;
      known.count += 1;
      known.last = this.#clock.now();
      return;
    }
    if (known) known.told += 1;
    else this.#kinds.set(key, { told: 1, event: undefined, count: 0, last: event.time });
    this.#audit.emit(event);
    this.#timer ??= setTimeout(() => this.#tell(), interval).unref();
  }

  /** Records what is gathered; a kind of which nothing came meanwhile begins anew. */
  #tell(): void {
    this.#timer = undefined;
    for (const [key, kind] of this.#kinds) {
      const { event, count, last } = kind;
      if (!event) {
        this.#kinds.delete(key);
        continue;
      }
      kind.event = undefined;
      kind.count = 0;
      this.#audit.emit({ ...event, message: count === 1 ? event.message : `${event.message} (${count} such connections)`, data: { ...event.data, count, first: event.time, last } });
    }
    if (this.#kinds.size > 0) this.#timer = setTimeout(() => this.#tell(), interval).unref();
  }

  /** Records what is gathered, at once. */
  close(): void {
    clearTimeout(this.#timer);
    this.#tell();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#kinds.clear();
  }
}

/** What is said of connections to several places names none of them. */
function without(event: LedgerEvent): LedgerEvent {
  const { host: _host, port: _port, ...data } = event.data ?? {};
  return { ...event, message: event.message.replace(/^connection to \S+: /, 'connections to several places: '), data };
}
