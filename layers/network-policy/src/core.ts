/** What every connection of one sandbox shares: the policy in force, the ports it was given, its limits and its open work. */
import type { Socket } from 'node:net';
import type { ActionRequest, Approver, AuditSink, Clock, Decision, Ids } from '@nemoclaw/contract';
import { emptyHistory, unlabelled } from '@nemoclaw/contract';
import type { History, Resource, SandboxConfig } from '@nemoclaw/contract';
import type { Hooks } from './hooks.ts';
import { KnownSecrets } from './credentials/known-secrets.ts';
import type { Judge } from './judge/judge.ts';
import { Folded } from './capture/folded.ts';
import { Pace } from './fairness/pace.ts';
import { Stalled } from './fairness/stalled.ts';
import { Taint } from './taint/taint.ts';
import type { RateKeeper } from './judge/rates.ts';
import type { Programs } from './capture/programs.ts';
import type { Seen } from './records.ts';
import type { Place } from './http/request-check.ts';
import type { Upstreams } from './upstream/upstreams.ts';

/** The part of a sandbox's configuration that the egress uses. */
export type EgressConfig = Pick<SandboxConfig, 'role' | 'task' | 'version' | 'ca' | 'credentials' | 'upstreams' | 'bestEffort'> & { readonly patience: { readonly httpMs: number } };

export interface Limits {
  readonly connections: number;
  readonly handshakesPerSecond: number;
  readonly questionsPerSecond: number;
  readonly heldRequests: number;
  /** Bytes of one body that may be kept to decide on it. */
  readonly bodyBytes: number;
  /** ms for a body that is kept, and 1 ms more for every 4 bytes of it: whoever sends more slowly is refused. */
  readonly bodyMs: number;
  /** Bytes of all bodies kept at once. */
  readonly bufferedBytes: number;
  /** Bytes of one WebSocket message. */
  readonly messageBytes: number;
  /** ms until the first bytes, a whole ClientHello, a finished handshake. */
  readonly helloMs: number;
  /** ms until a whole request head. */
  readonly headMs: number;
  readonly idleMs: number;
  /** ms for which nothing may pass on a connection whose client has closed its side: it may be gone. */
  readonly halfClosedMs: number;
  readonly upstreamConnections: number;
}

export const defaultLimits: Limits = {
  connections: 4096, handshakesPerSecond: 2000, questionsPerSecond: 500, heldRequests: 64, bodyBytes: 1 << 20, bodyMs: 30_000, bufferedBytes: 32 << 20, messageBytes: 4 << 20,
  helloMs: 10_000, headMs: 15_000, idleMs: 65_000, halfClosedMs: 300_000, upstreamConnections: 1024,
};

/** Decisions of one turn by what was decided on: of a thousand streams many ask for the same, which is decided once. */
export type SameTurn = Map<string, Decision>;

/** Work that a policy change may end: an exchange or a spliced connection. */
export interface Reconsidered {
  reconsider(turn: SameTurn): void;
}

export interface Ports {
  readonly sandbox: string;
  readonly judge: Judge;
  readonly approver: Approver;
  readonly audit: AuditSink;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly upstreams: Upstreams;
  readonly limits: Limits;
  readonly history?: (() => History) | undefined;
  readonly recording?: (() => boolean) | undefined;
  /** The other side refused the value of a `renewable` credential: resolves with whether a newer one is in force here. */
  readonly renew?: ((placeholder: string) => Promise<boolean>) | undefined;
  /** Absent: rates are not kept beyond this process. */
  readonly rates?: RateKeeper | undefined;
  /** Absent: programs are not seen here. */
  readonly programs?: Programs | undefined;
}

/** Values that were replaced and are still looked for. */
const formerValues = 64;

/** ms in which the other side has to take something of what waits for it. */
const flushWithin = 10_000;

export class Core {
  readonly ports: Ports;
  readonly hooks: Hooks;
  config: EgressConfig;
  /** What must not leave: the sandbox's credentials, and their placeholders where they are out of place. */
  secrets: KnownSecrets;
  /** What must not come back. */
  values: KnownSecrets;
  /** Values that were in force: they may still open something, and may still be on their way back. */
  readonly #former = new Set<string>();
  /** Renewals under way, by placeholder. */
  readonly renewing = new Map<string, Promise<boolean>>();
  readonly open = new Set<Reconsidered>();
  /** Connections to the other side whose client is gone, and which still take their last bytes. */
  readonly #leaving = new Set<Socket>();
  #closed = false;
  /** This sandbox's turns among all that this process serves. */
  readonly pace: Pace;
  /** Events of connections that became no request. */
  readonly folded: Folded;
  /** Its answers that nobody reads. */
  readonly stalled: Stalled;
  /** What labelled hosts told it. */
  readonly taint = new Taint();
  readonly #life: string;
  #count = 0;
  held = 0;
  buffered = 0;
  /** Bytes that decoders of its answers keep. */
  decoding = 0;
  readonly counts = { requests: 0, allowed: 0, denied: 0, held: 0, refused: 0, bytesIn: 0, bytesOut: 0, handshakes: 0, connections: 0, overLimit: 0 };

