/** A private instance whose worker:1 may be hostile, driven through the gateway's own socket; two workers, no demo services, so that several can run on one machine. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { SandboxView } from '@nemoclaw/contract';
import { placesFrom } from '../../../cli/src/places.ts';
import { configFile, writeDaemonConfig } from '../../../cli/src/setup/daemon-config.ts';
import { ensureIdentities, type Identities } from '../../../cli/src/setup/identities.ts';
import { register } from '../../../cli/src/setup/workspace.ts';
import { Instance, run, until, type Result } from '../../harness/instance.ts';
import { HostileHub } from './hostile-hub.ts';

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}
/** A record of the ledger, as far as proofs look at it. */
export interface RecordLine {
  readonly class_uid: number;
  readonly message: string;
  readonly metadata: { readonly sequence: number };
  readonly unmapped: { readonly layer: string; readonly sandbox: string; readonly verdict?: string; readonly data?: Readonly<Record<string, unknown>>; readonly source: { readonly name: string } };
}
export interface OwnProcess {
  readonly pid: number;
  /** gateway, worker:1, openshelld, shim, init … */
  readonly name: string;
}

export class PrivateInstance {
  readonly instance = new Instance();
  readonly hub = new HostileHub();
  readonly identities: Identities = ensureIdentities(placesFrom({ NEMOCLAW_ROOT: this.instance.root })).identities;
  #supervisor: ChildProcess | undefined;

  /** Installs the copy, writes the configuration, starts everything and waits until both workers and the record are up. */
  static async start(options: { readonly hostile: boolean }): Promise<PrivateInstance> {
    const made = new PrivateInstance();
    try {
      await made.#begin(options.hostile);
    } catch (error) {
      await made.stop();
      throw error;
    }
    return made;
  }

  async #begin(hostile: boolean): Promise<void> {
    const { instance } = this;
    const installed = await instance.cli(['version'], { timeoutMs: 180_000 });
    if (installed.code !== 0) throw new Error(`the copy could not be installed:\n${installed.out}${installed.err}`);
    const lib = realpathSync(instance.lib);
    const here = join(lib, 'proof/attacks/data-plane');
    mkdirSync(here, { recursive: true, mode: 0o755 });
    for (const name of ['hostile-worker.ts', 'hostile-orders.ts', 'attempts.py']) cpSync(join(import.meta.dirname, name), join(here, name));
    for (const name of ['alpha', 'beta']) cpSync(join(import.meta.dirname, 'blueprints', name), join(lib, 'blueprints', name), { recursive: true });
    const places = placesFrom({ NEMOCLAW_ROOT: instance.root });
    writeDaemonConfig(places, this.identities);
    const hubPath = join(instance.root, 'hub.sock');
    await this.hub.listen(hubPath);
    const config = JSON.parse(readFileSync(configFile(places), 'utf8')) as { workers: number; services: { name: string; role: string; argv: string[]; env: Record<string, string> }[] };
    config.workers = 2;
    config.services = config.services.filter(({ role }) => role !== 'demo');
    for (const service of config.services) {
      if (service.role !== 'worker' || !hostile) continue;
      service.argv = ['{node}', '{lib}/proof/attacks/data-plane/hostile-worker.ts'];
      service.env['HOSTILE_HUB'] = hubPath;
    }
    writeFileSync(configFile(places), JSON.stringify(config, undefined, 1));
    const program = join(lib, 'layers/openshell/native/build/openshell-supervisor');
    this.#supervisor = spawn(program, ['--config', configFile(places)], { stdio: ['ignore', 'ignore', 'ignore'], cwd: '/' });
    await until('the services', async () => (await this.#isUp()) || undefined);
  }

  async #isUp(): Promise<boolean> {
    try {
      const { body } = await this.api('GET', '/v1/status');
      const { services, record } = body as { services: { name: string; up: boolean }[]; record: { up: boolean } };
      return record.up && ['worker:1', 'worker:2', 'openshelld'].every((name) => services.some((service) => service.name === name && service.up));
    } catch {
      return false;
    }
  }

