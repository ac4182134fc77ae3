/** Other programs that decrypt TLS, started beside ours for the benchmarks: mitmproxy (a Debian package) and http-mitm-proxy (npm, MIT), each in a folder of its own. They decide and record nothing. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Peer {
  readonly name: string;
  readonly pid: number | undefined;
  /** Where it takes CONNECT, on loopback. */
  readonly port: number;
  /** A connection through it to a port on this host, on which TLS can begin. */
  connect(port: number): Promise<Socket>;
  /** What its certificates come from; there once the first connection is made. */
  caPem(): string;
  stop(): void;
}

const version = '1.1.0';
/** What was fetched to compare with, kept for the next time. */
export const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nemoclaw-bench');
const library = join(cache, `http-mitm-proxy-${version}`);
const startsWithin = 60_000;

type Start = (say: (text: string) => void) => Promise<Peer>;

/** Those that can be had here; `upstream`: the port that all requests go to; `more`: others than the two that stand beside ours everywhere. What cannot, is said, and stands in no figure. */
export async function startPeers(upstream: number, say: (text: string) => void, more: readonly Start[] = []): Promise<Peer[]> {
  const peers: Peer[] = [];
  for (const start of [...more, startMitmproxy, async (tell: typeof say) => startHttpMitmProxy(upstream, tell)]) {
    try {
      peers.push(await start(say));
    } catch (error) {
      say(`no such peer: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return peers;
}

async function startMitmproxy(say: (text: string) => void): Promise<Peer> {
  if (!existsSync('/usr/bin/mitmdump')) {
    say('installing mitmproxy, to compare with');
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'mitmproxy'], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: 'ignore', timeout: 300_000 });
  }
  if (!existsSync('/usr/bin/mitmdump')) throw new Error('mitmproxy could not be installed');
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-mitm-'));
  const child = spawn('/usr/bin/mitmdump', ['-q', '--listen-host', '127.0.0.1', '-p', String(port), '--set', `confdir=${folder}`, '--set', 'flow_detail=0', '--ssl-insecure'], { stdio: 'ignore' });
  return started('mitmproxy', child, port, folder, 'mitmproxy-ca-cert.pem');
}

const program = `const { Proxy } = require('http-mitm-proxy');
const [, , port, folder, upstream] = process.argv;
const https = require('node:https');
const proxy = new Proxy();
proxy.onError(() => undefined);
// The name exists only here.
proxy.onRequest((context, next) => {
  Object.assign(context.proxyToServerRequestOptions, { host: '127.0.0.1', port: Number(upstream) });
  next();
});
proxy.listen({ host: '127.0.0.1', port: Number(port), sslCaDir: folder, keepAlive: true, httpsAgent: new https.Agent({ keepAlive: true, rejectUnauthorized: false }) });
`;

async function startHttpMitmProxy(upstream: number, say: (text: string) => void): Promise<Peer> {
  if (!existsSync(join(library, 'node_modules/http-mitm-proxy'))) {
    say(`fetching http-mitm-proxy ${version} from npm, to compare with`);
    mkdirSync(library, { recursive: true });
    writeFileSync(join(library, 'package.json'), '{"private":true}\n');
    spawnSync('npm', ['install', '--prefix', library, '--no-audit', '--no-fund', '--ignore-scripts', `http-mitm-proxy@${version}`], { stdio: 'ignore', timeout: 120_000 });
  }
  if (!existsSync(join(library, 'node_modules/http-mitm-proxy'))) throw new Error('http-mitm-proxy could not be fetched');
  writeFileSync(join(library, 'serve.cjs'), program);
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-mitm-'));
  return started('http-mitm-proxy', spawn(process.execPath, [join(library, 'serve.cjs'), String(port), folder, String(upstream)], { stdio: 'ignore', cwd: library }), port, folder, 'certs/ca.pem');
}

/** Resolves when it takes connections and its authority's certificate (`ca`, a file in `folder`) is there; `folder` goes with it. */
export async function started(name: string, child: ChildProcess, port: number, folder: string, ca: string): Promise<Peer> {
  const stop = (): void => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  // Also where the benchmark itself is ended.
  process.once('exit', stop);
  const peer: Peer = { name, pid: child.pid, port, connect: (to) => tunnel(port, to), caPem: () => readFileSync(join(folder, ca), 'utf8'), stop };
  const until = performance.now() + startsWithin;
  while (performance.now() < until && child.exitCode === null) {
    if (existsSync(join(folder, ca)) && (await listens(port))) return peer;
    await new Promise((next) => setTimeout(next, 50));
  }
  stop();
  throw new Error(`${name} does not start`);
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise((done) => {
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  }).then((answer) => {
    socket.destroy();
    return answer === true;
  });
}

async function tunnel(proxy: number, port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: proxy, noDelay: true });
  await once(socket, 'connect');
  socket.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  let answer = '';
  while (!answer.includes('\r\n\r\n')) answer += ((await once(socket, 'data')) as [Buffer])[0].toString('latin1');
  if (!/^HTTP\/1\.1 200/.test(answer)) throw new Error(answer.slice(0, 100));
  return socket;
}

/** One on loopback that nobody uses. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
