/** Debian's nginx, unpacked but not installed: in front of a canary it shows what it takes a request for. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { run, until } from '../../harness/instance.ts';
import { freePort } from '../../harness/listener.ts';

export interface Nginx {
  readonly port: number;
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

/** Passes every request on to `upstream`, as it understood it; undefined where nginx is not to be had. */
export async function openNginx(upstream: number): Promise<Nginx | undefined> {
  const folder = mkdtempSync('/tmp/nca-nginx-');
  const program = await programIn(folder);
  if (program === undefined) {
    rmSync(folder, { recursive: true, force: true });
    return undefined;
  }
  const port = await freePort();
  mkdirSync(join(folder, 'temp'));
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/temp/${name};`).join(' ');
  writeFileSync(join(folder, 'nginx.conf'), `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error crit;
events { worker_connections 64; }
http { access_log off; ${paths} merge_slashes off; client_max_body_size 10m;
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; proxy_set_header X-Nginx-Method $request_method; } } }
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
  if (up) return { port, close };
  await close();
  return undefined;
}
