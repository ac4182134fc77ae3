/** Two sandboxes with nothing in common, and policies that change while they work. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from '../../harness/checks.ts';
import { until, type Instance } from '../../harness/instance.ts';
import { Company } from './company.ts';
import { LiveStream } from './live-stream.ts';
import { curl, statusOf, Terminal } from './terminal.ts';

interface Scene {
  readonly instance: Instance;
  readonly check: Checks;
  readonly terminal: Terminal;
  readonly desk: Company;
  readonly shop: Company;
  readonly deskFolder: string;
  readonly shopFolder: string;
}
interface Policy {
  readonly version: number;
  readonly files: Record<string, string>;
}
interface Applied {
  readonly version: number;
  readonly appliedMs: number;
  readonly changed: string[];
  readonly redecided: number;
  readonly phases: Readonly<Record<string, number>>;
}

export async function policy(instance: Instance, check: Checks): Promise<void> {
  const desk = await Company.open('desk.example');
  const shop = await Company.open('shop.example');
  const terminal = new Terminal(instance);
  try {
    desk.installBlueprint(instance, 'desk', 'desk', [['http: 3s', 'http: 1m']]);
    shop.installBlueprint(instance, 'desk', 'shop', [['desk.example', 'shop.example'], ['role: desk', 'role: shop'], ['methods: [PUT]', 'methods: [PATCH]'], ['/workspace/archive/**', '/workspace/ok/**']]);
    const deskFolder = await terminal.make('desk', desk);
    const scene: Scene = { instance, check, terminal, desk, shop, deskFolder, shopFolder: await terminal.make('shop', shop) };
    check.section('two sandboxes at once');
    await check.step('two sandboxes', () => nothingInCommon(scene));
    await check.step('what is the other’s', () => whatIsTheOthers(scene));
    check.section('a policy change while they work');
    await check.step('the change', () => change(scene));
    check.section('a policy change while a request waits');
    await check.step('the waiting requests', () => redecide(scene));
  } finally {
    await terminal.unmake('desk');
    await terminal.unmake('shop');
    await desk.close();
    await shop.close();
  }
}

async function nothingInCommon({ check, terminal, desk, shop, deskFolder, shopFolder }: Scene): Promise<void> {
  for (const company of [desk, shop]) company.script = (task) => ({ text: `${company === desk ? 'desk' : 'shop'} says ${task}`, calls: [] });
  const ask = (name: string, company: Company) => terminal.exec(name, ['python3', '/workspace/agent.py', String(company.port), 'hello'], 60_000);
  const [one, two] = await Promise.all([ask('desk', desk), ask('shop', shop)]);
  check.that('each reaches its own model and no other', one.out.includes('desk says hello') && two.out.includes('shop says hello') && desk.asked.length === 1 && shop.asked.length === 1, one.out + one.err + two.out + two.err);

  const get = (name: string, company: Company, domain: string) => terminal.exec(name, curl('GET', `https://pages.${domain}:${company.port}/home`));
  const [own1, own2, other1, other2] = await Promise.all([get('desk', desk, 'desk.example'), get('shop', shop, 'shop.example'), get('desk', shop, 'shop.example'), get('shop', desk, 'desk.example')]);
  check.that('each reaches its own services', statusOf(own1) === 200 && statusOf(own2) === 200, own1.err + own2.err);
  check.that('neither reaches the other’s', other1.code !== 0 && other2.code !== 0 && desk.at('pages.desk.example', 'GET').length === 1 && shop.at('pages.shop.example', 'GET').length === 1, [other1, other2]);

  const anchors = await Promise.all(['desk', 'shop'].map((name) => terminal.exec(name, ['sha256sum', '/etc/ssl/certs/ca-certificates.crt'])));
  check.that('each trusts a root of its own', new Set(anchors.map((found) => found.out.slice(0, 64))).size === 2, anchors);

  writeFileSync(join(deskFolder, 'mine'), 'desk');
  writeFileSync(join(shopFolder, 'mine'), 'shop');
  const seen = await Promise.all(['desk', 'shop'].map((name) => terminal.exec(name, ['cat', '/workspace/mine'])));
  check.that('each sees its own workspace', seen[0]?.out === 'desk' && seen[1]?.out === 'shop', seen);

  const put = await terminal.exec('shop', curl('PUT', `https://orders.shop.example:${shop.port}/orders/1`, {}));
  check.that('what one may ask for is denied to the other at once', statusOf(put) === 403 && shop.at('orders.shop.example', 'PUT').length === 0, put.out);
}

/** Placeholder, listener and approval of the one, tried from the other; each works where it belongs. */
async function whatIsTheOthers({ check, instance, terminal, desk, shop }: Scene): Promise<void> {
  const key = async (name: string): Promise<string> => (await terminal.exec(name, ['printenv', 'NEMOCLAW_API_KEY'])).out.trim();
  const [deskKey, shopKey] = await Promise.all([key('desk'), key('shop')]);
  const ask = (from: string, placeholder: string) => terminal.exec(from, [...curl('POST', 'http://inference.local/v1/chat/completions', { model: 'default', messages: [{ role: 'user', content: 'hello' }] }), '-H', `authorization: Bearer ${placeholder}`]);
  const asked = desk.asked.length;
  const [foreign, own] = await Promise.all([ask('shop', deskKey), ask('shop', shopKey)]);
  check.that('the other’s placeholder is refused at the model, the own one is taken', /^40[13]$/.test(String(statusOf(foreign))) && statusOf(own) === 200 && desk.asked.length === asked, foreign.out + own.out);

  void terminal.exec('desk', ['timeout', '60', 'python3', '-m', 'http.server', '4000', '--bind', '0.0.0.0', '--directory', '/workspace']);
  const visit = (from: string) => terminal.exec(from, curl('GET', 'http://127.0.0.1:4000/mine'));
  await until('the listener', async () => (statusOf(await visit('desk')) === 200 ? true : undefined));
  const visitor = await visit('shop');
  check.that('a listener of the one is reached from itself, and not from the other', visitor.code !== 0 && statusOf(visitor) === 0, visitor);

  // Approved when nobody waits any more: one use, for the sandbox that asked.
  const patch = (from: string) => terminal.exec(from, curl('PATCH', `https://orders.shop.example:${shop.port}/orders/9`, { note: 'x' }));
  const arrived = (): number => shop.arrived.filter(({ path }) => path === '/orders/9').length;
  const first = await patch('shop');
  const approval = await terminal.waiting('/orders/9');
  await terminal.approve(approval.id);
  const rule = /( {6}- domain: orders\.shop\.example\n(?: {8}.*\n)+)/.exec((await terminal.json<Policy>(['policy', 'get', 'shop'])).files['network.yaml'] ?? '')?.[1] ?? '';
  const text = (await terminal.json<Policy>(['policy', 'get', 'desk'])).files['network.yaml'] ?? '';
  const file = join(instance.root, 'desk.yaml');
  writeFileSync(file, text.replace('    escalate:\n', `    escalate:\n${rule}`));
  await set(terminal, 'desk', file);
  const second = patch('desk');
  const question = await terminal.waiting('/orders/9');
  check.that('the other’s approval is not used: the same request is a question of its own', statusOf(first) === 503 && rule !== '' && question.id !== approval.id && question.sandbox === 'desk' && arrived() === 0, [first, question]);
  await terminal.deny(question.id);
  check.that('and is denied by itself', statusOf(await second) === 403 && arrived() === 0);
  check.that('it is still there for the one that asked, once', statusOf(await patch('shop')) === 200 && arrived() === 1);
  writeFileSync(file, text);
  await set(terminal, 'desk', file);
}

