/** Takes a captured connection: finds its name, looks at its first bytes, and gives it to HTTP, to TLS, to a splice, or to nobody. */
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { readClientHello } from '../tls/client-hello.ts';
import type { Decision } from '@nemoclaw/contract';
import type { TlsContexts } from '../tls/contexts.ts';
import type { Core } from '../core.ts';
import { refusal } from '../core.ts';
import { doorName } from '../doors/door.ts';
import { serveDnsStream } from '../dns/dns-stream.ts';
import { isOwnProtocol, serverFirst, spokenBy } from '../protocols/speak.ts';
import type { OwnProtocol } from '../protocols/speak.ts';
import { connectionRecord } from '../records.ts';
import type { Place } from '../http/request-check.ts';
import { firstWords, tlsHandshake } from './first-words.ts';
import { Splice } from './splice.ts';
import type { TokenBucket } from '../fairness/token-bucket.ts';

export interface CaptureOptions {
  readonly core: Core;
  readonly contexts: TlsContexts;
  readonly handshakes: TokenBucket;
  /** Whether we answer this name ourselves. */
  readonly isLocal: (name: string) => boolean;
  /** A question over TCP: the answer, or undefined where none is given. */
  readonly dns: (packet: Buffer) => Buffer | undefined;
  /** A connection to the explicit door, whose first byte is known. */
  readonly door: (socket: Socket, first: number) => void;
  /** A connection that speaks HTTP from its next byte on. */
  readonly http: (socket: Socket, place: Place) => void;
}

const dnsPort = 53;
// How long a client on a raw port may stay silent before the server is asked whether it speaks first.
const serverFirstMs = 150;
// How long one may stay silent where nothing that it could say is allowed: a slow client of HTTP or TLS still gets the answer that teaches.
const deniedSilentMs = 1000;
// TLS alerts: fatal, unrecognized_name and access_denied (RFC 8446 §6).
const unrecognizedName = Buffer.from([0x15, 3, 3, 0, 2, 2, 112]);
const accessDenied = Buffer.from([0x15, 3, 3, 0, 2, 2, 49]);

/** `name` undefined: a synthetic address that was never given out. */
export function capture(options: CaptureOptions, socket: Socket, name: string | undefined, port: number): void {
  const { core } = options;
  socket.on('error', () => undefined);
  // Whatever resolver was meant, as over UDP.
  if (port === dnsPort) {
    serveDnsStream(socket, options.dns, core.ports.limits.idleMs);
    return;
  }
  if (name === undefined) {
    refuse(core, socket, { name: 'unknown', port, tls: false }, 'proxy.unknown-address', 'no name belongs to this address');
    return;
  }
  // Whoever comes to the door may go on to any host.
  const program = core.ports.programs?.wanted(socket, name === doorName ? undefined : name);
  if (program === undefined) take(options, socket, name, port, undefined);
  else {
    void program.then((found) => {
      try {
        if (!socket.destroyed) take(options, socket, name, port, found);
      } catch {
        // One connection's failure stays its own.
        socket.destroy();
      }
    });
  }
}

function take(options: CaptureOptions, socket: Socket, name: string, port: number, program: string | undefined): void {
  const { core } = options;
  const plain: Place = { name, port, tls: false, program };
  if (name === doorName) {
    peek(socket, core.ports.limits.helloMs, (first) => {
      if (first === 'silent') refuse(core, socket, plain, 'proxy.silent', 'nothing was sent in time');
      else options.door(socket, first[0] ?? 0);
    });
    return;
  }
  const local = options.isLocal(name);
  const handling = local ? 'inspect' : core.ports.judge.handling(name, port);
  if (isOwnProtocol(handling)) {
    takeOwn(options, socket, plain, handling);
    return;
  }
  const takeHello = (first: Buffer): void => takeTls(options, socket, first, { ...plain, tls: true }, handling === 'passthrough' || handling === 'unread', local);
  if (handling === 'raw' || handling === 'unread') {
    peek(socket, serverFirstMs, (first) => {
      const words = first === 'silent' ? 'more' : firstWords(first);
      if (first !== 'silent' && words === 'tls') takeHello(first);
      else if (words === 'http') options.http(socket, plain);
      else void new Splice(core, plain, socket, words === 'more' && handling === 'raw' ? () => take(options, socket, name, port, program) : undefined).run();
    });
    return;
  }
  const read = (first: Buffer): void => {
    if (first[0] === tlsHandshake) takeHello(first);
    else if (!local && firstWords(first) === 'other' && endIfDenied(core, socket, plain)) return;
    else if (looksLikeHttp(first)) options.http(socket, plain);
    else refuse(core, socket, plain, 'proxy.protocol', 'neither TLS nor HTTP');
  };
  const { helloMs } = core.ports.limits;
  const patience = Math.min(deniedSilentMs, helloMs);
  peek(socket, patience, (first) => {
    if (first !== 'silent') read(first);
    else if (local || !endIfDenied(core, socket, plain)) {
      peek(socket, helloMs - patience, (late) => {
        if (late !== 'silent') read(late);
        else refuse(core, socket, plain, 'proxy.silent', 'nothing was sent in time');
      });
    }
  });
}

