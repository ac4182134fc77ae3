/** Bytes of a session: output waits for whoever reads it, input for the command; signals wait for neither. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ExecServerFrame } from '@nemoclaw/contract';
import type { CliContext } from './context.ts';
import { runSession, type Ended } from './exec-session.ts';
import { Quit } from './failure.ts';
import { fakeWorld } from './fake-gateway.ts';
import { placesFrom } from './places.ts';

const piece = Buffer.alloc(64 * 1024, 'x');
const pieces = 512;
const little = 64; // what sockets and streams hold
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A session with a gateway that the test plays, and the person's streams. */
async function withSession(stdout: Writable, body: (gateway: WebSocket, stdin: PassThrough, signals: EventEmitter, session: Promise<Ended>) => Promise<void>, more: { readonly world?: object; readonly terminal?: boolean } = {}): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'nemoclaw-streams-'));
  const { world } = fakeWorld(root);
  const places = placesFrom(world.env);
  mkdirSync(dirname(places.gatewaySocket), { recursive: true });
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  try {
    server.listen(places.gatewaySocket);
    const stdin = new PassThrough();
    const signals = new EventEmitter();
    const context = { world: { ...world, stdin, stdout, signals, ...more.world }, places, sandbox: 'x' } as unknown as CliContext;
    const connected = once(sockets, 'connection');
    const session = runSession(context, { kind: 'exec', start: { argv: ['x'] }, stdout, stderr: new PassThrough(), terminal: more.terminal === true, input: true, onNotice: () => undefined });
    const [gateway] = (await connected) as [WebSocket];
    await once(gateway, 'message');
    await body(gateway, stdin, signals, session);
    if (gateway.readyState !== gateway.OPEN) return;
    gateway.send(JSON.stringify({ t: 'exit', code: 0, signal: null } satisfies ExecServerFrame));
    assert.deepEqual(await session, { t: 'exit', code: 0, signal: null });
  } finally {
    for (const client of sockets.clients) client.terminate();
    server.close();
    rmSync(root, { recursive: true });
  }
}

test('output waits for a reader that is slow, and all of it arrives', async () => {
  let got = 0;
  let goOn: (() => void) | undefined;
  let open = false;
  const stdout = new Writable({
    write(chunk: Buffer, _encoding, done) {
      got += chunk.length;
      if (open) done();
      else goOn = done;
    },
  });
  await withSession(stdout, async (gateway) => {
    for (let i = 0; i < pieces; i++) gateway.send(Buffer.concat([Buffer.of(1), piece]));
    while (!goOn) await pause(10);
    await pause(300);
    assert.ok(stdout.writableLength < little * piece.length, String(stdout.writableLength));
    assert.ok(gateway.bufferedAmount > 0);
    open = true;
    goOn();
    while (got < pieces * piece.length) await pause(10);
  });
});

test('input waits for a gateway that is slow, and all of it arrives', async () => {
  await withSession(new PassThrough(), async (gateway, stdin) => {
    gateway.pause();
    let got = 0;
    let ended = false;
    gateway.on('message', (data: Buffer, binary: boolean) => {
      if (binary) got += data.length - 1;
      else ended = true;
    });
    for (let i = 0; i < pieces; i++) stdin.write(piece);
    stdin.end();
    await pause(500);
    const left = stdin.readableLength + stdin.writableLength;
    assert.ok(left > (pieces - little) * piece.length, String(left));
    gateway.resume();
    while (!ended) await pause(10);
    assert.equal(got, pieces * piece.length);
  });
});

test('input stands still while the command reads nothing, and signals go through', async () => {
  await withSession(new PassThrough(), async (gateway, stdin, signals) => {
    const heard: string[] = [];
    gateway.on('message', (data: Buffer, binary: boolean) => heard.push(binary ? `bytes ${data.length - 1}` : data.toString()));
    gateway.send(JSON.stringify({ t: 'input', more: false } satisfies ExecServerFrame));
    while (!stdin.isPaused()) await pause(10);
    stdin.write(piece);
    signals.emit('SIGINT');
    while (heard.length === 0) await pause(10);
    assert.deepEqual(heard, ['{"t":"signal","signal":2}']);
    gateway.send(JSON.stringify({ t: 'input', more: true } satisfies ExecServerFrame));
    while (heard.length === 1) await pause(10);
    assert.equal(heard[1], `bytes ${piece.length}`);
  });
});

test('the third Ctrl-C breaks off at once, also where nothing is read any more', async () => {
  await withSession(new PassThrough(), async (gateway, _stdin, signals, session) => {
    const heard: string[] = [];
    gateway.on('message', (data: Buffer) => heard.push(data.toString()));
    const over = assert.rejects(session, (error) => error instanceof Quit && error.exit === 130);
    for (let i = 0; i < 3; i++) signals.emit('SIGINT');
    await Promise.all([over, once(gateway, 'close')]);
    assert.equal(heard[0], '{"t":"signal","signal":2}');
  });
});

test('a terminal shows what comes as it comes, and is put back before anything else is said', async () => {
  const seen: string[] = [];
  const stdout = new PassThrough();
  stdout.on('data', (data: Buffer) => seen.push(data.toString()));
  const world = { unprocessed: () => seen.push('unprocessed') };
  await withSession(stdout, async (gateway, stdin, _signals, session) => {
    Object.assign(stdin, { setRawMode: (on: boolean) => seen.push(`raw ${on}`) });
    gateway.send(JSON.stringify({ t: 'started', execId: 'e', pid: 1, taskId: '' } satisfies ExecServerFrame));
    gateway.send(Buffer.from('\u0001one\r\ntwo\n'));
    while (!seen.some((text) => text.includes('two'))) await pause(10);
    gateway.terminate();
    await assert.rejects(session, /connection to the gateway ended/);
  }, { world, terminal: true });
  await pause(0);
  assert.deepEqual(seen.slice(0, 3), ['unprocessed', 'one\r\ntwo\n', 'raw false']);
  assert.match(seen.slice(3).join(''), /^\u001b\[[^\r]*\n\u001b\[J$/);
});