/** `policy set`, with what it took. */
async function set(terminal: Terminal, name: string, file: string): Promise<Applied> {
  const sent = performance.now();
  const applied = await terminal.json<Applied>(['policy', 'set', name, file]);
  console.log(`     in force ${applied.appliedMs.toFixed(1)} ms after the gateway took it; the whole command ${Math.round(performance.now() - sent)} ms`);
  console.log(`     of which, in ms: ${Object.entries(applied.phases).map(([phase, ms]) => `${phase} ${ms.toFixed(1)}`).join(', ')}`);
  return applied;
}

async function change({ check, instance, terminal, desk, shop, deskFolder, shopFolder }: Scene): Promise<void> {
  const at = (host: string): string => `https://${host}:${host.endsWith('shop.example') ? shop.port : desk.port}`;
  const [news, pages, others] = await Promise.all([
    LiveStream.open(terminal, 'desk', deskFolder, 'news', `${at('news.desk.example')}/live`),
    LiveStream.open(terminal, 'desk', deskFolder, 'pages', `${at('pages.desk.example')}/live`),
    LiveStream.open(terminal, 'shop', shopFolder, 'news', `${at('news.shop.example')}/live`),
  ]);
  const before = await terminal.json<Policy>(['policy', 'get', 'desk']);
  const shopBefore = await terminal.json<Policy>(['policy', 'get', 'shop']);
  const text = before.files['network.yaml'] ?? '';

  const broken = join(instance.root, 'broken.yaml');
  writeFileSync(broken, text.replace('methods: [GET]', 'metods: [GET]'));
  const refused = await terminal.run(['policy', 'set', 'desk', broken]);
  const kept = await terminal.json<Policy>(['policy', 'get', 'desk']);
  check.that('a bad file is refused and changes nothing', refused.code === 2 && JSON.stringify(kept) === JSON.stringify(before), refused.err);
  check.that('what was allowed still is, and every stream lives on', statusOf(await terminal.exec('desk', curl('GET', `${at('news.desk.example')}/home`))) === 200 && (await news.livesOn()) && (await pages.livesOn()) && (await others.livesOn()));

  // news is not allowed any more; pages may now be posted to
  const next = join(instance.root, 'next.yaml');
  writeFileSync(next, withoutRule(text, 'news.desk.example').replace(/(pages\.desk\.example\n\s+ports: \[\d+\]\n\s+methods: )\[GET\]/, '$1[GET, POST]'));
  check.that('a POST to the pages is denied so far', statusOf(await terminal.exec('desk', curl('POST', `${at('pages.desk.example')}/home`, {}))) === 403);
  const setting = set(terminal, 'desk', next);
  const gone = news.ends();
  const applied = await setting;
  check.that('the new version is in force in less than a second', applied.version === before.version + 1 && applied.appliedMs < 1000, applied);
  check.that('a new connection is decided by it: the one is open, the other is not', statusOf(await terminal.exec('desk', curl('POST', `${at('pages.desk.example')}/home`, {}))) === 200 && (await terminal.exec('desk', curl('GET', `${at('news.desk.example')}/home`))).code !== 0);
  check.that('the stream whose decision changed is closed', await gone, { ended: news.ended });
  const said = await terminal.run(['audit', 'search', 'ended by the new policy', '--sandbox', 'desk']);
  check.that('the record says why, and by which rule', /news\.desk\.example/.test(said.out) && /Denied/.test(said.out), said.out + said.err);
  check.that('the other stream of the same sandbox lives on', await pages.livesOn(), { ended: pages.ended });
  check.that('the stream of the other sandbox lives on', await others.livesOn(), { ended: others.ended });

  // A name that the former version's certificates did not cover.
  writeFileSync(next, text);
  await set(terminal, 'desk', next);
  const added = await terminal.exec('desk', curl('GET', `${at('news.desk.example')}/home`));
  check.that('a host that is added is reached over TLS at once, nothing being started anew', statusOf(added) === 200 && (await pages.livesOn()), added.out + added.err);
  const shopNow = await terminal.json<Policy>(['policy', 'get', 'shop']);
  check.that('the other sandbox’s policy is as it was', JSON.stringify(shopNow) === JSON.stringify(shopBefore));
}