/** The decision on a connection where nothing could be allowed whatever is said; undefined where something could. */
function deniedWhole(core: Core, place: Place): Decision | undefined {
  const decision = core.decide(core.request('connect', { kind: 'host', host: place.name, port: place.port, ...core.programAt(place) }));
  return decision.verdict === 'deny' ? decision : undefined;
}

function endIfDenied(core: Core, socket: Socket, place: Place): boolean {
  const decision = deniedWhole(core, place);
  if (!decision) return false;
  core.counts.denied += 1;
  core.folded.emit(decision.rules[0]?.id ?? 'denied', `${place.name}:${place.port}`, connectionRecord(core.seen(core.correlation()), place, 'deny', 'denied', decision));
  socket.destroy();
  return true;
}

/** A protocol that the policy names for this port: it is spoken here, and nothing else is. */
function takeOwn(options: CaptureOptions, socket: Socket, place: Place, protocol: OwnProtocol): void {
  const { core, contexts } = options;
  const speak = (client: Socket, where: Place): void => spokenBy(protocol, { core, contexts, place: where, client });
  if (serverFirst(protocol, place.port)) {
    speak(socket, place);
    return;
  }
  peek(socket, core.ports.limits.helloMs, (first) => {
    if (first === 'silent') refuse(core, socket, place, 'proxy.silent', 'nothing was sent in time');
    else if (first[0] === tlsHandshake) takeTls(options, socket, first, { ...place, tls: true }, false, false, speak);
    else speak(socket, place);
  });
}

function takeTls(options: CaptureOptions, socket: Socket, first: Buffer, place: Place, passthrough: boolean, local: boolean, next: (socket: Socket, place: Place) => void = options.http): void {
  const { core } = options;
  const timer = setTimeout(() => {
    stop();
    refuse(core, socket, place, 'proxy.hello-late', 'the ClientHello did not come in time');
  }, core.ports.limits.helloMs);
  const parts = [first];
  // Looked at again only when it may be whole: a hello in records of one byte would else be read from its beginning for each of them.
  let missing = 0;
  const look = (): void => {
    const bytes = Buffer.concat(parts);
    const hello = readClientHello(bytes);
    if (hello.state === 'more') {
      parts.splice(0, parts.length, bytes);
      missing = hello.missing;
      return;
    }
    stop();
    if (hello.state === 'bad') refuse(core, socket, place, 'proxy.hello', hello.why, accessDenied);
    else if (isIP(place.name) !== 0 && !passthrough) refuse(core, socket, place, 'proxy.address-literal', 'TLS to an address without a name', accessDenied);
    // A protocol of its own has one name at each address; redis-cli sends none.
    else if (isIP(place.name) === 0 && hello.serverName === undefined && next === options.http) refuse(core, socket, place, 'proxy.server-name', 'TLS without a server name', unrecognizedName);
    else if (hello.serverName !== undefined && hello.serverName !== place.name) refuse(core, socket, place, 'proxy.server-name', 'the server name is not the name that was looked up', unrecognizedName);
    else if (!options.handshakes.take()) refuse(core, socket, place, 'proxy.handshake-rate', 'too many handshakes at once');
    else {
      socket.unshift(bytes);
      const take = (): void => {
        if (socket.destroyed) return;
        if (passthrough && !local) void new Splice(core, place, socket).run();
        else decrypt(options, socket, place, next !== options.http ? [] : local ? ['http/1.1'] : ['h2', 'http/1.1'], next);
      };
      if (!core.pace.run(take)) refuse(core, socket, place, 'proxy.handshake-rate', 'too many handshakes wait for their turn');
    }
  };
  const read = (): void => {
    const next: unknown = socket.read();
    if (!Buffer.isBuffer(next)) return;
    parts.push(next);
    missing -= next.length;
    if (missing <= 0) guarded();
  };
  const ended = (): void => {
    socket.destroy();
  };
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', read);
    socket.off('end', ended);
    socket.off('close', stop);
  };
  const guarded = (): void => {
    try {
      look();
    } catch {
      // A name that no certificate can be made for, or a failure of ours: this connection ends, no other.
      stop();
      socket.destroy();
    }
  };
  socket.on('readable', read);
  socket.on('end', ended);
  socket.on('close', stop);
  guarded();
}

