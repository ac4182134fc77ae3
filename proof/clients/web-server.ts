/** The other side: one TLS server with pages, a git repository, package indexes, a WebSocket, gRPC and MCP; it keeps what reached it. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import type { Http2SecureServer, Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { serveGit } from './git-server.ts';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '@nemoclaw/network-policy';
import { WebSocketServer } from 'ws';

export interface WebServer {
  readonly port: number;
  /** Authority of its certificate. */
  readonly caPem: string;
  /** `METHOD path` of every request, `WS text` of every message, `GRPC path`, `MCP method tool`. */
  readonly heard: string[];
  close(): Promise<void>;
}

/** What `root` holds: repo.git (that takes pushes), package.tgz, a wheel. */
export async function openWebServer(names: readonly string[], root: string): Promise<WebServer> {
  const now = Date.now();
  const ca = createRootCa('clients', now);
  const leafKey = createLeafKey();
  const contexts = new Map(names.map((name) => [name, mintLeaf(createIntermediate(ca, [name], now), name, leafKey, now)]));
  const { createSecureContext } = await import('node:tls');
  const heard: string[] = [];
  const first = contexts.get(names[0] ?? '') ?? '';
  const server: Http2SecureServer = createSecureServer({ allowHTTP1: true, key: leafKey.keyPem, cert: first, SNICallback: (name, done) => done(null, createSecureContext({ key: leafKey.keyPem, cert: contexts.get(name) ?? first })) });
  const sockets = new Set<Socket>();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
  });
  server.on('request', (req, res) => {
    if (req.headers['content-type'] === 'application/grpc') {
      grpc(req, res, heard);
      return;
    }
    if (req.url?.startsWith('/git/') === true) {
      heard.push(`${req.method} ${req.url}`);
      serveGit(req, res, root);
      return;
    }
    let body = '';
    req.on('data', (part: Buffer) => {
      body += part.toString('latin1');
    });
    req.on('end', () => answer(req, res, body, root, heard));
  });
  const messages = new WebSocketServer({ noServer: true });
  server.on('upgrade', (req, socket, head) => messages.handleUpgrade(req, socket, head, (ws) => {
    heard.push(`GET ${req.url ?? ''} websocket`);
    ws.on('message', (data) => {
      heard.push(`WS ${String(data)}`);
      ws.send(`echo ${String(data)}`);
    });
  }));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port, caPem: ca.certPem, heard,
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const session of sessions) session.destroy();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const types: Readonly<Record<string, string>> = { html: 'text/html', json: 'application/json', tgz: 'application/octet-stream', whl: 'application/octet-stream' };

// A browser prints what it has when everything is loaded, which is once the picture is answered.
const page = `<!doctype html><title>loading</title><p id=out>loading</p><img src=/wait><script>
const ws = new WebSocket('wss://' + location.host + '/ws');
ws.onopen = () => ws.send('from the page');
ws.onmessage = async (m) => { const text = await (await fetch('/hello')).text(); document.getElementById('out').textContent = 'page: ' + m.data + ', ' + text + ', ' + performance.getEntriesByType('navigation')[0].nextHopProtocol; await fetch('/result'); };
</script>`;

function answer(req: Http2ServerRequest, res: Http2ServerResponse, body: string, root: string, heard: string[]): void {
  const path = (req.url ?? '').split('?')[0] ?? '';
  heard.push(`${req.method} ${req.url}`);
  const send = (status: number, type: string, content: string | Buffer): void => {
    res.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(content) });
    res.end(content);
  };
  const origin = `https://${req.authority ?? req.headers.host ?? ''}`;
  if (path === '/hello') return send(200, 'text/plain', `hello over ${req.httpVersion}`);
  if (path === '/page') return send(200, 'text/html', page);
  if (path === '/result') return send(200, 'text/plain', 'ok');
  if (path === '/wait') return waitFor(() => heard.includes('GET /result'), () => send(404, 'text/plain', 'no picture'));
  if (path === '/mcp' && req.method === 'POST') return mcp(req, res, body, heard);
  if (path === '/npm/small') {
    const tarball = readFileSync(join(root, 'package.tgz'));
    const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    return send(200, 'application/json', JSON.stringify({ name: 'small', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { name: 'small', version: '1.0.0', dist: { tarball: `${origin}/files/package.tgz`, integrity } } } }));
  }
  if (path === '/simple/small/') return send(200, 'text/html', `<!doctype html><a href="${origin}/files/small-1.0.0-py3-none-any.whl">small-1.0.0-py3-none-any.whl</a>`);
  const file = path.startsWith('/files/') ? join(root, path.slice(7)) : '';
  if (file !== '' && !path.includes('..') && existsSync(file) && statSync(file).isFile()) return send(200, types[file.split('.').at(-1) ?? ''] ?? 'text/plain', readFileSync(file));
  return send(404, 'text/plain', 'not here');
}

function waitFor(happened: () => boolean, then: () => void, tries = 2400): void {
  if (happened() || tries === 0) then();
  else setTimeout(() => waitFor(happened, then, tries - 1), 50);
}

/** Unary: the message comes back (gRPC over HTTP/2, PROTOCOL-HTTP2.md). */
function grpc(req: Http2ServerRequest, res: Http2ServerResponse, heard: string[]): void {
  heard.push(`GRPC ${req.url}`);
  const parts: Buffer[] = [];
  req.on('data', (part: Buffer) => parts.push(part));
  req.on('end', () => {
    res.writeHead(200, { 'content-type': 'application/grpc' });
    res.addTrailers({ 'grpc-status': '0' });
    res.end(Buffer.concat(parts));
  });
}

/** Just enough of MCP's streamable HTTP (2025-06-18) for a client to call two tools, in the one session that it is given. */
function mcp(req: Http2ServerRequest, res: Http2ServerResponse, body: string, heard: string[]): void {
  const session = 'session-of-the-proof';
  const send = (status: number, type: string, content: string): void => {
    res.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(content), 'mcp-session-id': session });
    res.end(content);
  };
  const { id, method, params } = JSON.parse(body) as { id?: number; method: string; params?: { name?: string } };
  heard.push(`MCP ${method} ${params?.name ?? ''}`.trim());
  if (method !== 'initialize' && req.headers['mcp-session-id'] !== session) return send(400, 'text/plain', 'no session');
  if (id === undefined) return send(202, 'text/plain', '');
  const result =
    method === 'initialize'
      ? { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'proof', version: '1' } }
      : method === 'tools/list'
        ? { tools: [{ name: 'search', inputSchema: { type: 'object' } }, { name: 'delete_all', inputSchema: { type: 'object' } }] }
        : { content: [{ type: 'text', text: `done ${params?.name ?? ''}` }] };
  return send(200, 'application/json', JSON.stringify({ jsonrpc: '2.0', id, result }));
}