async function redecide({ check, instance, terminal, desk }: Scene): Promise<void> {
  const now = (await terminal.json<Policy>(['policy', 'get', 'desk'])).files['network.yaml'] ?? '';
  const url = (id: string): string => `https://orders.desk.example:${desk.port}/orders/${id}`;
  const arrived = (id: string): number => desk.arrived.filter((one) => one.path === `/orders/${id}`).length;
  const file = join(instance.root, 'orders.yaml');
  const put = async (text: string): Promise<Applied> => {
    writeFileSync(file, text);
    return set(terminal, 'desk', file);
  };

  const first = terminal.exec('desk', curl('PUT', url('1'), {}));
  const one = await terminal.waiting('/orders/1');
  const denying = await put(now.replace('methods: [PUT]', 'methods: [PATCH]'));
  check.that('an edit that denies it: the waiting request is denied at once', statusOf(await first) === 403 && arrived('1') === 0 && denying.redecided === 1, denying);
  const after = await terminal.show(one.id);
  check.that('and its question says that the policy decided', after.state === 'rejected' && after.by === 'policy', after);

  await put(now);
  const second = terminal.exec('desk', curl('PUT', url('2'), {}));
  const two = await terminal.waiting('/orders/2');
  await put(readFileSync(join(instance.state, 'blueprints/desk/approvals.yaml'), 'utf8').replace('timeout: 10m', 'timeout: 9m'));
  check.that('an edit that does not concern it leaves it waiting', (await terminal.show(two.id)).state === 'waiting' && arrived('2') === 0);
  const allowing = await put(now.replace('    escalate:\n', ''));
  check.that('an edit that allows it: the waiting request goes through, once', statusOf(await second) === 200 && arrived('2') === 1 && allowing.redecided === 1, allowing);
  const closed = await terminal.show(two.id);
  check.that('and its question says so too', closed.state === 'approved' && closed.by === 'policy', closed);
}

/** A network policy without the rule of one domain. */
function withoutRule(text: string, domain: string): string {
  const lines = text.split('\n');
  const from = lines.findIndex((line) => line.includes(`- domain: ${domain}`));
  const indent = (line: string): number => line.length - line.trimStart().length;
  const length = lines.slice(from + 1).findIndex((line) => indent(line) <= indent(lines[from] ?? ''));
  lines.splice(from, length + 1);
  return lines.join('\n');
}
