/** For tests: a gateway in one process, with a fake openshelld, a fake worker and a record in memory. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { duplexPair, PassThrough, type Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, NemoError, type AuditSink, type CreateResult, type ErrorCode, type GatewayToWorker, type LayerOp, type LedgerEvent, type Registration, type Released, type SandboxConfig, type SeenReport, type Store } from '@nemoclaw/contract';
import { toOcsf } from '@nemoclaw/ledger';
import { createIntermediate, createRootCa } from '@nemoclaw/network-policy';
import type { Backend, ExecRequest, OcsfRecord, RecordReader, Started } from './backend.ts';
import { openGateway, type Gateway } from './compose.ts';
import { explain } from '@nemoclaw/openshell';
import { blueprintFiles } from './fake-blueprint.ts';
import { compileWithDecide } from './policy/engine.ts';
import { Vault } from './credentials/vault.ts';
import { Secrets } from './sandboxes/secrets.ts';
import { MemoryStore } from './store/memory-store.ts';

export { blueprintFiles };

/** Time stands still until a test moves it. */
export class FakeClock {
  time = 1_700_000_000_000;
  /** What somebody set the wall clock ahead. */
  set = 0;
  now(): number {
    return this.time + this.set;
  }
  monotonic(): number {
    return this.time;
  }
}

/** The record in memory: sink and reader at once. `broken` refuses commits. */
export class FakeRecord implements AuditSink, RecordReader {
  readonly events: LedgerEvent[] = [];
  broken = false;
  readonly #followers = new Set<() => void>();

  emit(event: LedgerEvent): void {
    this.events.push(JSON.parse(JSON.stringify(event)) as LedgerEvent);
    for (const follower of this.#followers) follower();
  }
  async commit(event: LedgerEvent): Promise<void> {
    await Promise.resolve();
    if (this.broken) throw new Error('the ledger is not reachable');
    this.emit(event);
  }
  async tail({ sandbox, after, limit }: { sandbox?: string; after: number; limit: number }): Promise<readonly OcsfRecord[]> {
    const records = this.#records(sandbox, after);
    return after < 0 ? records.slice(-limit) : records.slice(0, limit);
  }
  follow(query: { sandbox?: string; after: number }, onRecords: (records: readonly OcsfRecord[]) => void, signal: AbortSignal): void {
    let after = query.after;
    const push = (): void => {
      const records = this.#records(query.sandbox, after);
      after = this.events.length;
      if (records.length > 0) onRecords(records);
    };
    this.#followers.add(push);
    signal.addEventListener('abort', () => this.#followers.delete(push), { once: true });
    push();
  }
  readonly settledAt: number[] = [];
  async settled(openshelld: number): Promise<void> {
    this.settledAt.push(openshelld);
  }
  async status(): Promise<{ up: boolean; count: number; head: string }> {
    return { up: !this.broken, count: this.events.length, head: '' };
  }
  #records(sandbox: string | undefined, after: number): OcsfRecord[] {
    return this.events
      .map((event, index) => toOcsf(event, { chain: 'test', sequence: index + 1, logged: event.time, source: { name: 'test', run: 'r', seq: index + 1 }, previous: undefined }))
      .filter((_, index) => index >= after && (sandbox === undefined || this.events[index]?.sandbox === sandbox));
  }
}

/** openshelld as far as the gateway sees it. */
export class FakeBackend implements Backend {
  readonly sandboxes = new Map<string, { plan: unknown; registration: string; worker: string }>();
  readonly answers: { sandbox: string; holdId: string; verdict: string }[] = [];
  readonly execs: { request: ExecRequest; stdin: PassThrough; stdout: PassThrough; stderr: PassThrough }[] = [];
  readonly signals: { execId: string; signal: number }[] = [];
  readonly resizes: { rows: number; cols: number }[] = [];
  registrations: Registration[] = [];
  facts: Record<string, unknown> = { tier: 'B', landlock: 7, cgroup: { memory: true, pids: true, cpu: true } };
  probe: Record<string, boolean> = { 'landlock.write': true, 'seccomp.mount': true };
  /** Set to fail the next calls of that name. */
  readonly failing = new Map<string, Error>();

