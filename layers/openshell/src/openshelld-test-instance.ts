/** Test support: a whole instance of supervisor, openshelld and test services under a temporary folder, with its own cgroup names. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeRegisterReply, encodeRegister, loadSandboxPolicy } from '@nemoclaw/contract';
import type { FromOpenshelld, LaunchPlan, RegisterReply, SyscallHold } from '@nemoclaw/contract';
import { readHostFacts } from './host-facts.ts';
import { nativePaths } from './native.ts';
import { planFor } from './plan-for.ts';
import type { HubNews, HubOrder } from './openshelld-test-service.ts';

/** How much longer than usual things may take: an emulated machine is slow. */
const patience = Number(process.env['NEMOCLAW_TEST_PATIENCE'] ?? 1);

type WithoutId<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never;
const repository = fileURLToPath(new URL('../../../', import.meta.url));
/** Ids that no system gives out by itself; agents' of each test process are its own, since what belongs to a uid is counted by it. */
export const testUids = { gateway: 64901, worker: 64902, ledger: 64903, demo: 64904, operators: 64905, person: 64906, agents: 2_064_000_000 + (process.pid % 1_000_000) * 64 } as const;

export class TestService {
  readonly name: string;
  readonly pid: number;
  readonly uid: number;
  readonly news: FromOpenshelld[] = [];
  readonly fdCounts: number[] = [];
  readonly lines: { peer: string; line: string }[] = [];
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (news: Extract<HubNews, { k: 'result' }>) => void>();
  #next = 1;
  #changed: (() => void)[] = [];

  constructor(socket: Socket, up: Extract<HubNews, { k: 'up' }>) {
    this.#socket = socket;
    this.name = up.name;
    this.pid = up.pid;
    this.uid = up.uid;
  }

  take(news: HubNews): void {
    if (news.k === 'news') {
      this.news.push(news.message);
      this.fdCounts.push(news.fds);
    } else if (news.k === 'link') this.lines.push(news);
    else if (news.k === 'result') this.#waiting.get(news.id)?.(news);
    const changed = this.#changed;
    this.#changed = [];
    for (const wake of changed) wake();
  }

  /** Resolves with the first message that matches, past or future. */
  async saw<T extends FromOpenshelld['t']>(t: T, matches: (message: Extract<FromOpenshelld, { t: T }>) => boolean = () => true, ms = 60_000): Promise<Extract<FromOpenshelld, { t: T }>> {
    return this.#until(() => this.news.find((m): m is Extract<FromOpenshelld, { t: T }> => m.t === t && matches(m as Extract<FromOpenshelld, { t: T }>)), `${this.name}: ${t}`, ms);
  }

  /** The first question that matches of those that come after this call. */
  async newHold(matches: (hold: SyscallHold) => boolean = () => true): Promise<SyscallHold> {
    const old = new Set(this.news.flatMap((m) => (m.t === 'hold' ? [m.hold.holdId] : [])));
    return (await this.saw('hold', (m) => !old.has(m.hold.holdId) && matches(m.hold))).hold;
  }

  /** The question that `start` leads to, and how `start` ends. Rejects where it ends without one. */
  async held<T>(start: () => Promise<T>, matches: (hold: SyscallHold) => boolean): Promise<{ readonly hold: SyscallHold; readonly out: Promise<T> }> {
    const asked = this.newHold(matches);
    const out = start();
    return { hold: await Promise.race([asked, out.then((said) => Promise.reject(new Error(`not held: ${JSON.stringify(said)}`)))]), out };
  }

  /** `after`: only what came after so many lines. */
  async heard(peer: string, line: string, after = 0): Promise<void> {
    await this.#until(() => this.lines.slice(after).find((l) => l.peer === peer && l.line.includes(line)), `${this.name}: ${line} from ${peer}`, 60_000);
  }

