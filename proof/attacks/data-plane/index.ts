/** A data plane that was taken over: with a worker's identity, descriptors and links it gets no approval, no sandbox, no other process and no record; what it tries is on record. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { SandboxView } from '@nemoclaw/contract';
import { requestKey } from '@nemoclaw/decide';
import { Checks } from '../../harness/checks.ts';
import { until } from '../../harness/instance.ts';
import { attemptsOfRoot, type Attempt } from './attempts-control.ts';
import { forgedMessages, forgedRequests, question } from './forged.ts';
import { PrivateInstance, type OwnProcess } from './private-instance.ts';

type Made = SandboxView & { readonly path: string };
interface Scene {
  readonly p: PrivateInstance;
  readonly check: Checks;
  /** The sandbox that the hostile worker was given, and the one it was not. */
  readonly own: Made;
  readonly other: Made;
}
const secretKey = 'sk-canary-of-the-other-sandbox-0f7e';

/** Runs the whole proof in an instance of its own. */
export async function dataPlane(check: Checks): Promise<void> {
  check.section('data plane: a taken-over worker');
  await check.step('the hostile instance', async () => {
    const p = await PrivateInstance.start({ hostile: true });
    try {
      const scene = await prepare(p, check);
      await identity(scene);
      await kernelAttempts(scene);
      await control(scene);
      await questions(scene);
      await messages(scene);
      await record(scene);
      await floods(scene);
    } finally {
      await p.stop();
    }
  });
}

async function prepare(p: PrivateInstance, check: Checks): Promise<Scene> {
  const provider = { kind: 'openai', endpoint: 'http://127.0.0.1:9/v1', model: 'm', apiKey: secretKey };
  const [alpha, beta] = [await p.sandbox('alpha', provider), await p.sandbox('beta', provider)];
  const configs = (await p.hub.order({ op: 'configs' })) as { sandbox: string }[];
  const own = [alpha, beta].find(({ id }) => configs.some(({ sandbox }) => sandbox === id));
  const other = [alpha, beta].find(({ id }) => !configs.some(({ sandbox }) => sandbox === id));
  if (!own || !other) throw new Error('the two workers do not have one sandbox each');
  return { p, check, own, other };
}

const status = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
};
/** Identity and confinement, as the kernel tells them. */
const held = (of: string): readonly string[] => of.split('\n').filter((line) => /^(Uid|Gid|Groups|NoNewPrivs|Seccomp|CapPrm|CapEff|CapBnd|CapAmb):/.test(line));
const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

async function identity({ p, check }: Scene): Promise<void> {
  const up = await p.hub.up();
  const of = status(up.pid);
  check.that('the hostile program runs as the data plane does: its uid, no groups, no capabilities, no new privileges, a filter of system calls', up.uid === p.identities.users.worker.uid && /^Groups:\s*$/m.test(of) && /^CapEff:\t0+$/m.test(of) && /^NoNewPrivs:\t1$/m.test(of) && /^Seccomp:\t2$/m.test(of), of);
  const honest = p.processes().find(({ name }) => name === 'worker:2');
  check.that('the kernel holds it as it holds the honest worker beside it', honest !== undefined && held(of).length === 9 && held(of).join() === held(status(honest.pid)).join(), { hostile: held(of), honest: honest && held(status(honest.pid)) });
  const uids = Object.values(p.identities.users).map(({ uid }) => uid);
  check.that('no two services share an identity', new Set(uids).size === uids.length, uids);
}

/** What may be had of another worker, since both run under one uid: written down in docs/limits.md. */
const knownOfWorkers = new Set(['limits']);

