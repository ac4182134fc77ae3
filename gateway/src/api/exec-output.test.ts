/** Output of commands: whole for a slow client, at an end in spite of what is left behind, bounded in memory. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { mock, test } from 'node:test';
import type { WebSocket } from 'ws';
import { keptOutput } from '../tasks/kept-output.ts';
import { conclude, deliver, letGo } from './exec-output.ts';
import { Dialogue, makeSandbox, withApi, type Api } from './fake-api.ts';

const chunk = Buffer.alloc(64 * 1024, 'x');
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A client whose connection takes what `take` says, and nothing else. */
function slowSocket() {
  const waiting: { readonly bytes: number; readonly done: () => void }[] = [];
  const said: string[] = [];
  const ws = {
    OPEN: 1,
    readyState: 1,
    get bufferedAmount() {
      return waiting.reduce((sum, { bytes }) => sum + bytes, 0);
    },
    send: (data: Buffer | string, ...rest: unknown[]) => void waiting.push({ bytes: data.length, done: rest.at(-1) as () => void }),
    on: () => undefined,
    close: () => said.push('close'),
    terminate: () => said.push('terminate'),
  };
  const take = async (frames: number): Promise<void> => {
    for (const { done } of waiting.splice(0, frames)) done();
    await pause(0);
  };
  return { ws: ws as unknown as WebSocket, waiting, said, take };
}

async function started(api: Api, path = 'exec', first: object = { argv: ['x'] }) {
  await makeSandbox(api);
  const dialogue = new Dialogue(api, `/v1/sandboxes/helper/${path}`, first);
  const { execId } = await dialogue.frame('started');
  const exec = api.world.backend.execs.at(-1);
  assert.ok(exec);
  return { dialogue, execId, exec };
}

for (const path of ['exec', 'run']) {
  test(`${path}: what a command wrote before its end is delivered whole to a client that is slow`, withApi(async (api) => {
    const { dialogue, execId, exec } = await started(api, path, path === 'run' ? { task: 'x' } : { argv: ['x'] });
    dialogue.ws.pause();
    // more than sockets and gateway hold for the client, as much in the pipe as there can be
    for (let i = 0; i < 28; i++) exec.stdout.write(chunk);
    exec.stdout.end();
    exec.stderr.end('oops');
    api.world.gateway.execExited(execId, 0, null);
    await pause(1000);
    dialogue.ws.resume();
    await dialogue.closed;
    assert.deepEqual([dialogue.bytes.get(1)?.length, dialogue.bytes.get(2), dialogue.frames.at(-1)?.t], [28 * chunk.length, 'oops', path === 'run' ? 'done' : 'exit']);
  }));
}

for (const [what, left] of [
  ['keeps its output open', (): Readable => new Readable({ read: () => undefined })],
  ['writes now and then', (): Readable => Readable.from((async function* () {
    for (;;) {
      await pause(20);
      yield Buffer.from('tick\n');
    }
  })())],
  ['writes without end', (): Readable => new Readable({ read() {
    this.push(chunk);
  } })],
] as const) {
  test(`a process left behind that ${what} does not hold back the end`, withApi(async (api) => {
    const { dialogue, execId, exec } = await started(api);
    const background = left();
    exec.stdout.write('the last word');
    background.pipe(exec.stdout);
    exec.stderr.end();
    api.world.gateway.execExited(execId, 0, null);
    await dialogue.frame('exit');
    background.destroy();
    assert.match(dialogue.bytes.get(1) ?? '', /^the last word/);
  }));
}

test('two streams wait for each other with no byte too many, and both go on', async () => {
  const { ws, waiting, take } = slowSocket();
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  deliver(ws, [[1, stdout], [2, stderr]]);
  for (let i = 0; i < 32; i++) stdout.write(chunk);
  await pause(0);
  const first = waiting.length;
  assert.ok(first < 20, String(first));
  await take(first - 9); // not yet room enough for stdout
  for (let i = 0; i < 32; i++) stderr.write(chunk);
  await pause(0);
  assert.ok(waiting.length < 20, String(waiting.length));
  let frames = first - 9;
  while (waiting.length > 0) {
    frames += 1;
    await take(1);
  }
  assert.equal(frames, 64);
});

test('the connection is closed when its last word is through', async () => {
  const { ws, said, take } = slowSocket();
  conclude(ws, { t: 'exit', code: 0, signal: null });
  assert.deepEqual(said, []);
  await take(1);
  assert.deepEqual(said, ['close']);
});

test('a client that takes nothing is let go with its sandbox, one that is slow is not', () => {
  mock.timers.enable({ apis: ['setInterval'] });
  try {
    let gone = false;
    const [still, slow, idle] = [slowSocket(), slowSocket(), slowSocket()];
    for (const { ws } of [still, slow, idle]) letGo(ws, () => gone);
    for (const { ws } of [still, slow]) for (let i = 0; i < 100; i++) ws.send(chunk);
    mock.timers.tick(60_000);
    gone = true;
    for (let i = 0; i < 20; i++) {
      slow.waiting.pop();
      mock.timers.tick(3000);
    }
    assert.deepEqual([still.said[0], slow.said, idle.said], ['terminate', [], []]);
  } finally {
    mock.timers.reset();
  }
});

test('output that was kept goes on at the pace of who reads it', async () => {
  const source = new PassThrough();
  const out = keptOutput(source, 2 * chunk.length);
  for (let i = 0; i < 8; i++) source.write(chunk);
  await pause(50);
  let got = 0;
  out.on('data', (data: Buffer) => {
    got += data.length;
    out.pause();
    setTimeout(() => out.resume(), 5);
  });
  await once(out, 'data');
  for (let i = 0; i < 32; i++) source.write(chunk);
  source.end();
  await once(out, 'end');
  assert.equal(got, (2 + 32) * chunk.length);
  out.destroy();
});

test('a client that dies while output waits for it takes its command with it, and nothing stands still for it', withApi(async (api) => {
  const { dialogue, execId, exec } = await started(api);
  dialogue.ws.pause();
  for (let i = 0; i < 64; i++) exec.stdout.write(chunk);
  await pause(300);
  assert.ok(exec.stdout.readableLength > 0);
  dialogue.ws.terminate();
  while (api.world.backend.signals.length === 0 || exec.stdout.readableLength > 0) await pause(10);
  assert.deepEqual(api.world.backend.signals, [{ execId, signal: 1 }]);
  api.world.gateway.execExited(execId, null, 'SIGHUP');
  while (!exec.stdout.destroyed) await pause(10);
}));
