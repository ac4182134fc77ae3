/** Which providers may see a request, and how they are reached. */
import { rootCertificates } from 'node:tls';
import type { ProviderPlan, Sensitivity } from '@nemoclaw/contract';
import { Agent, type Dispatcher } from 'undici';

/** Providers that may see data of this sensitivity, those that serve the asked model first. Only public data may go to the cloud: no provider here offers end-to-end encryption, which `internal` would need. */
export function eligible(providers: readonly ProviderPlan[], label: Sensitivity, model: string): ProviderPlan[] {
  const allowed = providers.filter((provider) => provider.location === 'local' || (provider.location === 'cloud' && label === 'public'));
  const isAsked = (provider: ProviderPlan): boolean => provider.model === model || provider.name === model || `${provider.name}/${provider.model}` === model;
  return [...allowed.filter(isAsked), ...allowed.filter((provider) => !isAsked(provider))];
}

/** Connection pools of one sandbox, by origin and trust; never shared with another sandbox. */
export class Pools {
  readonly #agents = new Map<string, Agent>();
  readonly #silenceMs: number;

  constructor(silenceMs: number) {
    this.#silenceMs = silenceMs;
  }

  /** The pool for this provider. */
  get(provider: ProviderPlan): Dispatcher {
    const key = JSON.stringify([provider.baseUrl, provider.caPem ?? '']);
    let agent = this.#agents.get(key);
    if (!agent) {
      agent = new Agent({
        connections: 64,
        pipelining: 1,
        allowH2: false,
        headersTimeout: this.#silenceMs,
        bodyTimeout: this.#silenceMs,
        connect: { timeout: 10_000, ...(provider.caPem === undefined ? {} : { ca: [...rootCertificates, provider.caPem] }) },
      });
      this.#agents.set(key, agent);
    }
    return agent;
  }

  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
  }
}