async function kernelAttempts({ p, check, own, other }: Scene): Promise<void> {
  check.section('data plane: sockets, processes and files of the others');
  const { runDir, state, root } = p.instance;
  const self = (await p.hub.up()).pid;
  const targets = (await p.lasting()).filter(({ pid }) => pid !== self && !isBelow(pid, self));
  check.that('there is one of each to attack', ['gateway', 'ledger', 'worker:2', 'openshelld', 'openshell-supervisor', 'shim', 'init'].every((name) => targets.some((one) => one.name === name)), targets);
  const kept = ['checkpoints/secret.key', 'checkpoints/public.key', 'gateway/secrets.json'].map((name) => join(state, name)).filter((path) => existsSync(path));
  const before = kept.map(digest);
  const files = [
    ...['gateway', 'gateway/store.db', 'gateway/secrets.json', 'ledger', 'ledger/sinks', 'ledger/sinks/security-events.jsonl', 'ledger/events-0000000000000001.jsonl', 'checkpoints', 'checkpoints/secret.key', 'checkpoints/checkpoints.jsonl', 'log/gateway.log', 'log/ledger.log'].map((name) => join(state, name)),
    join(runDir, 'shims'), join(runDir, 'openshelld'), '/etc/shadow', join(own.path, 'keep/kept.txt'), join(other.path, 'keep/kept.txt'),
  ];
  // The sink is fed once a second.
  await until('every file', () => (files.every((path) => existsSync(path)) ? true : undefined));
  const input = {
    sockets: [join(runDir, 'openshelld/openshelld.sock'), join(runDir, 'register.sock'), join(runDir, 'gateway.sock')], gateway: join(runDir, 'gateway.sock'),
    processes: targets, read: files, write: [...files.filter((path) => !statSync(path).isDirectory()), join(p.lib, 'gateway/src/processes/gateway.ts'), join(root, 'etc/nemoclaw/openshelld.json'), join(root, 'etc/nemoclaw/host.yaml'), join(state, 'checkpoints/public.key')],
    make: [runDir, state, join(state, 'ledger'), join(state, 'gateway'), join(state, 'checkpoints'), join(state, 'log'), p.lib, join(root, 'etc/nemoclaw'), other.path],
    become: [0, p.identities.users.gateway.uid, p.identities.users.ledger.uid], groups: p.identities.operatorsGid,
  };
  const worked = await attemptsOfRoot();
  check.that(`control: against things of its own each of ${worked.length} ways works for root`, worked.length >= 27 && worked.every(({ got }) => got), worked.filter(({ got }) => !got));
  report(check, await attempts(p, input));
  report(check, await attempts(p, { calls: true }));
  // signals last: they would end what the other attempts look at
  report(check, await attempts(p, { signals: targets }));
  const now = p.processes();
  check.that('every process of the others is the same one, and none is stopped', targets.every((was) => now.some((is) => is.pid === was.pid) && !/^State:\t[Tt]/m.test(status(was.pid))), { targets, now });
  check.that('the keys and secrets are what they were', kept.map(digest).join() === before.join());
  const left = [runDir, state, join(state, 'ledger'), join(state, 'gateway'), p.lib, other.path].filter((dir) => existsSync(join(dir, 'made-by-worker')));
  check.that('it made no file with the others', left.length === 0, left);
}

async function attempts(p: PrivateInstance, input: object): Promise<Attempt[]> {
  return (await p.hub.order({ op: 'attempts', input })) as Attempt[];
}

function report(check: Checks, tried: readonly Attempt[]): void {
  const worked = tried.filter(({ got, what, target }) => got && !(target.startsWith('worker:') && knownOfWorkers.has(what)));
  const kinds = new Map<string, number>();
  for (const { what } of tried) kinds.set(what, (kinds.get(what) ?? 0) + 1);
  for (const [what, count] of kinds) {
    const got = worked.filter((one) => one.what === what);
    // A try that fails by itself shows nothing.
    const broken = tried.filter((one) => one.what === what && !one.got && !one.refused);
    check.that(`${what}: ${count} tries, none worked, each was refused`, got.length === 0 && broken.length === 0, [...got, ...broken]);
  }
}

function isBelow(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1; ) {
    if (at === ancestor) return true;
    at = Number(/^PPid:\t(\d+)/m.exec(status(at))?.[1] ?? 0);
  }
  return false;
}

