/** Checks one caller against one rule. Whatever goes wrong is no proof. */
import type { Clock } from '@nemoclaw/contract';
import { HmacCheck } from './hmac.ts';
import { checkJwt } from './jwt.ts';
import { checkCertificate } from './mtls.ts';
import { checkAddress } from './ranges.ts';
import type { Caller, IngressRule, Unproven } from './rules.ts';

export class ProofCheck {
  readonly #clock: Clock;
  readonly #hmac: HmacCheck;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#hmac = new HmacCheck(clock);
  }

  /** Uses up what is good once; what it gives back undoes that. A reason where it was used before. */
  use({ proof }: IngressRule, caller: Caller, sandbox: string): { readonly giveBack: () => void } | string {
    if (proof.kind !== 'hmac') return { giveBack: () => undefined };
    return this.#hmac.use(proof, caller, sandbox) ?? { giveBack: () => this.#hmac.giveBack(proof, caller, sandbox) };
  }

  async check({ proof }: IngressRule, caller: Caller): Promise<Unproven> {
    try {
      switch (proof.kind) {
        case 'hmac':
          return this.#hmac.check(proof, caller);
        case 'jwt':
          return await checkJwt(proof, caller, this.#clock);
        case 'mtls':
          return checkCertificate(proof, caller);
        case 'addresses':
          return checkAddress(proof, caller);
      }
    } catch {
      return 'the proof could not be checked';
    }
  }
}