  async order(order: WithoutId<HubOrder>): Promise<unknown> {
    const id = this.#next;
    this.#next += 1;
    const result = await new Promise<Extract<HubNews, { k: 'result' }>>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.write(`${JSON.stringify({ ...order, id })}\n`);
    });
    if (result.ok) return result.value;
    const { code, message } = result.value as { code: string; message: string };
    throw Object.assign(new Error(message), { code });
  }

  call(method: string, ...args: unknown[]): Promise<unknown> {
    return this.order({ op: 'call', method, args });
  }

  /** A command to its end. */
  async run(sandbox: string, execId: string, argv: string[], stdin = '', tty: { rows: number; cols: number } | null = null): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string; pid: number; fds: number; micros: number }> {
    const options = { argv, env: ['PATH=/usr/bin:/bin', 'HOME=/tmp'], cwd: '/', tty };
    return (await this.order({ op: 'run', sandbox, execId, options, stdin })) as { code: number | null; signal: string | null; stdout: string; stderr: string; pid: number; fds: number; micros: number };
  }

  async #until<T>(find: () => T | undefined, what: string, ms: number): Promise<T> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      for (const wake of this.#changed.splice(0)) wake();
    }, ms * patience).unref();
    try {
      for (;;) {
        const found = find();
        if (found !== undefined) return found;
        if (late) throw new Error(`never seen: ${what}`);
        await new Promise<void>((resolve) => this.#changed.push(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

export class TestInstance {
  readonly root = mkdtempSync(join(tmpdir(), 'nemoclaw-test-'));
  readonly run = join(this.root, 'run');
  readonly state = join(this.root, 'state');
  readonly name = `t${process.pid}-${this.root.slice(-6).toLowerCase()}`;
  readonly #services: TestService[] = [];
  readonly #server: Server;
  #supervisor: ChildProcess | undefined;
  #arrived: (() => void)[] = [];
  #exit: Promise<number | null> = Promise.resolve(null);

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Builds the native part if needed, starts everything, waits until the services have come up. */
  static async start(options: { readonly workers?: number; readonly holdSeconds?: number; readonly asks?: number; readonly roles?: readonly string[]; readonly testing?: boolean; readonly devices?: readonly string[] } = {}): Promise<TestInstance> {
    const made = spawnSync('make', ['-s', '-C', fileURLToPath(new URL('../native/', import.meta.url))], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(`the native part does not build:\n${made.stderr}`);
    const server = createServer();
    const instance = new TestInstance(server);
    chmodSync(instance.root, 0o755);
    const hub = join(instance.root, 'hub.sock');
    server.on('connection', (socket) => instance.#accept(socket));
    await new Promise<void>((resolve) => server.listen(hub, resolve));
    chmodSync(hub, 0o777);
    mkdirSync(join(instance.root, 'prefix'));
    const roles = options.roles ?? ['ledger', 'gateway', 'worker'];
    const config = {
      instance: instance.name,
      run: instance.run,
      state: instance.state,
      prefix: join(instance.root, 'prefix'),
      lib: repository,
      node: process.execPath,
      operatorsGid: testUids.operators,
      identities: Object.fromEntries((['gateway', 'worker', 'ledger', 'demo'] as const).map((role) => [role, { uid: testUids[role], gid: testUids[role] }])),
      agentUids: { first: testUids.agents, count: 64 },
      workers: options.workers ?? 1,
      services: roles.map((role) => ({ name: role, role, argv: ['{node}', '{lib}/layers/openshell/src/openshelld-test-service.ts'], env: { HUB: hub, ...(process.env['NODE_OPTIONS'] === undefined ? {} : { NODE_OPTIONS: process.env['NODE_OPTIONS'] }) } })),
      limits: { sandboxes: 16, registrations: 32, ...(options.asks !== undefined && { asks: options.asks }) },
      holdSeconds: options.holdSeconds ?? 60,
      bindRoots: [...readHostFacts({ nodeBinary: process.execPath }).bindRoots, join(instance.root, 'prefix')],
      ...(options.devices && { devices: options.devices }),
      testing: options.testing ?? true,
    };
    writeFileSync(join(instance.root, 'config.json'), JSON.stringify(config));
    // A descriptor more, as a careless shell leaves one open.
    const spare = openSync(join(instance.root, 'config.json'), 'r');
    instance.#supervisor = spawn(nativePaths.supervisor, ['--config', join(instance.root, 'config.json')], { stdio: ['ignore', 'inherit', process.env['NEMOCLAW_TEST_LOG'] ? 'inherit' : 'ignore', spare] });
    closeSync(spare);
    instance.#exit = new Promise((resolve) => instance.#supervisor?.on('exit', resolve));
    try {
      for (const role of roles) await instance.service(role === 'worker' ? 'worker:1' : role);
    } catch (error) {
      await instance.stop();
      throw error;
    }
    return instance;
  }

  #accept(socket: Socket): void {
    let pending = '';
    let service: TestService | undefined;
    socket.on('error', () => socket.destroy());
    socket.on('data', (data) => {
      pending += data.toString();
      for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
        const news = JSON.parse(pending.slice(0, end)) as HubNews;
        pending = pending.slice(end + 1);
        if (news.k === 'up') {
          service = new TestService(socket, news);
          this.#services.push(service);
          for (const wake of this.#arrived.splice(0)) wake();
        } else service?.take(news);
      }
    });
  }

  /** The newest process of that name; `notPid`: a successor of that one. */
  async service(name: string, notPid = 0): Promise<TestService> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      for (const wake of this.#arrived.splice(0)) wake();
    }, 60_000 * patience);
    try {
      for (;;) {
        const found = this.#services.findLast((s) => s.name === name);
        if (found && found.pid !== notPid) return found;
        if (late) throw new Error(`the service ${name} has not come up; ${this.log(name)}`);
        await new Promise<void>((resolve) => this.#arrived.push(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  log(service: string): string {
    const file = join(this.state, 'log', `${service}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '(no log)';
  }

  get supervisorPid(): number {
    return this.#supervisor?.pid ?? -1;
  }

  /** Direct children of a process. */
  static children(pid: number): { readonly pid: number; readonly name: string }[] {
    try {
      return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map((text) => ({ pid: Number(text), name: readFileSync(`/proc/${text}/comm`, 'utf8').trim() }));
    } catch {
      return [];
    }
  }

  get daemonPid(): number {
    return TestInstance.children(this.supervisorPid).find((c) => c.name === 'openshelld')?.pid ?? -1;
  }

  /** kill -9 of openshelld; resolves when its successor has said `reset` to the gateway. */
  async killDaemon(): Promise<void> {
    const gateway = await this.service('gateway');
    const resets = gateway.news.filter((m) => m.t === 'reset').length;
    process.kill(this.daemonPid, 'SIGKILL');
    await gateway.saw('reset', () => gateway.news.filter((m) => m.t === 'reset').length > resets);
  }

  /** Registers a folder as this process's user, or as `uid` through a child process. */
  async register(path: string, uid?: number, groups: readonly number[] = [testUids.operators]): Promise<RegisterReply> {
    const socket = join(this.run, 'register.sock');
    const line = encodeRegister(path);
    if (uid === undefined) {
      return new Promise((resolve, reject) => {
        const connection = createConnection(socket, () => connection.write(line));
        let text = '';
        connection.on('data', (data) => (text += data.toString()));
        connection.on('error', reject);
        connection.on('end', () => {
          connection.end();
          resolve(decodeRegisterReply(text));
        });
      });
    }
    const script = 'import os,socket,sys\nos.setgroups([int(g) for g in sys.argv[3].split(",") if g])\nos.setresgid(*[int(sys.argv[2])]*3)\nos.setresuid(*[int(sys.argv[2])]*3)\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(sys.stdin.buffer.read())\nprint(s.makefile().read(),end="")';
    const done = spawnSync('python3', ['-c', script, socket, String(uid), groups.join(',')], { input: line, encoding: 'utf8' });
    if (done.status !== 0) throw new Error(done.stderr.trim().split('\n').at(-1) ?? 'failed');
    return decodeRegisterReply(done.stdout);
  }

  /** A plan from the policy's spec in YAML flow style. */
  plan(spec: string, change: (plan: LaunchPlan) => LaunchPlan = (plan) => plan): LaunchPlan {
    const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: trial }\nspec: { ${spec} }\n`, 'trial.yaml');
    return change(planFor(policy, readHostFacts({ nodeBinary: process.execPath }), { hasWorkspace: true }));
  }

  /** A folder owned by the agent's side of things, registered, ready to be a workspace. */
  async workspace(name: string): Promise<{ readonly path: string; readonly id: string }> {
    const path = join(this.root, name);
    mkdirSync(path, { recursive: true });
    const reply = await this.register(path);
    if (!reply.ok) throw new Error(reply.error);
    return { path, id: reply.id };
  }

  /** Control groups of this instance that are left, as paths. */
  leftovers(): string[] {
    const found: string[] = [];
    for (const hierarchy of readdirSync('/sys/fs/cgroup', { withFileTypes: true })) {
      const path = join('/sys/fs/cgroup', hierarchy.name, `nemoclaw-${this.name}`);
      if (hierarchy.isDirectory() && existsSync(path)) found.push(path);
    }
    return found;
  }

  /** Stops everything and removes the folder; resolves with the supervisor's exit code. */
  async stop(): Promise<number | null> {
    const children = TestInstance.children(this.supervisorPid);
    if (this.#supervisor?.exitCode === null) this.#supervisor.kill('SIGTERM');
    const late = setTimeout(() => {
      this.#supervisor?.kill('SIGKILL');
      for (const child of children) if (existsSync(`/proc/${child.pid}`)) process.kill(child.pid, 'SIGKILL');
    }, 60_000 * patience);
    const code = await this.#exit;
    clearTimeout(late);
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.root, { recursive: true, force: true });
    return code;
  }
}