  #check(name: string): void {
    const error = this.failing.get(name);
    if (error) throw error;
  }
  async host(): Promise<Readonly<Record<string, unknown>>> {
    this.#check('host');
    return this.facts;
  }
  flushed: string[] = [];
  async flush(sandbox: string): Promise<number> {
    this.#check('flush');
    this.flushed.push(sandbox);
    return 7;
  }
  seenReports = new Map<string, SeenReport>();
  async seen(sandbox: string): Promise<SeenReport> {
    this.#check('seen');
    const report = this.seenReports.get(sandbox);
    if (!report) throw Object.assign(new Error('not seen'), { code: 'not-seen' });
    return report;
  }
  async workspaces(): Promise<readonly Registration[]> {
    return this.registrations;
  }
  async create(request: { sandbox: string; plan: unknown; registration: string; worker: string }): Promise<CreateResult> {
    this.#check('create');
    this.sandboxes.set(request.sandbox, request);
    return { sandbox: request.sandbox, init: 1, uid: 200_000, probe: this.probe, phases: { launch: 1 } };
  }
  async exec(request: ExecRequest): Promise<Started> {
    this.#check('exec');
    const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
    this.execs.push({ request, ...streams });
    return { execId: request.execId, pid: 7, ...streams, stderr: request.tty ? null : streams.stderr };
  }
  async attach(_sandbox: string, execId: string): Promise<Omit<Started, 'stdin' | 'execId'>> {
    this.#check('attach');
    const found = this.execs.find(({ request }) => request.execId === execId);
    if (!found) throw Object.assign(new Error('no such command runs'), { code: 'no-exec' });
    return { pid: 7, stdout: found.stdout, stderr: found.stderr };
  }
  async signal(_sandbox: string, execId: string, signal: number): Promise<void> {
    this.signals.push({ execId, signal });
  }
  async resize(_sandbox: string, _execId: string, rows: number, cols: number): Promise<void> {
    this.resizes.push({ rows, cols });
  }
  readonly layers: { readonly sandbox: string; readonly op: LayerOp; readonly name: string | undefined }[] = [];
  readonly frozen: boolean[] = [];
  /** What the next request about a layer answers; an error is thrown. */
  layerAnswer: unknown = {};
  async freeze(_sandbox: string, frozen: boolean): Promise<void> {
    this.frozen.push(frozen);
  }
  async layer(sandbox: string, op: LayerOp, name?: string): Promise<unknown> {
    this.layers.push({ sandbox, op, name });
    if (op !== 'remove' && this.layerAnswer instanceof Error) throw this.layerAnswer;
    return this.layerAnswer;
  }
  /** What the next destroyed sandbox left in its workspace. */
  released: Released | null = null;
  async destroy(sandbox: string): Promise<Released | null> {
    this.#check('destroy');
    if (!this.sandboxes.delete(sandbox)) throw Object.assign(new Error('no such sandbox'), { code: 'no-sandbox' });
    return this.released;
  }
  async answerHold(sandbox: string, holdId: string, verdict: 'allow' | 'deny'): Promise<void> {
    this.#check('answerHold');
    this.answers.push({ sandbox, holdId, verdict });
  }
}

/** A worker that takes every configuration at once, unless told otherwise. */
export class FakeWorker {
  readonly socket: Duplex;
  readonly heard: GatewayToWorker[] = [];
  readonly configs = new Map<string, SandboxConfig>();
  /** What it says to the next configurations; undefined: nothing at all. */
  reply: ((config: SandboxConfig) => string | undefined) | undefined = () => '';
  closed = false;
  readonly #waiters: (() => void)[] = [];
  #prepared: SandboxConfig | undefined;