function decrypt(options: CaptureOptions, socket: Socket, place: Place, protocols: string[], next: (socket: Socket, place: Place) => void): void {
  const { core, contexts } = options;
  const tls = new TLSSocket(socket, { isServer: true, secureContext: contexts.for(place.name), ...(protocols.length > 0 ? { ALPNProtocols: protocols } : {}) });
  const timer = setTimeout(() => tls.destroy(), core.ports.limits.helloMs);
  let secure = false;
  tls.on('error', () => undefined);
  tls.on('_tlsError', () => tls.destroy());
  tls.once('close', () => {
    clearTimeout(timer);
    socket.destroy();
    if (!secure) {
      const seen = core.seen(core.correlation());
      core.folded.emit('proxy.handshake-given-up', `${place.name}:${place.port}`, { ...connectionRecord(seen, place, 'allow', 'the client gave up the TLS handshake; it may not trust the sandbox certificate authority'), severity: 2 });
    }
  });
  tls.once('secure', () => {
    secure = true;
    clearTimeout(timer);
    core.counts.handshakes += 1;
    // As outside: a client of another protocol is not left waiting where everything is denied.
    if (next !== options.http || options.isLocal(place.name) || tls.alpnProtocol === 'h2' || !deniedWhole(core, place)) next(tls, place);
    else {
      peek(tls, deniedSilentMs, (first) => {
        const words = first === 'silent' ? 'other' : firstWords(first);
        if (words === 'http' || words === 'more' || !endIfDenied(core, tls, place)) next(tls, place);
      });
    }
  });
}

/** Hands over the first bytes, if they come within `ms`; but for a TLS record's they are put back. */
function peek(socket: Socket, ms: number, done: (first: Buffer | 'silent') => void): void {
  let over = false;
  const finish = (first: Buffer | 'silent'): void => {
    if (over) return;
    gone();
    socket.off('readable', read);
    socket.off('close', gone);
    try {
      done(first);
    } catch {
      // One connection's failure stays its own.
      socket.destroy();
    }
  };
  const gone = (): void => {
    over = true;
    clearTimeout(timer);
  };
  const read = (): void => {
    const bytes: unknown = socket.read();
    if (!Buffer.isBuffer(bytes)) {
      if (socket.readableEnded) socket.destroy();
      return;
    }
    if (bytes[0] !== tlsHandshake) socket.unshift(bytes);
    finish(bytes);
  };
  // What came while this process was busy is looked at first.
  const timer = setTimeout(() => setImmediate(finish, 'silent'), ms);
  socket.on('readable', read);
  socket.once('end', () => { if (!over) socket.destroy(); });
  socket.once('close', gone);
}

const looksLikeHttp = (bytes: Buffer): boolean => (bytes[0] ?? 0) >= 0x41 && (bytes[0] ?? 0) <= 0x5a;

function refuse(core: Core, socket: Socket, place: Place, rule: string, why: string, alert?: Buffer): void {
  core.counts.refused += 1;
  core.folded.emit(rule, `${place.name}:${place.port}`, connectionRecord(core.seen(core.correlation()), place, 'deny', why, refusal(core.config.version, rule, `${why}.`, '')));
  if (alert && socket.writable) {
    socket.end(alert);
    socket.resume();
    setTimeout(() => socket.destroy(), 200).unref();
  } else socket.destroy();
}
