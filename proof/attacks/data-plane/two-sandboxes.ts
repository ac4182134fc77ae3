/** Two sandboxes of one instance with other policies, providers, CAs and workspaces: from inside each, nothing of the other can be had. */
import { readFileSync, existsSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import type { SandboxView } from '@nemoclaw/contract';
import { Checks } from '../../harness/checks.ts';
import { until } from '../../harness/instance.ts';
import { PrivateInstance } from './private-instance.ts';

type Name = 'alpha' | 'beta';
interface Side {
  readonly name: Name;
  readonly made: SandboxView & { readonly path: string };
  readonly key: string;
  readonly realKey: string;
  readonly provider: Provider;
  readonly marker: string;
  readonly approval: string;
  /** Of the victim, on the host. */
  readonly pid: number;
  readonly anchors: ReadonlySet<string>;
}

/** A model provider outside, which notes the key of each request. */
class Provider {
  readonly keys: string[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((req, res) => {
      this.keys.push(String(req.headers.authorization ?? ''));
      req.resume().on('end', () => res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })));
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/v1`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** Runs the whole proof in an instance of its own. */
export async function twoSandboxes(check: Checks): Promise<void> {
  check.section('two sandboxes: the instance');
  await check.step('the instance', async () => {
    const p = await PrivateInstance.start({ hostile: false });
    const providers = [new Provider(), new Provider()] as const;
    try {
      const sides = [await prepare(p, 'alpha', providers[0]), await prepare(p, 'beta', providers[1])] as const;
      for (const [self, other] of [sides, [sides[1], sides[0]]] as const) await look(p, check, self, other);
      compare(check, ...sides);
    } finally {
      for (const provider of providers) provider.close();
      await p.stop();
    }
  });
}

const script = (name: string): string => readFileSync(join(import.meta.dirname, name), 'utf8');

async function prepare(p: PrivateInstance, name: Name, provider: Provider): Promise<Side> {
  const realKey = `sk-real-key-of-${name}-4711`;
  const marker = `victim-marker-${name}`;
  const made = await p.sandbox(name, { kind: 'openai', endpoint: await provider.listen(), model: 'm', apiKey: realKey });
  writeFileSync(join(made.path, 'secret.txt'), marker);
  let ended = '';
  void p.exec(name, ['python3', '-c', script('victim.py'), marker], 600_000).then((result) => (ended = `${result.code} ${result.out}${result.err}`));
  void p.exec(name, ['rm', '/workspace/keep/kept.txt'], 600_000);
  await until(`the victim in ${name}`, () => (existsSync(join(made.path, 'ready')) ? true : undefined)).catch((error: unknown) => {
    throw new Error(`${String(error)} ${ended}`);
  });
  const approval = await until('a held deletion', async () => (await p.approvals()).find((one) => one.sandbox === name && one.state === 'waiting')?.id);
  const key = (await p.exec(name, ['printenv', 'NEMOCLAW_API_KEY'])).out.trim();
  const bundle = (await p.exec(name, ['cat', '/etc/ssl/certs/ca-certificates.crt'])).out;
  const anchors = new Set(bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []);
  const pid = p.processes().find((one) => isVictim(one.pid, marker))?.pid ?? -1;
  return { name, made, key, realKey, provider, marker, approval, pid, anchors };
}

function isVictim(pid: number, marker: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').endsWith(`\0${marker}\0`);
  } catch {
    return false;
  }
}

/** From `place`, for `target`. */
async function search(p: PrivateInstance, place: Side, target: Side): Promise<Map<string, string>> {
  // in its own sandbox the victim is looked for, not hurt
  const task = { name: target.name, self: place.name, marker: target.marker, path: target.made.path, key: target.key, approval: target.approval, pid: place === target ? 2 ** 22 + 1 : target.pid, gateway: join(p.instance.runDir, 'gateway.sock') };
  const result = await p.exec(place.name, ['python3', '-c', script('neighbour.py'), JSON.stringify(task)], 300_000);
  try {
    return new Map(Object.entries(JSON.parse(result.out) as Record<string, string>));
  } catch {
    throw new Error(`neighbour.py in ${place.name}: ${result.code} ${result.out} ${result.err}`);
  }
}

/** Ways that must find the victim where it is, so that not finding it elsewhere means something. */
const controls = ['tcp on loopback', 'tcp on every address', 'abstract socket', 'unix socket in /tmp', 'unix socket in the workspace', '/dev/shm', 'System V shared memory', 'processes', 'sockets in /proc/net/unix', 'file in the workspace'];

async function look(p: PrivateInstance, check: Checks, self: Side, other: Side): Promise<void> {
  check.section(`two sandboxes: from ${self.name} for ${other.name}`);
  const own = await search(p, other, other);
  const missed = controls.filter((what) => own.get(what) !== other.marker);
  check.that(`control: in ${other.name} itself all ${controls.length} ways find it`, missed.length === 0, Object.fromEntries(own));
  const visitors = (): string => readFileSync(join(other.made.path, 'visitors'), 'utf8');
  const [before, keys] = [visitors(), other.provider.keys.length];
  const found = await search(p, self, other);
  const leaks = [...found].filter(([, what]) => what.includes(other.marker) && !what.startsWith('refused'));
  check.that(`none of the ${found.size} ways finds it`, leaks.length === 0 && found.size >= 20, Object.fromEntries(found));
  check.that('nobody came to its listeners and sockets', visitors() === before, visitors());
  check.that('its process is alive', isVictim(other.pid, other.marker) && /^refused/.test(found.get('kill by its number on the host') ?? ''), found.get('kill by its number on the host'));
  check.that('its placeholder key is refused at the model, the own one is taken', /^(401|403)$/.test(found.get('its key at the model') ?? '') && found.get('the own key at the model') === '200', [found.get('its key at the model'), found.get('the own key at the model')]);
  check.that('its provider heard nothing, the own provider the own real key only', other.provider.keys.length === keys && self.provider.keys.length > 0 && self.provider.keys.every((one) => one === `Bearer ${self.realKey}`), [other.provider.keys, self.provider.keys]);
  check.that('its host is denied by the own policy', found.get('its host') === '403' || /^refused: .*(resolution|not known)/.test(found.get('its host') ?? ''), found.get('its host'));
  const state = (await p.approvals()).find(({ id }) => id === other.approval)?.state;
  check.that('its approval is neither decided nor usable', state === 'waiting' && !/^2/.test(found.get('its approval') ?? '2') && !/^2/.test(found.get('its approval at the model\'s address') ?? '2'), [state, found.get('its approval'), found.get('its approval at the model\'s address')]);
  check.that('the gateway’s socket is not there', /FileNotFound/.test(found.get('the gateway\'s socket') ?? ''), found.get('the gateway\'s socket'));
}

function compare(check: Checks, alpha: Side, beta: Side): void {
  check.section('two sandboxes: CA and identity');
  const only = (one: Side, than: Side): string[] => [...one.anchors].filter((pem) => !than.anchors.has(pem));
  check.that('each trusts a CA of its own, and not the other’s', only(alpha, beta).length === 1 && only(beta, alpha).length === 1, [alpha.anchors.size, beta.anchors.size]);
  check.that('each has a placeholder key of its own', alpha.key !== beta.key && alpha.key.length > 20 && beta.key.length > 20);
  const uid = (pid: number): string => /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  check.that('each runs under a uid of its own on the host', uid(alpha.pid) !== uid(beta.pid) && Number(uid(alpha.pid)) > 100_000, [uid(alpha.pid), uid(beta.pid)]);
}

if (import.meta.main) {
  const check = new Checks();
  await twoSandboxes(check);
  process.exit(check.close());
}