async function control({ p, check, own, other }: Scene): Promise<void> {
  check.section('data plane: forged requests to openshelld');
  // something that is really held, to be answered by the wrong one
  const deletion = p.exec(own.name, ['rm', '/workspace/keep/kept.txt']);
  const approval = await until('a held deletion', async () => (await p.approvals()).find(({ state }) => state === 'waiting'));
  const holdId = heldId(p, approval.id);
  await p.hub.heard();
  const requests = forgedRequests(own.id, other.id, holdId);
  const before = refusals(p);
  for (const [index, message] of requests.entries()) await p.hub.order({ op: 'control', message: { ...message, id: 1000 + index } });
  const replies = await until('the answers', async () => {
    heard.push(...(await p.hub.heard()));
    return heard.filter(({ from, message }) => from === 'control' && message['t'] === 'reply').length >= requests.length ? heard : undefined;
  }).catch(() => heard);
  const accepted = requests.filter((_, index) => !replies.some(({ message }) => message['id'] === 1000 + index && message['ok'] === false && message['code'] === 'refused'));
  check.that(`all ${requests.length} are refused`, accepted.length === 0, accepted);
  check.that('each refusal is on record, with the name of the service', (await until('the records', () => (refusals(p) - before >= requests.length ? true : undefined)).catch(() => false)) === true, refusals(p) - before);
  check.that('no sandbox was made, stopped or frozen', (await p.sandboxes()).map(({ name, state }) => `${name} ${state}`).sort().join() === 'alpha running,beta running', await p.sandboxes());
  check.that('nothing ran in them', !existsSync(join(own.path, 'forged')) && !existsSync(join(other.path, 'forged')));
  check.that('the deletion is still held', existsSync(join(own.path, 'keep/kept.txt')) && (await p.approvals()).some(({ id, state }) => id === approval.id && state === 'waiting'));
  // the holder of a system call is the shim: a worker has no say in it, not even to give it up
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'hold.withdrawn', sandbox: own.id, holdId, why: 'patience' } });
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'hold.withdrawn', sandbox: own.id, holdId, why: 'gone' } });
  await new Promise((next) => setTimeout(next, 300));
  check.that('a worker cannot withdraw a held system call', (await p.approvals()).some(({ id, state }) => id === approval.id && state === 'waiting'), await p.approvals());
  await p.cli(['approvals', 'deny', approval.id]);
  const ended = await deletion;
  check.that('the person’s no reaches the agent all the same', ended.code !== 0 && existsSync(join(own.path, 'keep/kept.txt')), ended);
}
const heard: { from: string; message: Readonly<Record<string, unknown>> }[] = [];

function refusals(p: PrivateInstance): number {
  return p.records().filter(({ unmapped }) => unmapped.source.name === 'openshelld' && unmapped.data?.['service'] === 'worker:1' && unmapped.verdict === 'deny').length;
}

/** The hold behind an approval, from the record: the worst case is a worker that knows it. */
function heldId(p: PrivateInstance, approvalId: string): string {
  return String(p.records().find(({ unmapped }) => unmapped.data?.['approvalId'] === approvalId)?.unmapped.data?.['holdId'] ?? 'unknown');
}

