/** A whole egress on loopback for tests and benchmarks: real sockets, a small policy, an approver that answers when told. */
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import type { RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { connect as connectTcp } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { createHash, randomBytes } from 'node:crypto';
import type { ActionRequest, AppMessage, Approver, AuditSink, Clock, Decision, HoldOutcome, HoldRequest, Ids, LedgerEvent, Verdict } from '@nemoclaw/contract';
import { unlabelled } from '@nemoclaw/contract';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import type { EgressConfig } from '../core.ts';
import { createJudgedEgress } from '../egress.ts';
import type { Egress, JudgedEgressOptions, LocalHandler } from '../egress-options.ts';
import type { InspectionSettings } from '../inspect/findings.ts';
import type { Handling, Judge } from '../judge/judge.ts';

/** Whole ms since 1970, as every clock of the project says them: the record takes no others. */
export const testClock: Clock = { now: () => Math.floor(performance.timeOrigin + performance.now()), monotonic: () => performance.now() };
export const testIds: Ids = { next: (prefix) => `${prefix}_${randomBytes(8).toString('hex')}` };

/** One rule of the test policy; the first that fits decides. A string path fits itself and what lies below. */
export interface TestRule {
  readonly host: string;
  readonly verdict: Verdict;
  readonly methods?: readonly string[];
  readonly path?: string;
  readonly port?: number;
  readonly body?: (attributes: ReadonlyMap<string, unknown>) => boolean;
  /** What an application protocol says inside; only for conversations of their own. */
  readonly said?: (message: AppMessage) => boolean;
  readonly id?: string;
  /** It only watches: what it would refuse is let through. */
  readonly watches?: true;
}

/** A policy of plain rules, changeable while it is in use. */
export class TestPolicy implements Judge {
  rules: readonly TestRule[];
  scan = true;
  #inspection: InspectionSettings | undefined;
  get inspection(): InspectionSettings {
    return this.#inspection ?? { scanForPII: this.scan };
  }
  set inspection(settings: InspectionSettings | undefined) {
    this.#inspection = settings;
  }
  passthrough: readonly string[] = [];
  raw: readonly number[] = [];
  /** Questions asked, for tests that look at what was decided. */
  readonly asked: ActionRequest[] = [];
  keep = true;

  constructor(rules: readonly TestRule[]) {
    this.rules = rules;
  }
  nameAllowed(host: string): boolean {
    return this.rules.some((rule) => rule.host === host && rule.verdict !== 'deny');
  }
  named(): boolean {
    return true;
  }
  /** As level `open` answers: everything is let through unread. */
  unread = false;
  /** Protocols of their own, by port. */
  own: ReadonlyMap<number, Handling> = new Map();
  mail: 'required' | 'allowed' = 'required';
  starttls(): 'required' | 'allowed' {
    return this.mail;
  }
  handling(host: string, port: number): Handling {
    return this.own.get(port) ?? this.#handling(host, port);
  }
  #handling(host: string, port: number): Handling {
    return this.unread ? 'unread' : this.passthrough.includes(host) ? 'passthrough' : this.raw.includes(port) ? 'raw' : 'inspect';
  }
  needsBody(resource: { readonly host: string }): boolean {
    return this.rules.some((rule) => rule.host === resource.host && (rule.body !== undefined || rule.verdict === 'escalate'));
  }
  tool(): undefined {
    return undefined;
  }
  needsMessage(): readonly [] {
    return [];
  }
  programsNamed(): boolean {
    return false;
  }
  headersNamed(): readonly [] {
    return [];
  }
  terms(): undefined {
    return undefined;
  }
  /** By host. */
  labels: ReadonlyMap<string, 'confidential' | 'restricted'> = new Map();
  labelOf(host: string): 'confidential' | 'restricted' | undefined {
    return this.labels.get(host);
  }
  action(_resource: unknown, body: ReadonlyMap<string, unknown>): ReturnType<Judge['action']> {
    return body.size > 0 ? { action: '', params: body, labels: unlabelled } : undefined;
  }
  decide(request: ActionRequest): Decision {
    if (this.keep) this.asked.push(request);
    const index = this.rules.findIndex((rule) => fits(rule, request));
    const rule = this.rules[index];
    const verdict = rule?.verdict ?? 'deny';
    return {
      verdict, action: request.action, rules: [{ id: rule?.id ?? (rule ? `rules[${index}]` : 'default') }], reason: `the test policy says ${verdict}`, hint: 'ask the operator',
      intent: unlabelled, policyVersion: 1, decidedBy: 'table', micros: 0, ...(rule?.watches ? { monitored: { verdict: 'deny' as const, rules: [{ id: rule.id ?? `rules[${index}]` }], reason: 'it only watches' } } : {}),
    };
  }
  key(request: ActionRequest): string {
    return createHash('sha256').update(JSON.stringify([request.resource, [...request.params]])).digest('hex');
  }
}

