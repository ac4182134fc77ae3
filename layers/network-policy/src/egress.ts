/** The egress of one sandbox: its captured TCP, its DNS, and every decision on what leaves. */
import { lookup } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from '@nemoclaw/contract';
import { answerJson, denialBody, rawAnswer } from './exchange/answers.ts';
import { capture } from './capture/capture.ts';
import type { CaptureOptions } from './capture/capture.ts';
import { TlsContexts } from './tls/contexts.ts';
import { Core, defaultLimits, refusal } from './core.ts';
import type { EgressConfig, Limits, SameTurn } from './core.ts';
import { DeniedLately } from './doors/denied-lately.ts';
import { DnsResponder } from './dns/dns-server.ts';
import { Door, doorHelp, doorName, doorPort } from './doors/door.ts';
import { Exchange } from './exchange/exchange.ts';
import { hasPreface, serveHttp2 } from './http/http2-server.ts';
import type { Http2Service } from './http/http2-server.ts';
import { judgeOf } from './judge/judge.ts';
import { withoutLeaks } from './judge/name-leaks.ts';
import { Programs } from './capture/programs.ts';
import { beginRates } from './judge/rule-limits.ts';
import { connectionRecord } from './records.ts';
import { checkRequest, isProblem } from './http/request-check.ts';
import type { Place } from './http/request-check.ts';
import type { Destination, Egress, EgressOptions, EgressStats, JudgedEgressOptions, LocalHandler } from './egress-options.ts';
import { standardHooks } from './standard-hooks.ts';
import { isSynthetic, SyntheticAddresses } from './dns/synthetic.ts';
import { TokenBucket } from './fairness/token-bucket.ts';
import { Upstreams } from './upstream/upstreams.ts';
import { offersHttp2, readHandshake, withoutOffer } from './websocket/websocket-handshake.ts';
import { UpgradeWire } from './websocket/wire-upgrade.ts';
import type { Wire } from './http/wire.ts';
import { Http1Wire, isDistrusted } from './http/wire-http1.ts';
import { servePlain } from './http/wire-plain.ts';

/** How much open work is decided again in one turn: a fraction of a millisecond. */
const batch = 25;

/** Open work meets the new policy turn by turn: new requests are decided by it already, and must not wait for a thousand old streams. */
function inBatches<T>(all: readonly T[], each: (one: T, turn: SameTurn) => void, from = 0): void {
  if (from >= all.length) return;
  setImmediate(() => {
    const turn: SameTurn = new Map();
    for (const one of all.slice(from, from + batch)) each(one, turn);
    inBatches(all, each, from + batch);
  });
}

/** Starts the egress of one sandbox by its compiled policy; until `ready`, nothing is accepted. */
export function createEgress(options: EgressOptions): Egress {
  return new SandboxEgress({ ...options, judge: judgeOf(options.policy, options.decider) });
}

/** Starts the egress by any judge. */
export function createJudgedEgress(options: JudgedEgressOptions): Egress {
  return new SandboxEgress(options);
}

class SandboxEgress implements Egress {
  readonly ready: Promise<void>;
  readonly #options: JudgedEgressOptions;
  readonly #core: Core;
  readonly #contexts: TlsContexts;
  readonly #dns: DnsResponder;
  readonly #synthetic = new SyntheticAddresses();
  readonly #tcp: Server;
  readonly #http: HttpServer;
  readonly #door: Door;
  readonly #local: ReadonlyMap<string, LocalHandler>;
  /** Connections to the door: each of their requests says where it goes. */
  readonly #doors = new WeakSet<Socket>();
  readonly #raw = new Set<Socket>();
  readonly #places = new Map<Socket, Place>();
  /** Requests under way by connection. */
  readonly #busy = new Map<Socket, number>();
  #toldTooMany = -Infinity;

