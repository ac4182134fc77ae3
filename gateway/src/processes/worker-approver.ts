/** Asks people through the gateway. The worker owns each hold's deadline; the question outlives a gateway that restarts. */
import type { Approver, Clock, HoldOutcome, HoldRequest, HoldRequestWire } from '@nemoclaw/contract';
import { holdWireSchema } from '../approvals/record.ts';
import type { GatewayLink } from './worker-link.ts';

interface Held {
  readonly wire: HoldRequestWire;
  readonly settle: (outcome: HoldOutcome) => void;
}
/** How long an approval that crossed the end of our patience stays good for the identical request, ms. */
const lateFor = 600_000;
const maxLate = 1024;

export class GatewayApprover implements Approver {
  readonly #link: GatewayLink;
  readonly #clock: Clock;
  readonly #held = new Map<string, Held>();
  /** Holds whose patience ended, by id: an outcome may still be under way. */
  readonly #expired = new Map<string, string>();
  /** Sandbox and key -> until when. */
  readonly #late = new Map<string, number>();
  readonly #pending = new Map<string, ReadonlyMap<string, string>>();

  constructor(link: GatewayLink, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  ask(request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> {
    if (signal.aborted) return Promise.resolve({ verdict: 'unavailable', reason: 'The question was withdrawn.' });
    const wire = asWire(request);
    // What no person could be shown is not asked; the gateway takes such a message for an attack.
    if (!wire) return Promise.resolve({ verdict: 'unavailable', reason: 'The request is too large to be shown to a person.' });
    const { sandbox, holdId, key } = request;
    return new Promise((resolve) => {
      const settle = (outcome: HoldOutcome): void => {
        if (!this.#held.delete(holdId)) return;
        clearTimeout(timer);
        signal.removeEventListener('abort', withdraw);
        resolve(outcome);
      };
      const withdraw = (): void => {
        this.#link.send({ t: 'hold.withdrawn', sandbox, holdId, why: signal.reason === 'policy' ? 'policy' : 'The agent gave the request up.' });
        settle({ verdict: 'unavailable', reason: 'The question was withdrawn.' });
      };
      const timer = setTimeout(() => {
        const approvalId = this.pending(sandbox, key);
        this.#remember(holdId, `${sandbox} ${key}`);
        this.#link.send({ t: 'hold.withdrawn', sandbox, holdId, why: 'patience' });
        settle(approvalId === undefined ? { verdict: 'unavailable', reason: 'Nobody could be asked in time.' } : { verdict: 'waiting', approvalId });
      }, request.patienceMs);
      signal.addEventListener('abort', withdraw, { once: true });
      this.#held.set(holdId, { wire, settle });
      this.#link.send({ t: 'hold', hold: wire });
    });
  }

  async consumeGrant(sandbox: string, key: string): Promise<boolean> {
    const late = this.#late.get(`${sandbox} ${key}`);
    this.#late.delete(`${sandbox} ${key}`);
    if (late !== undefined && late > this.#clock.monotonic()) return true;
    return this.#link.ask({ t: 'grant.consume', sandbox, key });
  }

  pending(sandbox: string, key: string): string | undefined {
    return this.#pending.get(sandbox)?.get(key);
  }

  /** The gateway's word on a hold. */
  outcome(sandbox: string, holdId: string, outcome: HoldOutcome): void {
    const held = this.#held.get(holdId);
    if (held && held.wire.sandbox === sandbox) held.settle(outcome);
    const expired = this.#expired.get(holdId);
    if (expired === undefined || !expired.startsWith(`${sandbox} `)) return;
    this.#expired.delete(holdId);
    if (outcome.verdict === 'allow') this.#late.set(expired, this.#clock.monotonic() + lateFor);
  }

  setPending(sandbox: string, entries: readonly { readonly key: string; readonly approvalId: string }[]): void {
    this.#pending.set(sandbox, new Map(entries.map(({ key, approvalId }) => [key, approvalId])));
  }

  /** Puts every open question of a sandbox again, after its configuration came over a new link. */
  repeat(sandbox: string): void {
    for (const { wire } of this.#held.values()) if (wire.sandbox === sandbox) this.#link.send({ t: 'hold', hold: wire });
  }

  forget(sandbox: string): void {
    this.#pending.delete(sandbox);
    for (const { wire, settle } of [...this.#held.values()]) if (wire.sandbox === sandbox) settle({ verdict: 'unavailable', reason: 'The sandbox ended.' });
    for (const key of [...this.#late.keys()]) if (key.startsWith(`${sandbox} `)) this.#late.delete(key);
  }

  #remember(holdId: string, key: string): void {
    this.#expired.set(holdId, key);
    if (this.#expired.size <= maxLate) return;
    const oldest = this.#expired.keys().next();
    if (!oldest.done) this.#expired.delete(oldest.value);
  }
}

/** The hold as it travels, or undefined if it breaks a bound of the protocol. */
function asWire(hold: HoldRequest): HoldRequestWire | undefined {
  const { params, provenance: _provenance, history: _history, ...request } = hold.request;
  const parsed = holdWireSchema.safeParse({ ...hold, request: { ...request, params: [...params] } });
  return parsed.success && JSON.stringify(parsed.data).length < 3_000_000 ? parsed.data : undefined;
}