function fits(rule: TestRule, request: ActionRequest): boolean {
  const { resource } = request;
  // A denial of some requests says nothing of the connection.
  if (resource.kind === 'host' && rule.verdict === 'deny' && (rule.path !== undefined || rule.methods !== undefined || rule.body !== undefined)) return false;
  if (resource.kind === 'host') return rule.host === resource.host && (resource.message === undefined || rule.said === undefined || rule.said(resource.message)) && (rule.port === undefined || rule.port === resource.port || request.source === 'dns');
  if (resource.kind !== 'http' || rule.host !== resource.host) return false;
  if (rule.port !== undefined && rule.port !== resource.port) return false;
  if (rule.methods && !rule.methods.includes(resource.method)) return false;
  if (rule.path !== undefined && resource.path !== rule.path && !resource.path.startsWith(`${rule.path}/`)) return false;
  return !rule.body || rule.body(request.params);
}

/** Keeps what it was asked; `answer` settles the oldest open question. */
export class TestApprover implements Approver {
  readonly asked: HoldRequest[] = [];
  readonly withdrawn: string[] = [];
  /** Why each was withdrawn. */
  readonly reasons: unknown[] = [];
  readonly grants = new Set<string>();
  #open: ((outcome: HoldOutcome) => void)[] = [];
  #waiting: (() => void)[] = [];

  ask(request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> {
    this.asked.push(request);
    for (const wake of this.#waiting.splice(0)) wake();
    return new Promise((resolve) => {
      this.#open.push(resolve);
      signal.addEventListener('abort', () => {
        this.#open = this.#open.filter((other) => other !== resolve);
        this.withdrawn.push(request.holdId);
        this.reasons.push(signal.reason);
        resolve({ verdict: 'unavailable', reason: 'withdrawn' });
      });
    });
  }
  async consumeGrant(_sandbox: string, key: string): Promise<boolean> {
    return this.grants.delete(key);
  }
  pending(): undefined {
    return undefined;
  }
  /** Resolves when `count` questions have been asked. */
  async until(count: number): Promise<void> {
    while (this.asked.length < count) await new Promise<void>((wake) => this.#waiting.push(wake));
  }
  answer(outcome: HoldOutcome): void {
    this.#open.shift()?.(outcome);
  }
}

export class TestAudit implements AuditSink {
  readonly events: LedgerEvent[] = [];
  readonly committed: LedgerEvent[] = [];
  broken = false;
  emit(event: LedgerEvent): void {
    this.events.push(event);
  }
  async commit(event: LedgerEvent): Promise<void> {
    if (this.broken) throw new Error('no writer');
    this.committed.push(event);
    this.events.push(event);
  }
}

/** Ports are told apart by the loopback address that is connected to: 127.(16 + 2 × index + half).x.y stands for 198.(18 + half).x.y at `ports[index]`. */
export interface Desk {
  readonly egress: Egress;
  readonly policy: TestPolicy;
  readonly approver: TestApprover;
  readonly audit: TestAudit;
  readonly config: EgressConfig;
  readonly rootPem: string;
  /** Asks the resolver; undefined if it gives no address. */
  resolve(name: string): Promise<string | undefined>;
  /** Connects as the sandbox would, by name (through the resolver) or by address. */
  tcp(name: string, port: number): Promise<Socket>;
  tls(name: string, port: number, options?: ConnectionOptions): Promise<TLSSocket>;
  close(): Promise<void>;
}

export interface DeskOptions {
  readonly rules: readonly TestRule[];
  /** In place of the rules. */
  readonly judge?: Judge;
  /** Host -> loopback server behind it. */
  readonly pins?: readonly { readonly host: string; readonly caPem?: string; readonly http1?: boolean; readonly addresses?: readonly string[] }[];
  readonly ports: readonly number[];
  readonly intercepted?: readonly string[];
  readonly credentials?: EgressConfig['credentials'];
  readonly local?: ReadonlyMap<string, LocalHandler>;
  readonly limits?: JudgedEgressOptions['limits'];
  readonly resolveUpstream?: JudgedEgressOptions['resolve'];
  readonly audit?: AuditSink;
  readonly patienceMs?: number;
  readonly history?: JudgedEgressOptions['history'];
  readonly ipv6?: boolean;
  readonly renew?: JudgedEgressOptions['renew'];
  readonly programOf?: JudgedEgressOptions['programOf'];
  readonly clock?: Clock;
}

export async function openDesk(options: DeskOptions): Promise<Desk> {
  const policy = new TestPolicy(options.rules);
  const approver = new TestApprover();
  const audit = new TestAudit();
  const now = testClock.now();
  const root = createRootCa('test', now);
  const hosts = [...new Set(options.rules.map((rule) => rule.host))].filter((host) => /[a-z]/.test(host));
  const config: EgressConfig = {
    role: 'tester', task: '', version: 1, ca: createIntermediate(root, options.intercepted ?? hosts, now), credentials: options.credentials ?? [],
    upstreams: (options.pins ?? []).map((pin) => ({ addresses: ['127.0.0.1'], ...pin })), patience: { httpMs: options.patienceMs ?? 5000 },
  };
  const ports = [443, 80, ...options.ports];
  const egress = createJudgedEgress({
    ...(options.history ? { history: options.history } : {}), sandbox: 'sbx_test', tcp: { host: '0.0.0.0', port: 0 }, dns: { host: '127.0.0.1', port: 0 }, judge: options.judge ?? policy, config, approver, audit: options.audit ?? audit, clock: options.clock ?? testClock, ids: testIds,
    local: options.local ?? new Map(), ...(options.limits ? { limits: options.limits } : {}), resolve: options.resolveUpstream ?? (async () => []), ipv6: options.ipv6 ?? false, ...(options.renew ? { renew: options.renew } : {}), ...(options.programOf ? { programOf: options.programOf } : {}),
    destination: (socket) => {
      const parts = (socket.localAddress ?? '').split('.').map(Number);
      const index = ((parts[1] ?? 0) - 16) >> 1;
      return parts[1] === 200 ? { address: `10.${parts[2] ?? 0}.0.${parts[3] ?? 0}`, port: ports[2] ?? 80 } : { address: `198.${18 + ((parts[1] ?? 0) & 1)}.${parts[2] ?? 0}.${parts[3] ?? 0}`, port: ports[index] ?? 0 };
    },
  });
  await egress.ready;
  const bound = egress.bound();
  const resolve = (name: string): Promise<string | undefined> => askAddress(name, bound.dns);
  const tcp = async (name: string, port: number): Promise<Socket> => {
    const address = /^[0-9.]+$/.test(name) ? name : await resolve(name);
    if (address === undefined) throw new Error(`no address for ${name}`);
    const index = ports.indexOf(port);
    const [first = 0, half = 0, x = 0, y = 0] = address.split('.').map(Number);
    const host = first === 198 ? `127.${16 + 2 * index + (half - 18)}.${x}.${y}` : address;
    const socket = connectTcp({ host, port: bound.tcp });
    await once(socket, 'connect');
    socket.on('error', () => undefined);
    return socket;
  };
  return {
    egress, policy, approver, audit, config, rootPem: root.certPem, resolve, tcp,
    tls: async (name, port, extra = {}) => {
      const socket = connectTls({ socket: await tcp(name, port), servername: name, ca: root.certPem, ...extra });
      await once(socket, 'secureConnect');
      socket.on('error', () => undefined);
      return socket;
    },
    close: () => egress.close(),
  };
}

/** One A question over UDP to a resolver on loopback. */
export async function askAddress(name: string, port: number, type = 1): Promise<string | undefined> {
  const reply = await askDns(questionFor(name, type), port);
  return reply.readUInt16BE(6) === 1 ? [...reply.subarray(reply.length - 4)].join('.') : undefined;
}

export function questionFor(name: string, type = 1, id = 7): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]));
  return Buffer.concat([Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...labels, Buffer.from([0, type >> 8, type & 255, 0, 1])]);
}