  constructor(gateway: Gateway, name = 'worker:1') {
    const [mine, theirs] = duplexPair();
    this.socket = mine;
    const decoder = new FrameDecoder();
    mine.on('data', (chunk: Buffer) => {
      for (const message of decoder.push(chunk) as GatewayToWorker[]) this.#take(message);
    });
    mine.on('close', () => this.#end());
    mine.on('end', () => this.#end());
    mine.on('error', () => undefined);
    gateway.worker(name, theirs);
    theirs.on('close', () => this.#end());
  }
  #end(): void {
    this.closed = true;
    this.#wake();
  }
  #take(message: GatewayToWorker): void {
    this.heard.push(message);
    if (message.t === 'prepare') this.#prepared = message.config;
    if (message.t === 'switch' && this.#prepared) {
      assert.deepEqual([message.sandbox, message.version], [this.#prepared.sandbox, this.#prepared.version]);
      this.#put(this.#prepared);
    }
    if (message.t === 'configure') this.#put(message.config);
    if (message.t === 'flush' && this.reply) this.say({ t: 'flushed', flushId: message.id, sandbox: message.sandbox });
    if (message.t === 'remove') this.configs.delete(message.sandbox);
    this.#wake();
  }
  #put(config: SandboxConfig): void {
    const error = this.reply?.(config);
    if (error === '') this.configs.set(config.sandbox, config);
    if (this.reply) this.say({ t: 'configured', sandbox: config.sandbox, version: config.version, ...(error === '' || error === undefined ? {} : { error }) });
  }
  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
  say(message: unknown): void {
    this.socket.write(encodeFrame(message));
  }
  /** Waits until something it heard fits. */
  async until<T>(find: (worker: this) => T | undefined | false): Promise<T> {
    for (;;) {
      const found = find(this);
      if (found !== undefined && found !== false) return found as T;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }
  outcome(holdId: string): Extract<GatewayToWorker, { t: 'hold.outcome' }> | undefined {
    return this.heard.find((message): message is Extract<GatewayToWorker, { t: 'hold.outcome' }> => message.t === 'hold.outcome' && message.holdId === holdId);
  }
}

export interface World {
  gateway: Gateway;
  worker: FakeWorker;
  readonly store: Store;
  readonly record: FakeRecord;
  readonly backend: FakeBackend;
  readonly clock: FakeClock;
  readonly dir: string;
  people: number;
  /** Writes the blueprint again, some files replaced. */
  blueprint(files?: Readonly<Record<string, string>>, name?: string): void;
  /** A second life of the gateway over the same store, record and openshelld. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** `store` outlives restarts, and is closed by whoever gave it; memory by default. */
export async function makeWorld(options: { readonly files?: Readonly<Record<string, string>>; readonly people?: number; readonly store?: Store } = {}): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-gateway-'));
  mkdirSync(join(dir, 'gateway'));
  const record = new FakeRecord();
  const backend = new FakeBackend();
  const clock = new FakeClock();
  const kept = options.store ?? new MemoryStore();
  // The file would be opened again; memory must not be emptied by the first life's end.
  const store: Store = Object.assign(Object.create(kept) as Store, { close: async () => undefined });
  for (const method of ['get', 'list', 'put', 'delete', 'batch', 'watch'] as const) Reflect.set(store, method, (kept[method] as (...args: unknown[]) => unknown).bind(kept));
  let ids = 0;
  const blueprint = (files: Readonly<Record<string, string>> = {}, name = 'support'): void => {
    for (const [file, text] of Object.entries({ ...blueprintFiles, ...files })) {
      const path = join(dir, 'blueprints', name, file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  };
  blueprint(options.files);
  const open = (): Promise<Gateway> =>
    openGateway({
      store,
      audit: record,
      record,
      clock,
      ids: { next: (prefix) => `${prefix}_${String((ids += 1)).padStart(8, '0')}` },
      backend,
      settings: {
        run: dir,
        state: dir,
        agentsDir: join(dir, 'agents'),
        blueprintDirs: [join(dir, 'blueprints')],
        anchorDirs: [join(dir, 'anchors')],
        demoEndpoint: 'http://127.0.0.1:8930/v1',
        version: '0.0.0-test',
        channels: new Set(['terminal']),
        sinks: new Set(['security-events']),
      },
      secrets: new Secrets(join(dir, 'gateway', 'secrets.json')),
      vault: new Vault(join(dir, 'gateway', 'credentials.json'), { next: (prefix) => `${prefix}_${String((ids += 1)).padStart(24, '0')}` }),
      compile: compileWithDecide,
      certificates: { root: createRootCa, intermediate: createIntermediate },
      plan: (request) => ({ plan: request, env: ['PATH=/usr/bin', ...request.env], cwd: '/workspace', notes: [], label: { level: request.policy.spec.filesystem.labels[0]?.level ?? 'public', rules: ['filesystem.labels[0]'] } }),
      explainFile: (policy, _found, query) => explain(policy, 'B', query),
      redact: (text) => text.replaceAll('hunter2', '[redacted]'),
      people: () => world.people,
    });
  const world: World = {
    people: options.people ?? 1,
    store,
    record,
    backend,
    clock,
    dir,
    blueprint,
    gateway: undefined as unknown as Gateway,
    worker: undefined as unknown as FakeWorker,
    restart: async () => {
      await world.gateway.close();
      world.gateway = await open();
      world.worker = new FakeWorker(world.gateway);
    },
    close: async () => {
      await world.gateway.close();
      rmSync(dir, { recursive: true });
    },
  };
  world.gateway = await open();
  world.worker = new FakeWorker(world.gateway);
  return world;
}

/** For assert.rejects: a NemoError with this code. */
export const refusal = (code: ErrorCode) => (error: unknown): boolean => {
  assert.ok(error instanceof NemoError, String(error));
  assert.equal(error.code, code, error.message);
  return true;
};
