/** The way in: one listener for all sandboxes of a worker. `/NAME/path…` goes to the sandbox NAME, if a rule of its policy proves the caller; everybody else is told "not found". */
import { createServer as createHttp } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { constants } from 'node:crypto';
import { Server as TlsServer } from 'node:tls';
import type { AuditSink, Clock, IngressListen } from '@nemoclaw/contract';
import { Admission } from './admission.ts';
import type { IngressSandbox } from './admission.ts';

const limits = { connections: 512, headMs: 10_000, requestMs: 30_000, headBytes: 16 * 1024, headers: 64 } as const;

export class IngressDoor {
  readonly #admission: Admission;
  #server: Server | undefined;
  #listen: IngressListen | undefined;

  constructor(ports: { readonly clock: Clock; readonly audit: AuditSink; readonly recording: () => boolean }) {
    this.#admission = new Admission(ports);
  }

  /** The rules of one sandbox from the next request on; undefined: none. */
  set(id: string, sandbox: IngressSandbox | undefined): void {
    this.#admission.set(id, sandbox);
    this.#authorities();
  }

  /** Listens from now on, in cleartext only where nobody else can listen in (behind a proxy of the operator); a former listener is closed. Resolves with the port; rejects where it cannot listen, or where it would have to listen in cleartext on more than loopback. */
  async listen(listen: IngressListen): Promise<number> {
    if (listen.tls === null && !/^(127\.|::1$|localhost$)/.test(listen.host)) throw new Error('without a certificate ingress listens on loopback only');
    await this.close();
    const take: RequestListener = (req, res) => void this.#take(req, res);
    const options = { maxHeaderSize: limits.headBytes, headersTimeout: limits.headMs, requestTimeout: limits.requestMs, insecureHTTPParser: false, keepAliveTimeout: 5000 };
    const server =
      listen.tls === null
        ? createHttp(options, take)
        : createHttps({ ...options, cert: listen.tls.certPem, key: listen.tls.keyPem, minVersion: 'TLSv1.2', requestCert: true, rejectUnauthorized: false, secureOptions: constants.SSL_OP_NO_TICKET, handshakeTimeout: limits.headMs, ca: this.#ca(listen.tls.certPem) }, take);
    // Who has sent a whole call and closes its side waits for the answer; what it cuts is no call.
    Object.assign(server, { httpAllowHalfOpen: true });
    server.maxConnections = limits.connections;
    server.maxHeadersCount = limits.headers;
    for (const event of ['upgrade', 'connect'] as const) server.on(event, (_req, socket) => socket.destroy());
    server.on('clientError', (_error, socket) => socket.destroy());
    server.on('checkContinue', take);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: listen.host, port: listen.port }, () => {
        server.off('error', reject);
        server.on('error', () => undefined);
        resolve();
      });
    });
    this.#server = server;
    this.#listen = listen;
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    server.closeAllConnections();
    await new Promise<void>((done) => server.close(() => done()));
  }

  /** A client is asked for a certificate under any of the authorities; which rule it proves is seen later. Without one, our own certificate stands in: the public authorities prove nothing here. */
  #ca(own: string): string[] {
    const all = this.#admission.authorities();
    return all.length === 0 ? [own] : all;
  }

  #authorities(): void {
    const tls = this.#listen?.tls;
    if (!tls || !(this.#server instanceof TlsServer)) return;
    this.#server.setSecureContext({ cert: tls.certPem, key: tls.keyPem, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET, ca: this.#ca(tls.certPem) });
  }

  async #take(req: IncomingMessage, res: ServerResponse): Promise<void> {
    req.on('error', () => undefined);
    res.on('error', () => undefined);
    const answer = await this.#admission.answer(req, () => res.writeContinue()).catch(() => ({ status: 500, contentType: 'application/json', body: Buffer.from('{"error":"internal"}\n'), retryAfter: 0, last: true }));
    if (res.destroyed) return;
    res.writeHead(answer.status, {
      'content-type': answer.contentType, 'content-length': answer.body.length, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff',
      ...(answer.retryAfter > 0 ? { 'retry-after': String(answer.retryAfter) } : {}), ...(answer.last || !req.complete ? { connection: 'close' } : {}),
    });
    res.end(req.method === 'HEAD' ? undefined : answer.body);
  }
}
