/** A caller who signs its requests with a shared key (HMAC, RFC 2104), as GitHub, Stripe, Slack and others do with their webhooks. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '@nemoclaw/contract';
import type { Caller, Proof, Unproven } from './rules.ts';

type Hmac = Extract<Proof, { kind: 'hmac' }>;
/** A signature with a time is good once; so many are remembered, for as long as their time is accepted. */
const remembered = 100_000;

export class HmacCheck {
  readonly #clock: Clock;
  /** Sandbox and signature -> monotonic ms after which its time is refused anyway; in order of arrival. */
  readonly #used = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether it is signed; `use` says whether it may be admitted. */
  check(proof: Hmac, caller: Caller): Unproven {
    const given = caller.header(proof.header);
    if (given === undefined) return `there is no single ${proof.header} header`;
    if (!given.startsWith(proof.prefix)) return 'the signature does not begin as it should';
    const hmac = createHmac(proof.algorithm, proof.key);
    let at: number | undefined;
    if (proof.timestamp !== null) {
      const text = caller.header(proof.timestamp.header);
      if (text === undefined || !/^\d{1,12}$/.test(text)) return `there is no time in ${proof.timestamp.header}`;
      at = Number(text) * 1000;
      if (Math.abs(this.#clock.now() - at) > proof.timestamp.toleranceMs) return 'the signed time is too far from now';
      hmac.update(`${text}.`);
    }
    const wanted = hmac.update(caller.body).digest();
    const text = given.slice(proof.prefix.length);
    const shown = decode(text, proof.encoding);
    if (shown === undefined || shown.length !== wanted.length || !timingSafeEqual(shown, wanted)) return 'the signature is wrong';
    return undefined;
  }

  /** Uses up a proven signature that has a time, for all paths of one sandbox: it does not say which. */
  use(proof: Hmac, caller: Caller, sandbox: string): Unproven {
    if (proof.timestamp === null) return undefined;
    const signature = keyOf(proof, caller, sandbox);
    const now = this.#clock.monotonic();
    for (const [old, until] of this.#used) {
      if (until > now) break;
      this.#used.delete(old);
    }
    if (this.#used.has(signature)) return 'this signature was used before';
    // Forgetting one early would let it be used again.
    if (this.#used.size >= remembered) return 'too many signed requests at once';
    this.#used.set(signature, now + 2 * proof.timestamp.toleranceMs);
    return undefined;
  }

  /** It was not delivered: its sender, who was told so, may send it again. */
  giveBack(proof: Hmac, caller: Caller, sandbox: string): void {
    this.#used.delete(keyOf(proof, caller, sandbox));
  }
}

const keyOf = (proof: Hmac, caller: Caller, sandbox: string): string => `${sandbox} ${decode((caller.header(proof.header) ?? '').slice(proof.prefix.length), proof.encoding)?.toString('base64') ?? ''}`;

/** Strict: what a lenient decoder would let through too is no other spelling of the same signature. */
function decode(text: string, encoding: 'hex' | 'base64'): Buffer | undefined {
  if (encoding === 'hex') return /^([0-9a-f]{2})+$/i.test(text) ? Buffer.from(text, 'hex') : undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