export async function askDns(packet: Buffer, port: number): Promise<Buffer> {
  const { createSocket } = await import('node:dgram');
  const socket = createSocket('udp4');
  try {
    socket.send(packet, port, '127.0.0.1');
    const [reply] = (await once(socket, 'message')) as [Buffer];
    return reply;
  } finally {
    socket.close();
  }
}

/** An upstream on loopback. With `host` it speaks TLS with a certificate for that name from its own authority. */
export interface Upstream {
  readonly port: number;
  readonly caPem: string | undefined;
  readonly server: Server;
  close(): Promise<void>;
}

export async function openUpstream(listener: RequestListener, host?: string): Promise<Upstream> {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('upstream', now);
  const server = host === undefined ? createHttp(listener) : createHttps({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now) }, listener);
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port, caPem: host === undefined ? undefined : root.certPem, server,
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Writes `bytes` and reads until the other side closes, or until `enough` says so. */
export async function say(socket: Socket, bytes: string | Buffer, enough?: (text: string) => boolean): Promise<string> {
  let text = '';
  socket.write(bytes);
  await new Promise<void>((done) => {
    const timer = setTimeout(() => { socket.destroy(); done(); }, 60_000);
    const finish = (): void => { clearTimeout(timer); done(); };
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (enough?.(text)) {
        socket.destroy();
        finish();
      }
    });
    socket.once('close', finish);
  });
  return text;
}

/** One request over a fresh connection, as text, until its whole answer is there. */
export const wholeAnswer = (text: string): boolean => {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /content-length: (\d+)/i.exec(text.slice(0, end))?.[1];
  return length === undefined ? /transfer-encoding: chunked/i.test(text.slice(0, end)) && text.endsWith('0\r\n\r\n') : text.length >= end + 4 + Number(length);
};