  constructor(ports: Ports, hooks: Hooks, config: EgressConfig) {
    this.ports = ports;
    this.pace = new Pace(ports.clock);
    this.folded = new Folded(ports.audit, ports.clock);
    this.stalled = new Stalled(() => ports.clock.monotonic());
    this.hooks = hooks;
    this.config = config;
    this.secrets = secretsOf(config, this.#former);
    this.values = valuesOf(config, this.#former);
    this.#life = ports.ids.next('net');
  }

  update(config: EgressConfig): void {
    const still = new Set(config.credentials.flatMap(sentOf));
    for (const value of this.config.credentials.flatMap(sentOf)) {
      if (still.has(value)) continue;
      this.#former.delete(value);
      this.#former.add(value);
      const [oldest] = this.#former;
      if (this.#former.size > formerValues && oldest !== undefined) this.#former.delete(oldest);
    }
    this.config = config;
    this.secrets = secretsOf(config, this.#former);
    this.values = valuesOf(config, this.#former);
  }

  request(source: ActionRequest['source'], resource: Resource): ActionRequest {
    const { ports, config } = this;
    return {
      sandbox: ports.sandbox, role: config.role, task: config.task, source, action: '', resource, params: noParams, labels: unlabelled, provenance: noProvenance,
      history: this.history,
    };
  }

  /** What a request that came over a connection to `place` says of the program. */
  programAt(place: Place): { readonly program?: string } {
    const { judge, programs } = this.ports;
    if (programs === undefined || !judge.programsNamed(place.name)) return anybody;
    if (place.program !== undefined) return { program: place.program };
    // Nobody asked when the connection came, or there is nobody to ask.
    return this.config.bestEffort === true ? anybody : { program: '' };
  }

  get history(): History {
    return this.ports.history?.() ?? emptyHistory;
  }

  /** Whether any request to this name could be allowed or escalated. */
  nameAllowed(name: string): boolean {
    return this.ports.judge.nameAllowed(name) && this.hooks.name(this, name) === undefined;
  }

  /** Decides; whatever goes wrong is a denial, and so is everything while nothing can be recorded. */
  decide(request: ActionRequest): Decision {
    try {
      if (this.ports.recording?.() === false) return refusal(this.config.version, 'audit.unavailable', 'The record takes no events now, so nothing is let through.', 'Try again later.');
      const { resource } = request;
      return (resource.kind === 'host' || resource.kind === 'http' ? this.hooks.name(this, resource.host) : undefined) ?? this.ports.judge.decide(request);
    } catch {
      return refusal(this.config.version, 'error', 'the decision failed', 'Ask the operator to look at the log.');
    }
  }

  /** Ties the events of one request or connection together; unique, but no secret. */
  correlation(): string {
    this.#count += 1;
    return `${this.#life}.${this.#count}`;
  }

  seen(correlation: string): Seen {
    return { sandbox: this.ports.sandbox, time: this.ports.clock.now(), correlation };
  }

  /** Ends a socket once the other side has taken what waits for it; not for longer than it takes nothing, nor than this sandbox is there. */
  flush(socket: Socket): void {
    if (this.#closed) socket.destroy();
    if (socket.destroyed) return;
    this.#leaving.add(socket);
    socket.once('close', () => this.#leaving.delete(socket));
    socket.setTimeout(flushWithin, () => socket.destroy());
    socket.destroySoon();
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#leaving) socket.destroy();
    this.open.clear();
    this.pace.close();
    this.stalled.close();
    this.folded.close();
  }
}

const anybody = {};
const noParams: ReadonlyMap<string, unknown> = new Map();
const noProvenance: ActionRequest['provenance'] = new Map();

/** The end of what began before it was to be read. */
export const begunUnread = (policyVersion: number): Decision => refusal(policyVersion, 'proxy.unread', 'What is said there is read now, and this began unread.', 'Begin it again.');

/** The end of what began when the policy had its host at other addresses, or behind another certificate. */
export const begunElsewhere = (policyVersion: number): Decision => refusal(policyVersion, 'proxy.moved', 'The policy says that this host is somewhere else now, and this began before.', 'Begin it again.');

/** A denial that no policy rule made; `rule` is its stable id. */
export function refusal(policyVersion: number, rule: string, reason: string, hint: string): Decision {
  return { verdict: 'deny', action: '', rules: [{ id: rule }], reason, hint, intent: unlabelled, policyVersion, decidedBy: 'error', micros: 0 };
}

/** The real value, and the token that is sent beside it. */
const sentOf = ({ value, sigv4 }: EgressConfig['credentials'][number]): string[] => (sigv4?.sessionToken === undefined ? [value] : [value, sigv4.sessionToken]);

function valuesOf(config: EgressConfig, former: ReadonlySet<string>): KnownSecrets {
  return new KnownSecrets([...config.credentials.flatMap(sentOf), ...former]);
}

/** The same, and the placeholders: out of place they are found where credentials are put in, and in bodies below. */
function secretsOf(config: EgressConfig, former: ReadonlySet<string>): KnownSecrets {
  return new KnownSecrets([...config.credentials.flatMap((one) => [one.placeholder, ...sentOf(one)]), ...former]);
}