async function questions({ p, check, own }: Scene): Promise<void> {
  check.section('data plane: its own question, its own answer');
  const draft = question(own.id, own.role, 'hold-of-the-worker', '');
  const wire = { ...draft, key: requestKey({ ...draft.request, params: new Map(), provenance: new Map(), history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() } }) };
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'hold', hold: wire } });
  const asked = await until('the question', async () => (await p.approvals()).find(({ state }) => state === 'waiting'));
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'grant.consume', id: 77, sandbox: own.id, key: wire.key } });
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'grant.consume', id: 78, sandbox: own.id, key: 'b'.repeat(64) } });
  const seen: typeof heard = [];
  await until('the answers', async () => {
    seen.push(...(await p.hub.heard()));
    return seen.filter(({ message }) => message['id'] === 77 || message['id'] === 78).length === 2 ? true : undefined;
  }).catch(() => undefined);
  const said = (id: number): unknown => seen.find(({ from, message }) => from === 'gateway' && message['id'] === id)?.message['t'];
  check.that('a grant that nobody gave is not there, neither for what waits nor for anything else', said(77) === 'no' && said(78) === 'no', seen);
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'label.raise', id: 79, sandbox: own.id, to: 'confidential', why: 'read something' } });
  await until('the label', async () => ((await p.sandboxes()).find(({ id }) => id === own.id)?.label === 'confidential' ? true : undefined)).catch(() => undefined);
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'label.raise', id: 80, sandbox: own.id, to: 'public', why: 'forget it' } });
  await new Promise((next) => setTimeout(next, 500));
  check.that('a label that was raised cannot be lowered', (await p.sandboxes()).find(({ id }) => id === own.id)?.label === 'confidential', await p.sandboxes());
  await p.cli(['approvals', 'deny', asked.id]);
  const count = (await p.approvals()).length;
  const worker = await p.hub.up();
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'hold', hold: wire } });
  await p.hub.order({ op: 'link', peer: 'gateway', message: { t: 'hold', hold: { ...wire, request: { ...wire.request, resource: { ...wire.request.resource, path: '/y' } } } } });
  const breach = await p.recorded(isBreach);
  check.that('a hold id that was used is no second question, and its other request is a breach on record', breach && (await p.approvals()).length === count && (await p.approvals()).find(({ id }) => id === asked.id)?.state === 'rejected', await p.approvals());
  await again(p, worker.pid);
}
const isBreach = ({ unmapped }: { unmapped: { layer: string; source: { name: string }; data?: Readonly<Record<string, unknown>> } }): boolean => unmapped.source.name === 'gateway' && unmapped.data?.['worker'] === 'worker:1';

/** A worker whose link was closed for a breach is of no use any more: a fresh one takes its place. */
async function again(p: PrivateInstance, pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await p.hub.up(pid);
  await until('the configuration', async () => (((await p.hub.order({ op: 'configs' })) as unknown[]).length > 0 ? true : undefined));
  await p.up();
}

async function messages({ p, check, own, other }: Scene): Promise<void> {
  check.section('data plane: forged messages to the gateway');
  const stateNow = async (): Promise<string> => JSON.stringify([await p.sandboxes(), await p.approvals(), (await p.api('GET', '/v1/approvals/grants')).body].map((value) => (value as object[]).map((one) => ({ ...one, requests: 0, waiting: 0 }))));
  const before = await stateNow();
  for (const { what, message, bytes } of forgedMessages(own.id, own.role, other.id, other.role)) {
    const breaches = p.records().filter(isBreach).length;
    const { pid } = await p.hub.up();
    await p.hub.heard();
    if (message) await p.hub.order({ op: 'link', peer: 'gateway', message });
    if (bytes) await p.hub.order({ op: 'linkBytes', peer: 'gateway', base64: bytes.toString('base64') });
    const onRecord = await until('the breach', () => (p.records().filter(isBreach).length > breaches ? true : undefined)).catch(() => false);
    const closed = await until('the end of the link', async () => ((await p.hub.heard()).some(({ from, message: m }) => from === 'gateway' && m['t'] === 'closed') ? true : undefined)).catch(() => false);
    check.that(`${what}: the link is closed, and the record says why`, onRecord === true && closed === true, { onRecord, closed });
    await again(p, pid);
  }
  check.that('sandboxes, questions and grants are as before', (await stateNow()) === before, [before, await stateNow()]);
}

