/** What an egress is made from, and what whoever made it may ask of it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { Approver, AuditSink, Clock, Decider, History, Ids } from '@nemoclaw/contract';
import type { CompiledPolicy } from '@nemoclaw/decide';
import type { EgressConfig, Limits } from './core.ts';
import type { Hooks } from './hooks.ts';
import type { Judge } from './judge/judge.ts';
import type { RateKeeper } from './judge/rates.ts';
import type { ProgramOf } from './capture/programs.ts';
import type { Resolve } from './upstream/upstreams.ts';

export type LocalHandler = (req: IncomingMessage, res: ServerResponse) => void;
/** Address and port that a captured connection was made to. */
export type Destination = (socket: Socket) => { readonly address: string; readonly port: number };

export interface JudgedEgressOptions {
  readonly sandbox: string;
  /** The transparent TCP listener and the DNS socket, as inherited descriptors; or addresses to bind, for tests and standalone use. */
  readonly tcp: SocketSource | ListeningServer;
  readonly dns: SocketSource;
  readonly judge: Judge;
  readonly config: EgressConfig;
  readonly approver: Approver;
  readonly audit: AuditSink;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Hosts that we answer ourselves, on ports 80 and 443. */
  readonly local: ReadonlyMap<string, LocalHandler>;
  readonly history?: () => History;
  /** False while the record takes no events: then nothing is let through. */
  readonly recording?: () => boolean;
  /** Has a credential renewed that was refused; without it none is. */
  readonly renew?: (placeholder: string) => Promise<boolean>;
  /** What is left of the rules' rates is kept there; without it each begins full. */
  readonly rates?: RateKeeper;
  readonly limits?: Partial<Limits>;
  /** By default the standard hooks. */
  readonly hooks?: Hooks;
  readonly resolve?: Resolve;
  /** By default what the kernel says: with tproxy the local end is the original destination. */
  readonly destination?: Destination;
  /** Who tells which program opened a connection. By default nobody: rules on programs then hold for any. */
  readonly programOf?: ProgramOf;
  /** Whether the sandbox has IPv6. By default: if the sockets are inherited, and the kernel has it. */
  readonly ipv6?: boolean;
}

export type SocketSource = { readonly fd: number } | { readonly host: string; readonly port: number };
/** A server that already listens on the captured socket, with `noDelay`. */
export interface ListeningServer {
  readonly server: Server;
}

export interface EgressStats {
  readonly requests: number;
  readonly allowed: number;
  readonly denied: number;
  readonly held: number;
  readonly refused: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly handshakes: number;
  readonly connections: number;
  readonly open: number;
  readonly minted: number;
  /** Connections over the limit; tasks that waited for this sandbox's turn, and those that found no room to. */
  readonly overLimit: number;
  readonly waited: number;
  readonly turnedAway: number;
  /** Answers that their client does not read now, and those that gave way to others for it. */
  readonly still: number;
  readonly gaveWay: number;
  /** Requests that wait for that. */
  readonly unsent: number;
  /** Bytes of bodies, answers and messages that are held, and those that decoders of answers keep. */
  readonly buffered: number;
  readonly decoding: number;
  readonly dns: { readonly answered: number; readonly refused: number };
}

export interface Egress {
  /** Resolves when both descriptors are served; rejects if one cannot be. */
  readonly ready: Promise<void>;
  /** The policy that `judge` now answers by is in force; ends exactly what it decides otherwise. */
  update(config: EgressConfig): void;
  /** What decisions depend on besides the policy changed (the label of the sandbox): ends exactly what is decided otherwise now. */
  reconsider(): void;
  close(): Promise<void>;
  stats(): EgressStats;
  /** Ports bound, where addresses were given instead of descriptors. */
  bound(): { readonly tcp: number; readonly dns: number };
}

/** What the worker passes in: the same, with the compiled policy in place of a judge. */
export type EgressOptions = Omit<JudgedEgressOptions, 'judge'> & { readonly policy: () => CompiledPolicy; readonly decider: Decider };
