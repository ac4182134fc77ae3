/** Connections to the outside: resolved once, checked, and made to exactly the address that was checked. */
import { isIP, connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { Clock } from '@nemoclaw/contract';
import { isPublicAddress, isWithin } from './addresses.ts';
import { Http1Pool } from './http1-upstream.ts';
import { Http2Pool } from './http2-upstream.ts';
import type { Http2Request } from './http2-upstream.ts';
import { pinsByHost, pinFor, samePin, fixedAddresses } from './pins.ts';
import type { Pin } from './pins.ts';

/** All addresses of a name, IPv4 first. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** A request for one origin. `version`: what the client spoke; it is kept where the origin speaks it too. */
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
  #pins = new Map<string, Pin>();
  readonly #pools = new Map<string, { readonly pool: Http1Pool; readonly host: string }>();
  /** The one that was used last: most requests go to the same origin as the one before. */
  #last: { readonly host: string; readonly port: number; readonly tls: boolean; readonly pool: Http1Pool } | undefined;
  readonly #http2 = new Map<string, { readonly pool: Http2Pool; readonly host: string }>();
  /** What an origin chose when it was offered HTTP/2; a promise while the first connection is being made. */
  readonly #chosen = new Map<string, 'h1' | 'h2' | Promise<'h1' | 'h2'>>();
  readonly #resolved = new Map<string, { readonly addresses: readonly string[]; readonly until: number }>();
  readonly #sessions = new Map<string, Buffer>();
  readonly #anchors = new Map<string, SecureContext>();
  readonly #public = createSecureContext({ minVersion: 'TLSv1.2' });

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#pins = pinsByHost(options.pins);
  }

  /** Whether the policy names the addresses of `host`. */
  pinned(host: string): boolean {
    return fixedAddresses(pinFor(this.#pins, host)).length > 0;
  }

  /** The pool for one origin of this sandbox. */
  #pool(host: string, port: number, tls: boolean): Http1Pool {
    const last = this.#last;
    if (last && last.host === host && last.port === port && last.tls === tls) return last.pool;
    const origin = originOf(host, port, tls);
    const pool = this.#pools.get(origin)?.pool ?? new Http1Pool({ connect: () => this.connect(host, port, tls), connections: this.#options.connections, idleMs: idleFor, answerMs: answerFor });
    this.#last = { host, port, tls, pool };
    if (this.#pools.has(origin)) return pool;
    this.#pools.set(origin, { pool, host });
    if (this.#pools.size > poolLimit) dropIdle(this.#pools, origin);
    return pool;
  }

  /** Sends a request over the pool of its origin; failures go to `handler`. */
  send(request: UpstreamRequest, handler: Dispatcher.DispatchHandler): void {
    const { host, port, tls, path, method, headers, body } = request;
    if (request.version === '1.1') {
      this.#pool(host, port, tls).dispatch({ path, method, headers, body }, handler);
      return;
    }
    const origin = originOf(host, port, tls);
    // Without TLS nothing is negotiated: who speaks HTTP/2 unasked knows that the origin does.
    const chosen = tls ? (this.#chosen.get(origin) ?? this.#choose(host, port)) : 'h2';
    if (chosen instanceof Promise) chosen.then((version) => this.#sendBy(version, request, handler), (error: unknown) => handler.onResponseError?.(noController, error instanceof Error ? error : new Error(String(error))));
    else this.#sendBy(chosen, request, handler);
  }

  #sendBy(chosen: 'h1' | 'h2', request: UpstreamRequest, handler: Dispatcher.DispatchHandler): void {
    if (chosen === 'h2') this.#http2Pool(request.host, request.port, request.tls).dispatch(request, handler);
    else this.send({ ...request, version: '1.1' }, handler);
  }

  /** Offers HTTP/2 to an origin for the first time, and keeps the connection if it is taken. */
  #choose(host: string, port: number): Promise<'h1' | 'h2'> {
    const origin = originOf(host, port, true);
    const pin = pinFor(this.#pins, host);
    const choosing = this.connect(host, port, true, ['h2', 'http/1.1']).then((socket) => {
      // The policy says since then that it leads elsewhere: nothing new goes over this connection.
      if (!samePin(pin, pinFor(this.#pins, host))) {
        socket.destroy();
        return this.#chosen.get(origin) ?? this.#choose(host, port);
      }
      const version = spoken(socket);
      this.#chosen.set(origin, version);
      if (this.#chosen.size > 4096) this.#chosen.clear();
      if (version === 'h2') this.#http2Pool(host, port, true).adopt(socket);
      else socket.destroy();
      return version;
    }, (error: unknown) => {
      this.#chosen.delete(origin);
      throw error;
    });
    this.#chosen.set(origin, choosing);
    return choosing;
  }

  #http2Pool(host: string, port: number, tls: boolean): Http2Pool {
    const origin = originOf(host, port, tls);
    const known = this.#http2.get(origin);
    if (known) return known.pool;
    const pool = new Http2Pool({
      tls, authority: new URL(origin).host, sessions: http2Sessions, idleMs: idleFor, answerMs: answerFor,
      connect: async () => {
        const socket = await this.connect(host, port, tls, ['h2']);
        if (!tls || spoken(socket) === 'h2') return socket;
        socket.destroy();
        this.#chosen.delete(origin);
        throw new Error('the origin does not speak HTTP/2 any more');
      },
    });
    this.#http2.set(origin, { pool, host });
    if (this.#http2.size > poolLimit) dropIdle(this.#http2, origin);
    return pool;
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
    this.#chosen.clear();
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

/** The one that was made first of those that have nothing to do. */
function dropIdle(pools: Map<string, { readonly pool: Http1Pool | Http2Pool }>, keep: string): void {
  for (const [origin, { pool }] of pools) {
    if (origin === keep || pool.busy) continue;
    pools.delete(origin);
    pool.close();
    return;
  }
}

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