async function record({ p, check, own, other }: Scene): Promise<void> {
  check.section('data plane: forged events');
  const { pid } = await p.hub.up();
  const event = (sandbox: string, layer: string, message: string): object => ({ time: Date.now(), class: 'userAccess', activity: 1, severity: 1, sandbox, layer, message, verdict: 'approved', data: { source: 'gateway', approvalId: 'apr_forged' } });
  await p.hub.order({ op: 'link', peer: 'ledger', message: { t: 'source', run: 'forged-run', name: 'gateway' } });
  await p.hub.order({ op: 'link', peer: 'ledger', message: { t: 'event', seq: 1, event: event(own.id, 'proxy', 'forged one'), source: 'gateway' } });
  await p.recorded(({ message }) => message === 'forged one');
  const named = p.records().filter(({ message }) => message === 'forged one').map(({ unmapped }) => unmapped.source.name);
  check.that('an event that says it is the gateway’s stands under the worker’s name', named.length === 1 && named[0] === 'worker:1', named);
  await p.hub.order({ op: 'link', peer: 'ledger', message: { t: 'event', seq: 2, event: event(other.id, 'approval', 'forged two') } });
  const closed = await p.recorded(({ unmapped }) => unmapped.data?.['kind'] === 'link.bad' && unmapped.data['source'] === 'worker:1');
  check.that('an event of a layer that is not the data plane’s is not taken; the link is closed, and the record says so', closed && !p.records().some(({ message, unmapped }) => message === 'forged two' && unmapped.layer === 'approval'), p.records().slice(-5));
  await again(p, pid);
  const next = await p.hub.up();
  const links = p.records().filter(({ unmapped }) => unmapped.data?.['kind'] === 'link.bad').length;
  await p.hub.order({ op: 'link', peer: 'ledger', message: { t: 'query', id: 1, q: { kind: 'tail', after: 0, limit: 100 } } });
  await until('the end of the link', () => (p.records().filter(({ unmapped }) => unmapped.data?.['kind'] === 'link.bad').length > links ? true : undefined)).catch(() => undefined);
  const answers = (await p.hub.heard()).filter(({ from, message }) => from === 'ledger' && (message['t'] === 'reply' || message['t'] === 'records'));
  check.that('the record is not read to it', answers.length === 0, answers);
  await again(p, next.pid);
}

async function floods({ p, check, own }: Scene): Promise<void> {
  check.section('data plane: floods and malformed packets to openshelld');
  // Helpers that come and go are nobody's to keep; of these each must be the very same process.
  const others = (): OwnProcess[] => p.processes().filter(({ name }) => /^(gateway|ledger|worker:2|openshelld|openshell-supervisor|shim|init)$/.test(name));
  const before = others();
  const same = (): boolean => before.every((was) => others().some(({ pid: is, name }) => is === was.pid && name === was.name));
  const { pid } = await p.hub.up();
  for (const text of ['{', '[]', '"t"', '{"t":7}', '{"t":"hello","t":"sign"}', '['.repeat(100_000), '\0\0\0', '{"t":"sign","id":1e999}']) await p.hub.order({ op: 'controlBytes', base64: Buffer.from(text).toString('base64') });
  await p.hub.order({ op: 'control', message: { t: 'hello', role: 'gateway', pid: 1 } });
  await p.hub.order({ op: 'control', message: { t: 'sandbox.destroy', id: 5, sandbox: own.id }, times: 20_000 }).catch(() => undefined);
  const answered = await p.api('GET', '/v1/sandboxes').then(({ status: code }) => code === 200, () => false);
  await p.recorded(() => false, 1500);
  check.that('a hello as gateway, 8 malformed packets and 20,000 refused requests leave every other process as it was', answered && same(), { before, now: others() });
  await p.hub.order({ op: 'controlBytes', base64: Buffer.alloc(300 * 1024, 0x7b).toString('base64') }).catch(() => undefined);
  await p.hub.up(pid).catch(() => undefined);
  await p.up();
  check.that('a packet over the bound ends the worker that sent it and nobody else', status(pid) === '' && same(), { before, now: others() });
  const whole = await p.cli(['audit', 'verify', '--json']);
  check.that('after all this the record is whole', whole.code === 0, whole.out + whole.err);
}

if (import.meta.main) {
  const check = new Checks();
  await dataPlane(check);
  process.exit(check.close());
}
