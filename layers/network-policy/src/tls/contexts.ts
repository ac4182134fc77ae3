/** TLS contexts for intercepted hosts: minted on first use, kept in a bounded LRU, renewed before their leaf expires. */
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Clock } from '@nemoclaw/contract';
import { createLeafKey, leafLifetime, LeafMinter } from './certificate.ts';
import type { Issuer, LeafKey } from './certificate.ts';

const renewBefore = 86_400_000;

export class TlsContexts {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #key: LeafKey = createLeafKey();
  #minter: LeafMinter;
  #issuer: string;
  readonly #kept = new Map<string, { readonly context: SecureContext; readonly until: number }>();
  minted = 0;

  constructor(issuer: Issuer, clock: Clock, limit = 1000) {
    this.#clock = clock;
    this.#limit = limit;
    this.#issuer = issuer.certPem;
    this.#minter = new LeafMinter(issuer, this.#key);
  }

  /** The context for `host`. Throws RangeError where no certificate can be made for it. */
  for(host: string): SecureContext {
    const now = this.#clock.now();
    const known = this.#kept.get(host);
    if (known && known.until > now) {
      this.#kept.delete(host);
      this.#kept.set(host, known);
      return known.context;
    }
    const chain = this.#minter.mint(host, now);
    const context = createSecureContext({ key: this.#minter.keyPem, cert: chain, minVersion: 'TLSv1.2' });
    this.minted += 1;
    this.#kept.set(host, { context, until: now + leafLifetime - renewBefore });
    if (this.#kept.size > this.#limit) {
      const oldest = this.#kept.keys().next();
      if (!oldest.done) this.#kept.delete(oldest.value);
    }
    return context;
  }

  /** A new intermediate: contexts are kept only if it is the same one. */
  replace(issuer: Issuer): void {
    if (issuer.certPem === this.#issuer) return;
    this.#issuer = issuer.certPem;
    this.#minter = new LeafMinter(issuer, this.#key);
    this.#kept.clear();
  }
}
