/** The door for tools that insist on a proxy: CONNECT, absolute-form requests and SOCKS5 on one address. What passes here is decided as if it had been captured. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { denialBody, rawAnswer } from '../exchange/answers.ts';
import { refusal } from '../core.ts';
import type { Core } from '../core.ts';
import { connectionRecord } from '../records.ts';
import { isSynthetic } from '../dns/synthetic.ts';
import { serveSocks, socksReply } from './socks5.ts';
import { readAbsolute, readAuthority } from './target.ts';
import type { Target } from './target.ts';
import { valuesOf } from '../http/fields.ts';
import type { Place } from '../http/request-check.ts';

/** The name of the door inside a sandbox. */
export const doorName = 'proxy.local';
/** The port that is documented; every other port of the name serves the same. */
export const doorPort = 3128;

export interface DoorOptions {
  readonly core: Core;
  readonly isLocal: (name: string) => boolean;
  /** The name that a synthetic address was given out for. */
  readonly nameOf: (address: string) => string | undefined;
  /** Goes on as a captured connection to that name. */
  readonly captured: (socket: Socket, name: string, port: number) => void;
  /** A connection whose requests each say where they go. */
  readonly http: (socket: Socket) => void;
}

export class Door {
  readonly #options: DoorOptions;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** Takes a captured connection to the door; `first` byte is known and still unread. */
  take(socket: Socket, first: number): void {
    if (first === 5) this.#socks(socket);
    else if (first >= 0x41 && first <= 0x5a) this.#options.http(socket);
    else {
      this.#refused({ name: doorName, port: doorPort }, 'proxy.protocol', 'neither HTTP nor SOCKS5');
      socket.destroy();
    }
  }

  /** Where an absolute-form request goes, which then is as if it had been captured on its way there; undefined for a request to the door itself. */
  place(req: IncomingMessage): Place | undefined {
    const target = readAbsolute(req.url ?? '');
    if (!target || target.name === doorName) return undefined;
    // TLS is the client's to speak, through CONNECT: with `https:` the scheme is refused as not this connection's.
    if (!target.tls) req.url = target.rest;
    return { name: this.#named(target.name) ?? target.name, port: target.port, tls: false, program: this.#options.core.ports.programs?.found(req.socket) };
  }

  /** A CONNECT request; `head` came after it already. */
  connect(req: IncomingMessage, socket: Socket, head: Buffer): void {
    const target = readAuthority(req.url ?? '');
    // A request line without a version is taken for HTTP/0.9, which has no CONNECT.
    if (!target || (req.httpVersion !== '1.1' && req.httpVersion !== '1.0')) {
      this.#end(socket, 400, 'Bad Request', this.#refused({ name: doorName, port: doorPort }, 'proxy.connect-target', 'CONNECT takes host:port, and HTTP/1.0 or 1.1'));
      return;
    }
    const problem = otherThan(req, target);
    if (problem !== undefined) {
      this.#end(socket, 400, 'Bad Request', this.#refused(target, 'proxy.misdirected', problem));
      return;
    }
    const admitted = this.#admit(target, socket);
    if (typeof admitted !== 'string') {
      this.#end(socket, 403, 'Forbidden', admitted.body);
      return;
    }
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    if (head.length > 0) socket.unshift(head);
    this.#options.captured(socket, admitted, target.port);
  }

  #socks(socket: Socket): void {
    serveSocks(socket, this.#options.core.ports.limits.helloMs, {
      refused: (why) => void this.#refused({ name: doorName, port: doorPort }, 'proxy.socks', why),
      request: (target, reply) => {
        const admitted = this.#admit(target, socket);
        reply(typeof admitted === 'string' ? socksReply.succeeded : socksReply.notAllowed);
        if (typeof admitted === 'string') this.#options.captured(socket, admitted, target.port);
      },
    });
  }

  /** The name to go on with, or the denial: what the resolver would not have given an address for. */
  #admit(target: Target, socket: Socket): string | { readonly body: Record<string, unknown> } {
    const { core, isLocal } = this.#options;
    const name = this.#named(target.name);
    if (name === undefined) return { body: this.#refused(target, 'proxy.unknown-address', 'no name belongs to this address') };
    if (name === doorName) return { body: this.#refused(target, 'proxy.door', 'the door does not lead to itself') };
    if (isLocal(name) || core.nameAllowed(name)) return name;
    const decided = core.decide(core.request('connect', { kind: 'host', host: name, port: target.port, ...core.programAt({ name, port: target.port, tls: false, program: core.ports.programs?.found(socket) }) }));
    const decision = decided.verdict === 'deny' ? decided : refusal(core.config.version, 'proxy.name', 'No rule allows anything of this name.', 'Ask the operator.');
    core.counts.denied += 1;
    const correlation = core.correlation();
    core.ports.audit.emit(connectionRecord(core.seen(correlation), { ...target, name, tls: false }, 'deny', 'denied', decision));
    return { body: denialBody(decision, correlation) };
  }

  /** A client that looked the name up itself comes with its synthetic address. Undefined: one that was never given out. */
  #named(name: string): string | undefined {
    return isSynthetic(name) ? this.#options.nameOf(name) : name;
  }

  #refused(target: Target, rule: string, why: string): Record<string, unknown> {
    const { core } = this.#options;
    const correlation = core.correlation();
    core.counts.refused += 1;
    core.ports.audit.emit(connectionRecord(core.seen(correlation), { ...target, tls: false }, 'deny', why, refusal(core.config.version, rule, `${why}.`, '')));
    return { error: rule.replace(/^proxy\./, ''), rule, reason: why, layer: 'proxy', eventId: correlation };
  }

  #end(socket: Socket, status: 400 | 403, phrase: string, body: Readonly<Record<string, unknown>>): void {
    socket.end(rawAnswer(status, phrase, body));
    socket.resume();
    setTimeout(() => socket.destroy(), 500).unref();
  }
}

/** CONNECT has a Host header of its own; a second opinion on where to go is none of ours to weigh. */
function otherThan(req: IncomingMessage, target: Target): string | undefined {
  const hosts = valuesOf(req.rawHeaders, 'host');
  if (hosts.length > 1) return 'the host header comes twice';
  const [host] = hosts;
  if (host === undefined || host === '') return undefined;
  const named = readAuthority(host, target.port);
  // curl and others leave the port out of it.
  return named?.name === target.name && named.port === target.port ? undefined : 'the Host header names another place than CONNECT';
}

/** What the door says to a request that is for itself, above what was denied lately. */
export const doorHelp = `This is the proxy door of a sandbox. It is not needed: connections are captured by themselves.
A tool that insists: HTTP_PROXY and HTTPS_PROXY=http://${doorName}:${doorPort}, ALL_PROXY=socks5h://${doorName}:${doorPort}.
`;
