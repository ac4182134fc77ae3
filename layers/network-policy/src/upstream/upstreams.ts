/** Connections to the outside: resolved once, checked, and made to exactly the address that was checked. */
import { isIP, connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { Clock } from '@nemoclaw/contract';
import { isPublicAddress, isWithin } from './addresses.ts';
import { leaveBody } from '../body/outgoing-body.ts';
import { Http1Pool } from './http1-upstream.ts';
import { Http2Pool } from './http2-upstream.ts';
import type { Http2Request } from './http2-upstream.ts';
import { fixedAddresses, http1ByHost, pinFor, pinsByHost, samePin } from './pins.ts';
import type { Pin } from './pins.ts';

/** All addresses of a name, IPv4 first. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** A request for one origin. `version`: what the client spoke. */
export interface UpstreamRequest extends Http2Request {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly version: '1.1' | '2';
}

/** The name leads to an address that the policy does not name. */
export class AddressRefused extends Error {}

const connectTimeout = 10_000;
const resolvedFor = 30_000;
const poolLimit = 256;
const idleFor = 30_000;
/** An origin from which nothing comes for so long is not waited for any more. */
const answerFor = 300_000;
// Sessions per origin; each carries up to 100 streams.
const http2Sessions = 8;

export interface UpstreamOptions {
  readonly resolve: Resolve;
  readonly clock: Clock;
  readonly pins: readonly Pin[];
  /** Connections per origin. */
  readonly connections: number;
}

export class Upstreams {
  readonly #options: UpstreamOptions;
  #pins: ReadonlyMap<string, Pin>;
  #http1: ReadonlyMap<string, Pin>;
  readonly #pools = new Map<string, { readonly pool: Http1Pool; readonly host: string }>();
  /** The one that was used last: most requests go to the same origin as the one before. */
  #last: { readonly host: string; readonly port: number; readonly tls: boolean; readonly version: '1.1' | '2'; readonly pool: Http1Pool | Http2Pool } | undefined;
  readonly #http2 = new Map<string, { readonly pool: Http2Pool; readonly host: string }>();
  /** What an origin chose when it was offered both versions; a promise while the first connection is being made. */
  readonly #chosen = new Map<string, { readonly host: string; readonly version: Chosen | Promise<Chosen> }>();
  readonly #resolved = new Map<string, { readonly addresses: readonly string[]; readonly until: number }>();
  readonly #sessions = new Map<string, Buffer>();
  readonly #anchors = new Map<string, SecureContext>();
  readonly #public = createSecureContext({ minVersion: 'TLSv1.2' });

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#pins = pinsByHost(options.pins);
    this.#http1 = http1ByHost(options.pins);
  }

  /** Whether the policy names the addresses of `host`. */
  pinned(host: string): boolean {
    return fixedAddresses(pinFor(this.#pins, host)).length > 0;
  }

  /** Where the policy has `host`. */
  pinOf(host: string): Pin | undefined {
    return pinFor(this.#pins, host);
  }

  /** The pool for one origin of this sandbox. */
  #http1Pool(host: string, port: number, tls: boolean): Http1Pool {
    const origin = originOf(host, port, tls);
    const known = this.#pools.get(origin);
    if (known) return known.pool;
    const connect = (): Promise<Socket> => this.connect(host, port, tls).catch((error: unknown) => {
      // It may speak HTTP/2 only by now.
      this.#forget(origin);
      throw error;
    });
    const pool = new Http1Pool({ connect, connections: this.#options.connections, idleMs: idleFor, answerMs: answerFor });
    this.#pools.set(origin, { pool, host });
    this.#dropIdle(this.#pools, origin);
    return pool;
  }

  /** Sends a request over a pool of its origin, over HTTP/2 where that is offered; failures go to `handler`. */
  send(request: UpstreamRequest, handler: Dispatcher.DispatchHandler): void {
    const { host, port, tls, version } = request;
    const last = this.#last;
    if (last && last.host === host && last.port === port && last.tls === tls && last.version === version) {
      last.pool.dispatch(request, handler);
      return;
    }
    const chosen = this.#versionFor(request);
    if (!(chosen instanceof Promise)) {
      this.#sendBy(chosen, request, handler);
      return;
    }
    chosen.then((one) => this.#sendBy(one, request, handler), (error: unknown) => {
      leaveBody(request.body);
      handler.onResponseError?.(noController, error instanceof Error ? error : new Error(String(error)));
    });
  }

  #versionFor({ host, port, tls, version }: UpstreamRequest): Chosen | Promise<Chosen> {
    // Without TLS nothing is negotiated: who speaks HTTP/2 unasked knows that the origin does.
    if (!tls) return version === '2' ? 'h2' : 'h1';
    if (version === '1.1' && pinFor(this.#http1, host)) return 'h1';
    return this.#chosen.get(originOf(host, port, tls))?.version ?? this.#choose(host, port);
  }

  #sendBy(chosen: Chosen, request: UpstreamRequest, handler: Dispatcher.DispatchHandler): void {
    const { host, port, tls, version } = request;
    const pool = chosen === 'h2' ? this.#http2Pool(host, port, tls) : this.#http1Pool(host, port, tls);
    this.#last = { host, port, tls, version, pool };
    pool.dispatch(request, handler);
  }

  /** Offers an origin both versions for the first time, and keeps the connection for the one it chose. */
  #choose(host: string, port: number): Promise<Chosen> {
    const origin = originOf(host, port, true);
    const pin = pinFor(this.#pins, host);
    const choosing = this.connect(host, port, true, ['h2', 'http/1.1']).then((socket) => {
      // The policy says since then that it leads elsewhere: nothing new goes over this connection.
      if (!samePin(pin, pinFor(this.#pins, host))) {
        socket.destroy();
        return this.#chosen.get(origin)?.version ?? this.#choose(host, port);
      }
      const version = spoken(socket);
      this.#chosen.set(origin, { host, version });
      if (this.#chosen.size > 4096) this.#chosen.clear();
      (version === 'h2' ? this.#http2Pool(host, port, true) : this.#http1Pool(host, port, true)).adopt(socket);
      return version;
    }, (error: unknown) => {
      this.#chosen.delete(origin);
      throw error;
    });
    this.#chosen.set(origin, { host, version: choosing });
    return choosing;
  }

  #http2Pool(host: string, port: number, tls: boolean): Http2Pool {
    const origin = originOf(host, port, tls);
    const known = this.#http2.get(origin);
    if (known) return known.pool;
    const pool = new Http2Pool({
      tls, authority: new URL(origin).host, sessions: http2Sessions, idleMs: idleFor, answerMs: answerFor,
      connect: async () => {
        const socket = await this.connect(host, port, tls, ['h2', 'http/1.1']);
        if (!tls || spoken(socket) === 'h2') return socket;
        socket.destroy();
        this.#http1Only(host, port);
        return undefined;
      },
      ...(tls ? { http1Only: () => this.#http1Only(host, port), instead: (request, handler) => this.#http1Pool(host, port, true).dispatch(request, handler) } : {}),
    });
    this.#http2.set(origin, { pool, host });
    this.#dropIdle(this.#http2, origin);
    return pool;
  }

  /** Of too many pools, the one that was made first of those that have nothing to do. */
  #dropIdle(pools: Map<string, { readonly pool: Http1Pool | Http2Pool }>, keep: string): void {
    if (pools.size <= poolLimit) return;
    const [origin, idle] = [...pools].find(([one, { pool }]) => one !== keep && !pool.busy) ?? [];
    if (origin === undefined) return;
    pools.delete(origin);
    this.#last = undefined;
    idle?.pool.close();
  }

  #forget(origin: string): void {
    this.#chosen.delete(origin);
    this.#last = undefined;
  }

  /** So goes what comes from now on. */
  #http1Only(host: string, port: number): void {
    const origin = originOf(host, port, true);
    this.#forget(origin);
    this.#chosen.set(origin, { host, version: 'h1' });
  }

  /** A connected (and, with `tls`, verified) socket to `host`. Rejects with AddressRefused or the network's error. */
  async connect(host: string, port: number, tls: boolean, protocols: readonly string[] = ['http/1.1']): Promise<Socket> {
    const addresses = await this.#addresses(host);
    let failure: unknown = new Error('the name has no address');
    for (const address of addresses.slice(0, 4)) {
      try {
        const plain = await open(address, port);
        return tls ? await this.secure(plain, host, port, protocols) : plain;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** New pins; connections to hosts whose pin changed are not used again. */
  update(pins: readonly Pin[]): void {
    const before = this.#pins;
    this.#pins = pinsByHost(pins);
    this.#http1 = http1ByHost(pins);
    this.#last = undefined;
    this.#resolved.clear();
    // A resumed session is not verified again, so it would outlive the trust anchor it was verified by.
    this.#sessions.clear();
    for (const pools of [this.#pools, this.#http2]) {
      for (const [origin, { pool, host }] of pools) {
        if (samePin(pinFor(before, host), pinFor(this.#pins, host))) continue;
        pools.delete(origin);
        // Streams that run are decided elsewhere; close lets them end. No request finds it any more, so nobody has to wait until it is closed.
        setImmediate(() => pool.close());
      }
    }
    for (const [origin, { host, version }] of this.#chosen) {
      if (version instanceof Promise || !samePin(pinFor(before, host), pinFor(this.#pins, host))) this.#chosen.delete(origin);
    }
  }

  close(): void {
    for (const { pool } of [...this.#pools.values(), ...this.#http2.values()]) pool.destroy();
    this.#pools.clear();
    this.#http2.clear();
    this.#last = undefined;
  }

  async #addresses(host: string): Promise<readonly string[]> {
    const pin = pinFor(this.#pins, host);
    const fixed = fixedAddresses(pin);
    if (fixed.length > 0) return fixed;
    const blocks = pin?.addresses ?? [];
    const now = this.#options.clock.monotonic();
    const known = this.#resolved.get(host);
    if (known && known.until > now) return known.addresses;
    const all = isIP(host) === 0 ? await this.#options.resolve(host) : [host];
    // The policy changed while it was asked: what was allowed then is kept for nobody.
    if (!samePin(pin, pinFor(this.#pins, host))) return this.#addresses(host);
    const addresses = all.filter(blocks.length > 0 ? (address) => isWithin(address, blocks) : isPublicAddress);
    if (addresses.length === 0 && all.length > 0) throw new AddressRefused(`${host} leads to ${all[0] ?? 'no address'}, which is not ${blocks.length > 0 ? 'in the blocks that the policy names' : 'a public address'}`);
    if (addresses.length === 0) throw new Error(`${host} has no address`);
    if (this.#resolved.size >= 4096) this.#resolved.clear();
    this.#resolved.set(host, { addresses, until: now + resolvedFor });
    return addresses;
  }

  /** TLS on a connected socket, verified for `host`. `protocols`: those that are offered by ALPN, none for []. */
  async secure(plain: Socket, host: string, port: number, protocols: readonly string[]): Promise<Socket> {
    const key = `${host}:${port}`;
    const anchor = this.#anchor(host);
    const session = this.#sessions.get(key);
    const socket = connectTls({
      socket: plain, host, ...(isIP(host) === 0 ? { servername: host } : {}), ...(protocols.length > 0 ? { ALPNProtocols: [...protocols] } : {}), minVersion: 'TLSv1.2', secureContext: anchor, ...(session ? { session } : {}),
    });
    socket.on('session', (fresh: Buffer) => {
      if (anchor !== this.#anchor(host)) return;
      if (this.#sessions.size >= 1024) this.#sessions.clear();
      this.#sessions.set(key, fresh);
    });
    return ready(socket, 'secureConnect');
  }

  #anchor(host: string): SecureContext {
    const caPem = pinFor(this.#pins, host)?.caPem;
    if (caPem === undefined) return this.#public;
    let context = this.#anchors.get(caPem);
    if (!context) {
      context = createSecureContext({ minVersion: 'TLSv1.2', ca: caPem });
      this.#anchors.set(caPem, context);
    }
    return context;
  }
}

type Chosen = 'h1' | 'h2';
const originOf = (host: string, port: number, tls: boolean): string => `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
const spoken = (socket: Socket): 'h1' | 'h2' => (socket instanceof TLSSocket && socket.alpnProtocol === 'h2' ? 'h2' : 'h1');
const noController: Dispatcher.DispatchController = { aborted: true, paused: false, reason: null, abort: () => undefined, pause: () => undefined, resume: () => undefined };

function open(address: string, port: number): Promise<Socket> {
  const socket = connectTcp({ host: address, port, noDelay: true, autoSelectFamily: false });
  socket.setKeepAlive(true, 60_000);
  return ready(socket, 'connect');
}

function ready<T extends Socket>(socket: T, event: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error('the connection took too long')), connectTimeout);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      reject(error);
    };
    const gone = (): void => fail(new Error('the connection was closed at once'));
    socket.once('error', fail);
    socket.once('close', gone);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.off('error', fail);
      socket.off('close', gone);
      // Whoever takes the socket adds a handler of its own; until then an error must not be unhandled.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}
