/** One sandbox in the worker: its descriptors and its configuration come in either order; only with both is anything let through. */
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { emptyHistory, joinSensitivity } from '@nemoclaw/contract';
import type { Approver, AuditSink, Clock, Decider, Ids, LabelKeeper, RateLeft, SandboxConfig, Sensitivity } from '@nemoclaw/contract';
import { decide, decodePolicy } from '@nemoclaw/decide';
import type { CompiledPolicy } from '@nemoclaw/decide';
import { createEgress, inferenceHost } from '@nemoclaw/network-policy';
import type { Destination, Egress, Ends, SocketSource } from '@nemoclaw/network-policy';
import { createRouter } from '@nemoclaw/privacy-router';
import type { Router } from '@nemoclaw/privacy-router';

export interface SandboxPorts {
  readonly approver: Approver;
  readonly audit: AuditSink;
  readonly clock: Clock;
  readonly ids: Ids;
  /** False while the record takes no events. */
  readonly recording: () => boolean;
  /** Has the gateway record a rise of the label; rejects if it is not recorded. */
  readonly raise: (sandbox: string, to: Sensitivity, why: string) => Promise<void>;
  /** Has a credential renewed whose value was refused; resolves with whether a newer one is in force. */
  readonly renew: (sandbox: string, placeholder: string) => Promise<boolean>;
  /** Has the gateway keep what is left of the rates, for the worker after this one. */
  readonly rates?: (sandbox: string, rates: readonly RateLeft[]) => void;
  readonly closeFd: (fd: number) => void;
  /** Tests bind addresses in place of descriptors. */
  readonly source?: (fd: number) => SocketSource;
  readonly destination?: Destination;
  /** Path of the program that opened a connection, '' where it is not known; undefined: this host does not see it. */
  readonly program?: (sandbox: string, ends: Ends) => Promise<string | undefined>;
  /** ms without configuration after which connections are closed instead of left waiting. */
  readonly doorMs?: number;
}

interface InForce {
  config: SandboxConfig;
  policy: CompiledPolicy;
}

/** Throws where the policy is damaged. The same bytes as `known` are not read again: most often only the task is another. */
function read(config: SandboxConfig, known: InForce | undefined): InForce {
  return { config, policy: known?.config.policy === config.policy ? known.policy : decodePolicy(Buffer.from(config.policy, 'base64')) };
}

