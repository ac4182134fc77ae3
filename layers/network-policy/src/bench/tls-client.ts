/** Builds the benchmark's client of TLS (tls-client.c), and runs it. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const source = fileURLToPath(new URL('tls-client.c', import.meta.url));
const longest = 300_000;

/** What requests go to: an address at which TLS begins, or after a CONNECT for `tunnel`. */
export interface Target {
  readonly address: string;
  readonly port: number;
  /** The authorities, one of which vouches for `host`; behind a tunnel, for anything. */
  readonly caPem: string;
  readonly tunnel?: string;
}

/** The headers of OpenSSL, for whatever is built with them. */
export function installOpenSsl(): void {
  if (existsSync('/usr/include/openssl/ssl.h')) return;
  spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'libssl-dev'], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: 'ignore', timeout: 120_000 });
}

export class TlsClient {
  readonly #folder = mkdtempSync(join(tmpdir(), 'nemoclaw-tls-client-'));
  readonly #host: string;

  /** Throws with the compiler's output. */
  constructor(host: string) {
    this.#host = host;
    installOpenSsl();
    execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-D_GNU_SOURCE', '-o', join(this.#folder, 'client'), source, '-lssl', '-lcrypto'], { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Requests over `connections`, one after the other on each, `count` of them behind those that warm up: how many in all, how many a second, and the µs that each of the `count` took. */
  async requests(target: Target, count: number, connections: number): Promise<{ readonly sent: number; readonly perSecond: number; readonly micros: readonly number[] }> {
    const [sent = 0, seconds = 0, ...micros] = await this.#run('get', target, count, connections);
    return { sent, perSecond: sent / seconds, micros };
  }

  /** New connections per second, eight at a time. */
  async handshakes(target: Target, count: number): Promise<number> {
    const [made = 0, seconds = 0] = await this.#run('shakes', target, count, 8);
    return made / seconds;
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #run(what: string, { address, port, caPem, tunnel }: Target, count: number, connections: number): Promise<number[]> {
    const ca = join(this.#folder, 'ca.pem');
    writeFileSync(ca, caPem);
    const args = [what, address, String(port), this.#host, ca, String(Math.round(count)), String(connections), ...(tunnel === undefined ? [] : [tunnel])];
    const { stdout } = await promisify(execFile)(join(this.#folder, 'client'), args, { timeout: longest, maxBuffer: 64 << 20 });
    return stdout.trim().split('\n').map(Number);
  }
}