  /** Waits until worker:1 is linked with the gateway again (it was restarted). */
  async up(): Promise<void> {
    await until('the services', async () => (await this.#isUp()) || undefined);
  }

  /** One request to the gateway's API, as root. */
  api(method: string, path: string, body?: unknown): Promise<Answer> {
    return new Promise((done, failed) => {
      const req = request({ socketPath: join(this.instance.runDir, 'gateway.sock'), method, path, headers: { 'content-type': 'application/json' }, timeout: 60_000 }, (res) => {
        let text = '';
        res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        res.on('end', () => {
          try {
            done({ status: res.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) });
          } catch (error) {
            failed(error);
          }
        });
      });
      req.on('error', failed);
      req.on('timeout', () => req.destroy(new Error(`${method} ${path} took too long`)));
      req.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** A running sandbox of one of the two blueprints with a workspace of its own. */
  async sandbox(blueprint: 'alpha' | 'beta', provider?: { kind: string; endpoint: string; model: string; apiKey: string }): Promise<SandboxView & { readonly path: string }> {
    const path = join(this.instance.root, `workspace-${blueprint}`);
    mkdirSync(join(path, 'keep'), { recursive: true });
    // as a person's folder would be who lets nobody else in
    chmodSync(path, 0o700);
    writeFileSync(join(path, 'keep/kept.txt'), `kept by ${blueprint}`);
    const reply = await register(join(this.instance.runDir, 'register.sock'), path);
    if (!reply.ok) throw new Error(reply.error);
    const { status, body } = await this.api('POST', '/v1/sandboxes', { name: blueprint, blueprint, registration: reply.id, ...(provider ? { provider } : {}) });
    if (status >= 300) throw new Error(`sandbox ${blueprint}: ${status} ${JSON.stringify(body)}`);
    return { ...(body as SandboxView), path };
  }

  async sandboxes(): Promise<SandboxView[]> {
    return (await this.api('GET', '/v1/sandboxes')).body as SandboxView[];
  }

  async approvals(): Promise<{ id: string; state: string; sandbox: string }[]> {
    return (await this.api('GET', '/v1/approvals')).body as { id: string; state: string; sandbox: string }[];
  }

  /** The installed `nemoclaw`, which stays as it was at the start whatever happens to the checkout. */
  cli(args: readonly string[], timeoutMs = 180_000): Promise<Result> {
    return run(join(this.instance.root, 'opt/nemoclaw/bin/nemoclaw'), args, { env: this.instance.env, timeoutMs });
  }

  /** A command inside a sandbox, to its end. */
  exec(name: string, argv: readonly string[], timeoutMs = 180_000): Promise<Result> {
    return this.cli([name, 'exec', '--', ...argv], timeoutMs);
  }

  get lib(): string {
    return realpathSync(this.instance.lib);
  }
  get supervisorPid(): number {
    return this.#supervisor?.pid ?? -1;
  }

  /** Every process of this instance, and of no other. */
  processes(): OwnProcess[] {
    const found: OwnProcess[] = [];
    const walk = (pid: number): void => {
      found.push({ pid, name: nameOf(pid) });
      for (const child of children(pid)) walk(child);
    };
    if (this.supervisorPid > 0) walk(this.supervisorPid);
    return found;
  }

  /** Those of them that stay: not what a service has just started and waits for, which may be gone when it is tried. */
  async lasting(): Promise<OwnProcess[]> {
    const before = this.processes();
    await new Promise((done) => setTimeout(done, 500));
    const now = this.processes();
    return before.filter((one) => now.some(({ pid, name }) => pid === one.pid && name === one.name));
  }

  pidOf(name: string): number {
    return this.processes().find((one) => one.name === name)?.pid ?? -1;
  }

  /** What is on record now. */
  records(): RecordLine[] {
    const dir = join(this.instance.state, 'ledger');
    return readdirSync(dir)
      .filter((name) => name.startsWith('events-'))
      .sort()
      .flatMap((name) => readFileSync(join(dir, name), 'utf8').split('\n').filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as RecordLine));
  }

  /** True when a record that matches comes within `ms`. */
  async recorded(matches: (record: RecordLine) => boolean, ms = 60_000): Promise<boolean> {
    return until('a record', () => (this.records().some(matches) ? true : undefined), ms).catch(() => false);
  }

  log(service: string): string {
    const file = join(this.instance.state, 'log', `${service}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  async stop(): Promise<void> {
    const supervisor = this.#supervisor;
    if (supervisor && supervisor.exitCode === null) {
      const ended = new Promise((done) => supervisor.once('exit', done));
      supervisor.kill('SIGTERM');
      await Promise.race([ended, new Promise((done) => setTimeout(done, 60_000).unref())]);
      if (supervisor.exitCode === null) supervisor.kill('SIGKILL');
    }
    this.hub.close();
    await this.instance.destroy();
  }
}

function children(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number));
  } catch {
    return [];
  }
}

function nameOf(pid: number): string {
  try {
    const env = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').find((entry) => entry.startsWith('NEMOCLAW_SERVICE='));
    if (env !== undefined) return env.slice('NEMOCLAW_SERVICE='.length);
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '';
    const uid = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    if (words.includes('openshell-shim')) return uid === '0' ? 'shim' : 'init';
    return words.split('/').at(-1) ?? '?';
  } catch {
    return '?';
  }
}