export class WorkerSandbox {
  readonly id: string;
  readonly #ports: SandboxPorts;
  #fds: readonly [number, number] | undefined;
  #door: Server | undefined;
  #doorTimer: NodeJS.Timeout | undefined;
  #inForce: InForce | undefined;
  #prepared: InForce | undefined;
  #egress: Egress | undefined;
  #router: Router | undefined;
  #label: Sensitivity = 'restricted';
  /** What is left of its rates, as far as it is known. */
  #rates: readonly RateLeft[] | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(id: string, ports: SandboxPorts) {
    this.id = id;
    this.#ports = ports;
  }

  /** Takes the transparent listener and the DNS socket; a second pair for the same sandbox is closed. */
  attach(tcp: number, dns: number): Promise<void> {
    return this.#next(async () => {
      if (this.#fds) {
        this.#ports.closeFd(tcp);
        this.#ports.closeFd(dns);
        return;
      }
      this.#fds = [tcp, dns];
      if (this.#inForce) await this.#open();
      else this.#doorTimer = setTimeout(() => this.#closeDoor(), this.#ports.doorMs ?? 2000);
    });
  }

  /** Puts a configuration in force. Rejects, leaving the former one, if it cannot be. */
  configure(config: SandboxConfig): Promise<void> {
    return this.#next(() => this.#put(read(config, this.#inForce)));
  }

  /** Reads a configuration that `switch` may put in force; what was prepared before is forgotten, also where this one is damaged. */
  prepare(config: SandboxConfig): Promise<void> {
    return this.#next(async () => {
      this.#prepared = undefined;
      this.#prepared = read(config, this.#inForce);
    });
  }

  /** What a gateway prepared is not for its successor to switch to, which may count to the same version. */
  forgetPrepared(): Promise<void> {
    return this.#next(async () => {
      this.#prepared = undefined;
    });
  }

  /** Puts what was prepared in force. Rejects, leaving the former one, where nothing of this version was. */
  switch(version: number): Promise<void> {
    return this.#next(async () => {
      const prepared = this.#prepared;
      this.#prepared = undefined;
      if (prepared?.config.version !== version) throw new Error(`version ${version} was not prepared`);
      await this.#put(prepared);
    });
  }

  async #put({ config, policy }: InForce): Promise<void> {
    if (this.#inForce) {
      // Both at once and without a pause: no request sees one without the other.
      this.#label = joinSensitivity(this.#label, config.label);
      this.#inForce.config = config;
      this.#inForce.policy = policy;
      this.#egress?.update(config);
      return;
    }
    this.#label = config.label;
    this.#rates = config.rates;
    this.#inForce = { config, policy };
    if (!this.#fds) return;
    try {
      await this.#open();
    } catch (error) {
      this.#inForce = undefined;
      throw error;
    }
  }

  /** The descriptors are another worker's now, or the sandbox ended. */
  detach(): Promise<void> {
    return this.#next(() => this.#shut());
  }

  /** The configuration is withdrawn: nothing is let through any more. */
  remove(): Promise<void> {
    return this.#next(async () => {
      this.#inForce = undefined;
      this.#prepared = undefined;
      await this.#shut();
    });
  }

  /** In force now. */
  get config(): SandboxConfig | undefined {
    return this.#inForce?.config;
  }

  get label(): Sensitivity {
    return this.#label;
  }

  get configured(): boolean {
    return this.#inForce !== undefined;
  }

  /** Secrets that must not get into events. */
  get secrets(): readonly string[] {
    const config = this.#inForce?.config;
    return config ? [...config.credentials.flatMap(({ value, sigv4 }) => [value, sigv4?.sessionToken ?? '']), ...config.providers.map(({ apiKey }) => apiKey), config.placeholderKey].filter((secret) => secret.length >= 6) : [];
  }

  usage(): { readonly requests: number; readonly bytesOut: number } | undefined {
    const stats = this.#egress?.stats();
    return stats && { requests: stats.requests, bytesOut: stats.bytesOut };
  }

  /** To a gateway that may not know them. */
  tellRates(): void {
    if (this.#rates) this.#ports.rates?.(this.id, this.#rates);
  }

  async #open(): Promise<void> {
    const fds = this.#fds;
    const inForce = this.#inForce;
    if (!fds || !inForce) return;
    clearTimeout(this.#doorTimer);
    const { approver, audit, clock, ids, recording, destination, program } = this.#ports;
    const source = this.#ports.source ?? ((fd: number): SocketSource => ({ fd }));
    const current = (): InForce => this.#inForce ?? inForce;
    const decider: Decider = {
      decide: (request) => decide(current().policy, request),
      get version() {
        return current().policy.version;
      },
    };
    const labels: LabelKeeper = { current: () => this.#label, raise: (to, why) => this.#raise(to, why) };
    const router = createRouter({ sandbox: this.id, config: () => current().config, policy: () => current().policy, decider, approver, audit, labels, clock, ids });
    const egress = createEgress({
      sandbox: this.id, tcp: this.#door ? { server: this.#door } : source(fds[0]), dns: source(fds[1]), policy: () => current().policy, decider, config: inForce.config, approver, audit, clock, ids, recording,
      renew: (placeholder) => this.#ports.renew(this.id, placeholder),
      rates: {
        known: this.#rates,
        tell: (rates) => {
          this.#rates = rates;
          this.#ports.rates?.(this.id, rates);
        },
      },
      local: new Map([[inferenceHost, (req, res) => router.handle(req, res)]]),
      history: () => (this.#label === 'restricted' ? { ...emptyHistory, readRestricted: true } : emptyHistory),
      ...(destination ? { destination } : {}),
      ...(program ? { programOf: async (ends: Ends) => (await program(this.id, ends)) ?? (current().config.bestEffort === true ? undefined : '') } : {}),
    });
    this.#door = undefined;
    this.#router = router;
    this.#egress = egress;
    await egress.ready;
  }

  /** Without a configuration a connection is closed at once, not left hanging. */
  #closeDoor(): void {
    if (!this.#fds || this.#inForce || this.#door) return;
    const source = this.#ports.source ?? ((fd: number): SocketSource => ({ fd }));
    this.#door = createServer({ noDelay: true }, (socket) => socket.destroy());
    this.#door.on('error', () => undefined);
    this.#door.listen({ ...source(this.#fds[0]), backlog: 1024 });
  }

  async #shut(): Promise<void> {
    clearTimeout(this.#doorTimer);
    const { closeFd } = this.#ports;
    const [egress, router, door, fds] = [this.#egress, this.#router, this.#door, this.#fds];
    this.#egress = undefined;
    this.#router = undefined;
    this.#door = undefined;
    this.#fds = undefined;
    if (egress) await egress.close();
    else if (fds) {
      if (door) door.close();
      else closeFd(fds[0]);
      closeFd(fds[1]);
    }
    await router?.close();
  }

  async #raise(to: Sensitivity, why: string): Promise<void> {
    const next = joinSensitivity(this.#label, to);
    if (next === this.#label) return;
    await this.#ports.raise(this.id, next, why);
    this.#label = joinSensitivity(this.#label, next);
    // What was opened before may be a way out for what is known from now on.
    this.#egress?.reconsider();
  }

  /** One change after the other. */
  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}