  constructor(options: JudgedEgressOptions) {
    this.#options = options;
    const { judge, clock, ids, sandbox } = options;
    const denied = new DeniedLately();
    const audit = withoutLeaks(denied.seen(options.audit), () => this.#core);
    this.#local = new Map<string, LocalHandler>([...options.local, [doorName, (req, res) => denied.serve(doorHelp, req, res)]]);
    const limits = { ...defaultLimits, ...options.limits };
    const upstreams = new Upstreams({ resolve: options.resolve ?? resolveBySystem, clock, pins: options.config.upstreams, connections: limits.upstreamConnections });
    this.#core = new Core({ sandbox, judge, approver: options.approver, audit, clock, ids, upstreams, limits, history: options.history, recording: options.recording, renew: options.renew, rates: options.rates, programs: options.programOf && new Programs({ ask: options.programOf, named: (host) => judge.programsNamed(host), patienceMs: limits.helloMs }) }, options.hooks ?? standardHooks, options.config);
    beginRates(this.#core);
    this.#contexts = new TlsContexts(options.config.ca, clock);
    this.#dns = new DnsResponder({
      sandbox, audit, clock, ids, synthetic: this.#synthetic, perSecond: limits.questionsPerSecond, six: options.ipv6 ?? ('fd' in options.dns && existsSync('/proc/net/if_inet6')),
      allowed: (name) => this.#local.has(name) || this.#core.nameAllowed(name),
      explain: (name) => this.#core.decide(this.#core.request('dns', { kind: 'host', host: name, port: 443 })),
    });
    this.#http = this.#createHttp(limits);
    this.#http2 = this.#createHttp2(limits, clock);
    const handshakes = new TokenBucket(clock, limits.handshakesPerSecond, limits.handshakesPerSecond);
    const captured: CaptureOptions = { core: this.#core, contexts: this.#contexts, handshakes, isLocal: (name: string) => this.#local.has(name), door: (socket: Socket, first: number) => this.#door.take(socket, first), dns: (packet: Buffer) => this.#dns.answer(packet), http: (socket: Socket, place: Place) => this.#serve(socket, place) };
    this.#door = new Door({
      core: this.#core, isLocal: captured.isLocal, nameOf: (address) => this.#synthetic.nameOf(address), captured: (socket, name, port) => capture(captured, socket, name, port),
      http: (socket) => {
        this.#doors.add(socket);
        this.#serve(socket, doorPlace);
      },
    });
    this.#tcp = 'server' in options.tcp ? options.tcp.server : createServer({ noDelay: true });
    this.#tcp.removeAllListeners('connection');
    this.#tcp.on('connection', (socket: Socket) => {
      if (this.#raw.size >= limits.connections) {
        this.#tooMany();
        socket.destroy();
        return;
      }
      this.#raw.add(socket);
      this.#core.counts.connections += 1;
      socket.once('close', () => this.#raw.delete(socket));
      const { address, port } = (options.destination ?? kernelDestination)(socket);
      const taken = this.#core.pace.run(() => {
        if (!socket.destroyed) capture(captured, socket, isSynthetic(address) ? this.#synthetic.nameOf(address) : address, port);
      });
      if (!taken) socket.destroy();
    });
    this.ready = this.#start();
  }

  update(config: EgressConfig): void {
    this.#core.update(config);
    this.#contexts.replace(config.ca);
    this.#core.ports.upstreams.update(config.upstreams);
    this.reconsider();
    // Connections with nothing in flight to a name that is not allowed any more have no use.
    inBatches([...this.#places], ([socket, place]) => {
      // So has one whose program is of interest only now: the next one is asked about.
      const asked = place === doorPlace || place.program !== undefined || this.#core.programAt(place).program === undefined;
      if (!this.#local.has(place.name) && (!asked || !this.#options.judge.nameAllowed(place.name)) && !this.#busy.has(socket)) socket.destroy();
    });
  }

  reconsider(): void {
    inBatches([...this.#core.open], (work, turn) => work.reconsider(turn));
  }

  async close(): Promise<void> {
    this.#dns.close();
    const closed = this.#tcp.listening ? new Promise<void>((done) => this.#tcp.close(() => done())) : Promise.resolve();
    this.#http.close();
    for (const socket of this.#raw) socket.destroy();
    this.#core.close();
    this.#core.ports.upstreams.close();
    await closed;
  }

  stats(): EgressStats {
    return { ...this.#core.counts, open: this.#raw.size, minted: this.#contexts.minted, waited: this.#core.pace.waited, turnedAway: this.#core.pace.refused, still: this.#core.stalled.size, gaveWay: this.#core.stalled.ended, unsent: this.#core.stalled.waiting, buffered: this.#core.buffered, decoding: this.#core.decoding, dns: { answered: this.#dns.answered, refused: this.#dns.refused } };
  }

  bound(): { readonly tcp: number; readonly dns: number } {
    const address = this.#tcp.address();
    return { tcp: typeof address === 'object' && address ? address.port : 0, dns: this.#dns.port };
  }

  async #start(): Promise<void> {
    const source = this.#options.tcp;
    const listening = new Promise<void>((resolve, reject) => {
      if ('server' in source) {
        resolve();
        return;
      }
      this.#tcp.once('error', reject);
      this.#tcp.listen({ ...source, backlog: 1024 }, () => {
        this.#tcp.off('error', reject);
        this.#tcp.on('error', () => undefined);
        resolve();
      });
    });
    await Promise.all([listening, this.#dns.serve(this.#options.dns)]);
  }

  #createHttp(limits: Limits): HttpServer {
    const server = createHttp({
      insecureHTTPParser: false, requireHostHeader: false, maxHeaderSize: 32 * 1024, headersTimeout: limits.headMs, requestTimeout: 0, keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: Math.min(limits.headMs, 5000), noDelay: true,
    });
    server.maxHeadersCount = 256;
    // A client that has sent a whole request and closes its side gets the answer (Node's http.Server, lib/_http_server.js).
    Object.assign(server, { httpAllowHalfOpen: true });
    server.on('request', (req, res) => this.#take(req, res, false));
    server.on('checkContinue', (req, res) => this.#take(req, res, true));
    server.on('connect', (req, socket, head) => this.#tunnel(req, socket as Socket, head) || this.#turnAway(socket as Socket, 405, 'Method Not Allowed', 'method', 'CONNECT is not served here; connect to the destination directly', req.method));
    server.on('upgrade', (req, socket, head) => this.#upgrade(req, socket as Socket, head));
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#malformed(error, socket as Socket));
    // The sockets come from elsewhere, so the server never listens; this starts its check for slow heads.
    server.emit('listening');
    return server;
  }

  #serve(socket: Socket, place: Place): void {
    this.#places.set(socket, place);
    socket.once('close', () => {
      this.#places.delete(socket);
      this.#busy.delete(socket);
    });
    const first = firstBytes(socket);
    if (place !== doorPlace && speaksHttp2(socket, first)) serveHttp2(this.#http2, socket, place);
    // Node's parser takes this for the beginning of HTTP/2, and waits for the rest of it.
    else if (first?.toString('latin1', 0, 4) === 'PRI ') this.#turnAway(socket, 400, 'Bad Request', 'malformed', 'the request is not well-formed HTTP', undefined);
    else {
      socket.allowHalfOpen = true;
      // One for each request that is under way on it.
      socket.setMaxListeners(0);
      // From then on the kernel does not tell whether it still reads, until something is sent.
      socket.once('end', () => socket.setTimeout(this.#core.ports.limits.halfClosedMs));
      if (place === doorPlace || this.#local.has(place.name)) this.#http.emit('connection', socket);
      else this.#servePlain(socket, place);
    }
  }

  #servePlain(socket: Socket, place: Place): void {
    const { headMs, idleMs } = this.#core.ports.limits;
    servePlain(socket, {
      headMs, idleMs,
      request: (wire) => {
        this.#begin(wire, socket);
        this.#exchange(place, wire);
      },
      other: () => void this.#http.emit('connection', socket),
      late: () => this.#turnAway(socket, 408, 'Request Timeout', 'head-late', 'the request head did not come in time', undefined),
    });
  }

  readonly #http2: Http2Service;

  #createHttp2(limits: Limits, clock: Clock): Http2Service {
    return {
      limits, nuisance: () => new TokenBucket(clock, 50, 300),
      stream: (wire, place, socket) => {
        if (this.#local.has(place.name)) {
          answerJson(wire, 421, { error: 'misdirected', reason: 'this host is served over HTTP/1.1 only', layer: 'proxy' });
          return;
        }
        this.#begin(wire, socket);
        this.#exchange(place, wire);
      },
      refused: (wire, place, problem) => new Exchange(this.#core, place, wire).refuse(problem),
    };
  }

  #upgrade(req: IncomingMessage, socket: Socket, head: Buffer): void {
    if (offersHttp2(req) && !this.#busy.has(socket) && !isDistrusted(socket)) {
      this.#http.emit('connection', withoutOffer(req, socket, head));
      return;
    }
    socket.allowHalfOpen = false;
    if (isDistrusted(socket)) {
      socket.destroy();
      return;
    }
    const place = this.#locate(req);
    const handshake = readHandshake(req);
    if (!place || this.#local.has(place.name) || typeof handshake === 'string') {
      this.#turnAway(socket, 501, 'Not Implemented', 'upgrade', typeof handshake === 'string' ? handshake : 'this host takes no WebSocket', req.method);
      return;
    }
    // An answer that is under way on this connection would be torn apart.
    if (this.#busy.has(socket)) {
      socket.destroy();
      return;
    }
    socket.on('error', () => undefined);
    const wire = new UpgradeWire(req, socket, handshake, head);
    this.#begin(wire, socket);
    new Exchange(this.#core, place, wire).run();
  }

  /** Decided when it is this sandbox's turn; a client that is gone by then has asked for nothing. */
  #exchange(place: Place, wire: Wire): void {
    const taken = this.#core.pace.run(() => {
      if (!wire.gone) new Exchange(this.#core, place, wire).run();
    });
    if (!taken) new Exchange(this.#core, place, wire).refuse({ status: 429, code: 'busy', why: 'too many requests of this sandbox wait for their turn' });
  }

  /** Once a second at most: a flood cannot drown the record. */
  #tooMany(): void {
    const core = this.#core;
    core.counts.refused += 1;
    core.counts.overLimit += 1;
    const now = core.ports.clock.monotonic();
    if (now - this.#toldTooMany < 1000) return;
    this.#toldTooMany = now;
    core.ports.audit.emit(connectionRecord(core.seen(core.correlation()), { name: 'unknown', port: 0, tls: false }, 'deny', 'too many connections at once', refusal(core.config.version, 'proxy.connections', 'too many connections at once.', ''), { refused: core.counts.overLimit }));
  }

  /** The connection has one more request under way. */
  #begin(wire: Wire, socket: Socket): void {
    this.#busy.set(socket, (this.#busy.get(socket) ?? 0) + 1);
    wire.onClose(() => this.#idle(socket));
  }

  /** On a connection to the door the request itself says where it goes; to the door itself where it does not. */
  #locate(req: IncomingMessage): Place | undefined {
    if (this.#doors.has(req.socket)) this.#places.set(req.socket, this.#door.place(req) ?? doorPlace);
    return this.#places.get(req.socket);
  }

  /** CONNECT at the door: what follows is a connection of its own, as if captured. False: this is not the door. */
  #tunnel(req: IncomingMessage, socket: Socket, head: Buffer): boolean {
    if (!this.#doors.delete(socket)) return false;
    this.#places.delete(socket);
    socket.allowHalfOpen = false;
    if (this.#busy.has(socket) || isDistrusted(socket)) socket.destroy();
    else this.#door.connect(req, socket, head);
    return true;
  }

  #take(req: IncomingMessage, res: ServerResponse, expects: boolean): void {
    // The answer before this one is the last of its connection.
    if (isDistrusted(req.socket)) return;
    const place = this.#locate(req);
    req.on('error', ignored);
    res.on('error', ignored);
    if (!place) {
      res.destroy();
      return;
    }
    const socket = req.socket;
    const wire = new Http1Wire(req, res, expects);
    this.#begin(wire, socket);
    const local = this.#local.get(place.name);
    if (!local) {
      this.#exchange(place, wire);
      return;
    }
    const checked = checkRequest(req, place);
    if (isProblem(checked)) {
      wire.distrust();
      answerJson(wire, checked.status, { error: checked.code, reason: checked.why, layer: 'proxy' });
      return;
    }
    // A model that nobody listens to any more costs money.
    wire.onHalfClose(() => socket.end());
    wire.goOn();
    req.url = checked.target;
    try {
      local(req, res);
    } catch {
      answerJson(wire, 500, { error: 'internal', reason: 'the request failed here', layer: 'router' });
    }
  }

  #idle(socket: Socket): void {
    const left = (this.#busy.get(socket) ?? 1) - 1;
    if (left > 0) this.#busy.set(socket, left);
    else this.#busy.delete(socket);
  }

  #malformed(error: NodeJS.ErrnoException, socket: Socket): void {
    // A client that goes away in the middle of a request has sent nothing wrong.
    if (error.code === 'ECONNRESET' || error.code === 'HPE_INVALID_EOF_STATE' || !socket.writable) {
      socket.destroy();
      return;
    }
    if (error.code === 'HPE_HEADER_OVERFLOW') this.#turnAway(socket, 431, 'Request Header Fields Too Large', 'head-too-large', 'the request head is too large', undefined);
    else if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') this.#turnAway(socket, 408, 'Request Timeout', 'head-late', 'the request head did not come in time', undefined);
    else this.#turnAway(socket, 400, 'Bad Request', 'malformed', 'the request is not well-formed HTTP', undefined);
  }

  #turnAway(socket: Socket, status: 400 | 405 | 408 | 431 | 501, phrase: string, code: string, why: string, method: string | undefined): void {
    const core = this.#core;
    core.counts.refused += 1;
    const place = this.#places.get(socket) ?? { name: 'unknown', port: 0, tls: false };
    const decision = refusal(core.config.version, `proxy.${code}`, `${why}.`, 'Send a plain HTTP/1.1 request.');
    const eventId = core.correlation();
    core.ports.audit.emit(connectionRecord(core.seen(eventId), place, 'deny', why, decision, method === undefined ? {} : { method }));
    socket.on('error', () => undefined);
    // If an earlier answer on this connection is under way, bytes here would become part of it.
    if (this.#busy.has(socket)) socket.destroy();
    else {
      socket.end(rawAnswer(status, phrase, { ...denialBody(decision, eventId), error: code }));
      setTimeout(() => socket.destroy(), 500).unref();
    }
  }
}

const ignored = (): void => undefined;
const doorPlace: Place = { name: doorName, port: doorPort, tls: false };

/** What a plain connection has sent already; it is put back. */
function firstBytes(socket: Socket): Buffer | undefined {
  if (socket instanceof TLSSocket) return undefined;
  const first: unknown = socket.read();
  if (!Buffer.isBuffer(first)) return undefined;
  socket.unshift(first);
  return first;
}

/** Agreed on in the TLS handshake, or by the preface on a plain connection. */
function speaksHttp2(socket: Socket, first: Buffer | undefined): boolean {
  return socket instanceof TLSSocket ? socket.alpnProtocol === 'h2' : first !== undefined && hasPreface(first);
}

const kernelDestination: Destination = (socket) => ({ address: (socket.localAddress ?? '').replace(/^::ffff:/, ''), port: socket.localPort ?? 0 });

async function resolveBySystem(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, order: 'ipv4first' });
  return found.map(({ address }) => address);
}
