/** The outside world of a story: TLS services on loopback under a certificate authority of their own, a scripted model, and a log of what really arrived. */
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { Server as HttpServer, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { createIntermediate, createLeafKey, createRootCa, LeafMinter } from '@nemoclaw/network-policy';
import { createModelServer } from '../../../gateway/src/demo/model-server.ts';
import type { Turn } from '../../../gateway/src/demo/scenario.ts';
import type { Instance } from '../../harness/instance.ts';

export interface Arrival {
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

const blueprints = new URL('../blueprints/', import.meta.url).pathname;
const servicePort = '18443';

export class Company {
  readonly arrived: Arrival[] = [];
  /** Bodies of the model calls that reached the provider. */
  readonly asked: unknown[] = [];
  /** What the scripted model says to the task; each story sets its own. */
  script: (task: string) => Turn = () => ({ text: 'Nothing to do.', calls: [] });
  readonly rootPem: string;
  readonly #services: Server;
  readonly #model: HttpServer;
  readonly #ticks = new Set<NodeJS.Timeout>();

  private constructor(domain: string) {
    const names = ['mail', 'pages', 'news', 'orders'].map((service) => `${service}.${domain}`);
    const root = createRootCa(`the company ${domain}`, Date.now());
    const minter = new LeafMinter(createIntermediate(root, names, Date.now()), createLeafKey());
    this.rootPem = root.certPem;
    const contexts = new Map(names.map((name) => [name, createSecureContext({ key: minter.keyPem, cert: minter.mint(name, Date.now()) })]));
    this.#services = createServer({ SNICallback: (name, done) => done(contexts.has(name) ? null : new Error('unknown name'), contexts.get(name)) }, (req, res) => {
      let body = '';
      req.setEncoding('utf8').on('data', (text: string) => (body += text));
      req.on('end', () => {
        const host = (req.headers.host ?? '').split(':')[0] ?? '';
        this.arrived.push({ host, method: req.method ?? '', path: req.url ?? '', body });
        if (req.url === '/live') return this.#stream(res);
        res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ taken: true, by: domain }));
      });
    });
    this.#model = createModelServer({
      script: (messages) => this.script(String(messages.findLast((message) => message.role === 'user')?.content ?? '')),
      onRequest: (body) => this.asked.push(body),
    });
  }

  /** Starts both servers on free ports of loopback. */
  static async open(domain: string): Promise<Company> {
    const company = new Company(domain);
    for (const server of [company.#services, company.#model]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return company;
  }

  /** Port of the services. */
  get port(): number {
    return (this.#services.address() as AddressInfo).port;
  }
  get modelEndpoint(): string {
    return `http://127.0.0.1:${(this.#model.address() as AddressInfo).port}/v1`;
  }

  /** What arrived at `host`, by method. */
  at(host: string, method: string): Arrival[] {
    return this.arrived.filter((one) => one.host === host && one.method === method);
  }

  /**
   * Installs the blueprint `from` as `name` in the instance, with this company's port and certificate authority. Each replacement
   * [before, after] must occur in a file of it.
   */
  installBlueprint(instance: Instance, from: string, name: string, replacements: readonly (readonly [string, string])[] = []): void {
    const folder = join(instance.state, 'blueprints', name);
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    cpSync(join(blueprints, from), folder, { recursive: true });
    for (const place of [join(instance.state, 'blueprints'), folder]) chmodSync(place, 0o755);
    const unused = new Set(replacements.map(([before]) => before));
    for (const file of ['blueprint.yaml', 'sandbox.yaml', 'network.yaml', 'actions.yaml', 'approvals.yaml']) {
      let text = readFileSync(join(folder, file), 'utf8').replaceAll(servicePort, String(this.port));
      for (const [before, after] of replacements) {
        if (!text.includes(before)) continue;
        unused.delete(before);
        text = text.replaceAll(before, after);
      }
      if (file === 'blueprint.yaml') text = text.replace(/^name: .*$/m, `name: ${name}`);
      writeFileSync(join(folder, file), text);
    }
    if (unused.size > 0) throw new Error(`the blueprint ${from} has no ${[...unused].join(', ')}`);
    writeFileSync(join(folder, 'company.pem'), this.rootPem, { mode: 0o644 });
  }

  async close(): Promise<void> {
    for (const tick of this.#ticks) clearInterval(tick);
    for (const server of [this.#services, this.#model]) {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    }
  }

  /** An event every 50 ms, for ever. */
  #stream(res: ServerResponse): void {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    let count = 0;
    const tick = setInterval(() => res.write(`data: ${(count += 1)}\n\n`), 50);
    this.#ticks.add(tick);
    res.on('close', () => {
      clearInterval(tick);
      this.#ticks.delete(tick);
    });
  }
}
