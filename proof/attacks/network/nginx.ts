/** Debian's nginx, unpacked but not installed: in front of a canary it shows what it takes a request for. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { run, until } from '../../harness/instance.ts';
import { freePort } from '../../harness/listener.ts';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../../../layers/network-policy/src/tls/certificate.ts';

export interface Nginx {
  readonly port: number;
  /** In TLS, where it offers HTTP/2 and HTTP/1.1. */
  readonly secure: number;
  /** The authority of its certificate. */
  readonly caPem: string;
  readonly close: () => Promise<void>;
}

/** The program: the system's own, or out of its package; undefined where there is none to be had. */
async function programIn(folder: string): Promise<string | undefined> {
  if (existsSync('/usr/sbin/nginx')) return '/usr/sbin/nginx';
  const fetch = () => run('/usr/bin/env', ['-C', folder, 'apt-get', 'download', '-q', 'nginx'], { timeoutMs: 60_000 });
  if ((await fetch()).code !== 0 && ((await run('apt-get', ['update', '-q'], { timeoutMs: 120_000 })).code !== 0 || (await fetch()).code !== 0)) return undefined;
  const pack = readdirSync(folder).find((name) => name.endsWith('.deb'));
  if (pack === undefined || (await run('dpkg', ['-x', join(folder, pack), join(folder, 'root')])).code !== 0) return undefined;
  const program = join(folder, 'root/usr/sbin/nginx');
  return (await run(program, ['-v'])).code === 0 ? program : undefined;
}

/** Passes every request on to `upstream`, as it understood it, with `X-Nginx-Heard: VERSION PORT`; undefined where nginx is not to be had. `host`: what it has a certificate for. */
export async function openNginx(upstream: number, host: string): Promise<Nginx | undefined> {
  const folder = mkdtempSync('/tmp/nca-nginx-');
  const program = await programIn(folder);
  if (program === undefined) {
    rmSync(folder, { recursive: true, force: true });
    return undefined;
  }
  const [port, secure] = [await freePort(), await freePort()];
  const now = Math.floor(performance.timeOrigin + performance.now());
  const root = createRootCa('nginx', now);
  const key = createLeafKey();
  writeFileSync(join(folder, 'key.pem'), key.keyPem);
  writeFileSync(join(folder, 'cert.pem'), mintLeaf(createIntermediate(root, [host], now), host, key, now));
  mkdirSync(join(folder, 'temp'));
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/temp/${name};`).join(' ');
  writeFileSync(join(folder, 'nginx.conf'), `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error crit;
events { worker_connections 64; }
http { access_log off; ${paths} merge_slashes off; client_max_body_size 10m;
  server { listen 127.0.0.1:${port}; listen 127.0.0.1:${secure} ssl http2; ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem; location / { proxy_pass http://127.0.0.1:${upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_set_header X-Nginx-Method $request_method; proxy_set_header X-Nginx-Heard "$server_protocol $server_port"; } } }
`);
  const child = spawn(program, ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'ignore' });
  const ended = new Promise<void>((done) => child.once('close', () => done()).once('error', () => done()));
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const up = await until('nginx', async () => {
    const socket = connect(port, '127.0.0.1');
    const connected = await new Promise<boolean>((done) => socket.once('connect', () => done(true)).once('error', () => done(false)));
    socket.destroy();
    return connected ? true : undefined;
  }).catch(() => undefined);
  if (up) return { port, secure, caPem: root.certPem, close };
  await close();
  return undefined;
}
