/** A private instance with an upstream beside it, made when the first figure needs it. */
import { copyFileSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { RegisterReply, SandboxView } from '@nemoclaw/contract';
import { createIntermediate, createLeafKey, createRootCa, LeafMinter } from '@nemoclaw/network-policy';
import { checkout, Instance, run } from '../harness/instance.ts';
import { Api } from './api.ts';
import { blueprintFiles, secureName, type UpstreamPorts } from './policies.ts';
import type { Programs } from './programs.ts';

/** A registered folder: what is in it, and the number by which a sandbox gets it. */
export interface Workspace {
  readonly path: string;
  readonly registration: string;
}

/** Answers at once, also as a model; /stream says one byte and never ends. */
const answer: RequestListener = (req, res) => {
  if (req.url === '/stream') {
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.write('.');
  } else if (req.url === '/v1/chat/completions') {
    const completion = { id: 'c', object: 'chat.completion', created: 1, model: 'none', choices: [{ index: 0, message: { role: 'assistant', content: 'Well.' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } };
    req.resume().once('end', () => res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(completion)));
  } else res.writeHead(200, { 'content-type': 'text/plain', 'content-length': 3 }).end('ok\n');
};

class Upstream {
  readonly plain: Server = createServer(answer);
  readonly secure: SecureServer;
  /** What vouches for the secure one. */
  readonly rootPem: string;

  constructor() {
    const root = createRootCa('the benchmarks', Date.now());
    const minter = new LeafMinter(createIntermediate(root, [secureName], Date.now()), createLeafKey());
    this.rootPem = root.certPem;
    this.secure = createSecureServer({ key: minter.keyPem, cert: minter.mint(secureName, Date.now()), keepAliveTimeout: 120_000 }, answer);
  }

  async listen(): Promise<UpstreamPorts> {
    const port = (server: Server | SecureServer): Promise<number> => new Promise((done) => server.listen(0, '127.0.0.1', 4096, () => done((server.address() as AddressInfo).port)));
    return { plain: await port(this.plain), secure: await port(this.secure) };
  }

  close(): void {
    for (const server of [this.plain, this.secure]) {
      server.closeAllConnections();
      server.close();
    }
  }
}

export class World {
  readonly instance: Instance;
  readonly api: Api;
  readonly ports: UpstreamPorts;
  readonly #upstream: Upstream;
  readonly #programs: Programs;
  #sandboxes = 0;

  private constructor(instance: Instance, upstream: Upstream, ports: UpstreamPorts, programs: Programs) {
    this.instance = instance;
    this.api = new Api(join(instance.runDir, 'gateway.sock'));
    this.#upstream = upstream;
    this.ports = ports;
    this.#programs = programs;
  }

  /** Of the plain upstream. */
  get port(): number {
    return this.ports.plain;
  }

  /** Installs and starts the instance, without the demo services (their ports are fixed), with the blueprints of the benchmarks. */
  static async start(programs: Programs): Promise<World> {
    const instance = new Instance();
    const upstream = new Upstream();
    const world = new World(instance, upstream, await upstream.listen(), programs);
    try {
      instance.configure();
      const up = await instance.cli(['up'], { timeoutMs: 300_000 });
      if (up.code !== 0) throw new Error(`nemoclaw up: ${up.out}${up.err}`);
      for (const ruled of [false, true]) {
        const folder = join(realpathSync(instance.lib), 'blueprints', ruled ? 'bench-ruled' : 'bench');
        mkdirSync(folder, { recursive: true, mode: 0o755 });
        for (const [name, text] of Object.entries({ ...blueprintFiles(world.ports, ruled), 'upstream.pem': upstream.rootPem })) writeFileSync(join(folder, name), text, { mode: 0o644 });
      }
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** A folder with the programs in it, registered. */
  async workspace(name: string): Promise<Workspace> {
    const path = join(this.instance.root, 'workspaces', name);
    for (const folder of ['files', 'archive']) mkdirSync(join(path, folder), { recursive: true });
    for (const program of ['calls', 'client'] as const) copyFileSync(this.#programs[program], join(path, program));
    const said = await run(process.execPath, [join(checkout, 'cli/src/setup/register-main.ts'), join(this.instance.runDir, 'register.sock'), path]);
    const reply = JSON.parse(said.out || '{"ok":false,"error":"no answer"}') as RegisterReply;
    if (!reply.ok) throw new Error(`the workspace was not registered: ${reply.error} ${said.err}`);
    return { path, registration: reply.id };
  }

  nextName(): string {
    this.#sandboxes += 1;
    return `bench-${this.#sandboxes}`;
  }

  create(name: string, registration: string, blueprint: 'bench' | 'bench-ruled' = 'bench'): Promise<SandboxView> {
    return this.api.call('POST', '/v1/sandboxes', { name, blueprint, registration });
  }

  destroy(name: string): Promise<unknown> {
    return this.api.call('DELETE', `/v1/sandboxes/${name}`);
  }

  /** Runs `measure` in a sandbox of its own. */
  async within<T>(blueprint: 'bench' | 'bench-ruled', measure: (name: string, workspace: Workspace) => Promise<T>): Promise<T> {
    const name = this.nextName();
    const workspace = await this.workspace(name);
    await this.create(name, workspace.registration, blueprint);
    try {
      return await measure(name, workspace);
    } finally {
      await this.destroy(name);
    }
  }

  /** Ends and removes everything; safe to call twice. */
  async close(): Promise<void> {
    this.api.close();
    this.#upstream.close();
    await this.instance.destroy();
  }
}
