import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { FromOpenshelld, LedgerEvent, ToOpenshelld } from '@nemoclaw/contract';
import { checkpointText, LinkSink, verifyLedger } from '@nemoclaw/ledger';
import { binding, closeFd, PacketChannel } from '@nemoclaw/openshell';
import { systemClock, systemIds } from '../clock.ts';
import { LedgerLink } from '../links/ledger-link.ts';

type Openshelld = PacketChannel<ToOpenshelld, FromOpenshelld>;
type Sign = Extract<ToOpenshelld, { t: 'sign' }>;

let state: string;
let child: ChildProcess | undefined;
let openshelld: Openshelld | undefined;
let signs: Sign[];
let refuse: boolean;
const keys = generateKeyPairSync('ed25519');
const sockets: Socket[] = [];

beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'ledger-process-'));
  mkdirSync(join(state, 'checkpoints'));
  writeFileSync(join(state, 'checkpoints', 'public.key'), Buffer.from(String(keys.publicKey.export({ format: 'jwk' }).x), 'base64url').toString('hex'));
  signs = [];
  refuse = false;
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  openshelld?.close();
  if (child && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await new Promise((resolve) => child?.once('exit', resolve));
  }
  rmSync(state, { recursive: true, force: true });
});

/** Starts the real process as openshelld does and plays openshelld. Resolves after its hello. */
async function start(): Promise<Openshelld> {
  const [near, far] = binding().pair(1);
  const main = fileURLToPath(new URL('./ledger.ts', import.meta.url));
  child = spawn(process.execPath, [main], { stdio: ['ignore', 'inherit', 'inherit', far], env: { NEMOCLAW_STATE: state } });
  closeFd(far);
  const channel: Openshelld = new PacketChannel(near);
  openshelld = channel;
  await new Promise<void>((resolve) => {
    channel.onMessage((message) => {
      if (message.t === 'hello') resolve();
      if (message.t === 'sign') answer(channel, message);
    });
  });
  return channel;
}

function answer(channel: Openshelld, message: Sign): void {
  signs.push(message);
  const { id, count, head } = message;
  if (refuse) {
    channel.send({ t: 'reply', id, ok: false, error: 'fewer events than were signed before', code: 'checkpoint-refused' });
    return;
  }
  const signature = signBytes(null, Buffer.from(checkpointText(count, head)), keys.privateKey).toString('hex');
  appendFileSync(join(state, 'checkpoints', 'checkpoints.jsonl'), `${JSON.stringify({ time: 1, count, head, signature })}\n`);
  channel.send({ t: 'signed', id, count, head, signature });
}

function link(channel: Openshelld, peer: string): Socket {
  const [near, far] = binding().pair(0);
  channel.send({ t: 'link', peer }, [far]);
  const socket = new Socket({ fd: near });
  sockets.push(socket);
  setTimeout(() => closeFd(far), 50);
  return socket;
}

function event(message: string, more: Partial<LedgerEvent> = {}): LedgerEvent {
  return { time: 1_700_000_000_000, class: 'httpActivity', activity: 3, severity: 1, sandbox: 'sbx_1', layer: 'proxy', message, ...more };
}

async function stopped(): Promise<number | null> {
  const exit = new Promise<number | null>((resolve) => child?.once('exit', resolve));
  child?.kill('SIGTERM');
  return exit;
}

const verify = (): ReturnType<typeof verifyLedger> => verifyLedger({ dir: join(state, 'ledger'), checkpoints: join(state, 'checkpoints') });

test("links, openshelld's own events, checkpoints, the local sink and a clean stop", async () => {
  const channel = await start();
  const worker = new LinkSink({ clock: systemClock, ids: systemIds });
  worker.attach(link(channel, 'worker:1'));
  const socket = link(channel, 'gateway');
  const gateway = new LinkSink({ clock: systemClock, ids: systemIds });
  gateway.attach(socket);
  const read = new LedgerLink();
  read.attach(socket);
  channel.send({ t: 'event', seq: 1, event: event('from openshelld', { layer: 'openshelld' }) } as unknown as FromOpenshelld);
  const seen: unknown[] = [];
  const over = new AbortController();
  read.follow({ after: 0 }, (records) => seen.push(...records.map((r) => r['message'])), over.signal);
  await worker.commit(event('mail to jane.doe@example.com', { verdict: 'escalate', data: { apiKey: 'x', body: 'the whole payload' } }));
  await gateway.commit(event('approved', { verdict: 'approved', layer: 'approval' }));
  while (!seen.includes('approved')) await sleep(5);
  over.abort();
  assert.ok(seen.includes('from openshelld') && seen.includes('mail to [redacted:email]'));
  assert.ok((await read.status()).up);
  while (!signs.some(({ why }) => why === 'commit')) await sleep(5);
  assert.equal(await stopped(), 0);
  assert.equal(signs.at(-1)?.why, 'stop');
  const report = verify();
  assert.deepEqual(report.findings, []);
  assert.equal(report.unsigned, 0);
  const sink = readFileSync(join(state, 'ledger', 'sinks', 'security-events.jsonl'), 'utf8');
  assert.equal(sink.trimEnd().split('\n').length, report.records);
  assert.ok(!/jane|whole payload|"apiKey":"x"/.test(sink));
});

test('kill -9: what was acknowledged is there, the next one goes on, the source sends the rest again', async () => {
  const worker = new LinkSink({ clock: systemClock, ids: systemIds });
  for (let life = 0; life < 3; life += 1) {
    const channel = await start();
    worker.attach(link(channel, 'worker:1'));
    await worker.commit(event(`durable ${life}`));
    worker.emit(event(`maybe ${life}`));
    child?.kill('SIGKILL');
    await new Promise((resolve) => child?.once('exit', resolve));
    while (worker.stats().connected) await sleep(2);
    await assert.rejects(worker.commit(event('nobody there')));
    channel.close();
  }
  const channel = await start();
  worker.attach(link(channel, 'worker:1'));
  await worker.commit(event('last'));
  assert.equal(await stopped(), 0);
  assert.deepEqual(verify().findings, []);
  const text = readFileSync(join(state, 'ledger', 'events-0000000000000001.jsonl'), 'utf8');
  const said = text
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { message: string }).message)
    .filter((m) => /^(?:durable|maybe|last)/.test(m));
  assert.deepEqual(said, ['durable 0', 'maybe 0', 'durable 1', 'maybe 1', 'durable 2', 'maybe 2', 'last']);
  assert.ok(!text.includes('source.gap') && !text.includes('source.restarted'));
});

test('a refused checkpoint is on record, once, and a reset is answered by hello', async () => {
  refuse = true;
  const channel = await start();
  const worker = new LinkSink({ clock: systemClock, ids: systemIds });
  worker.attach(link(channel, 'worker:1'));
  for (let i = 0; i < 3; i += 1) {
    const before = signs.length;
    await worker.commit(event(`commit ${i}`));
    while (signs.length === before) await sleep(2);
  }
  const hello = new Promise<void>((resolve) => channel.onMessage((message) => message.t === 'hello' && resolve()));
  channel.send({ t: 'reset' });
  await hello;
  assert.equal(await stopped(), 0);
  const text = readFileSync(join(state, 'ledger', 'events-0000000000000001.jsonl'), 'utf8');
  assert.equal(text.split('"checkpoint.refused"').length - 1, 1);
  assert.ok(!verify().ok);
});
