/** Tables of raw requests through every door: answered as they must be, and at the other side exactly what may arrive. */
import { connect, type Socket } from 'node:net';
import type { Checks } from '../../harness/checks.ts';
import { readCarelessly } from './canary.ts';
import { doors, encrypt, enter, type Door, type World } from './desk.ts';
import type { HttpCase } from './table.ts';

/** Writes all, then reads until `answers` whole answers are there or the other side has closed. No connection of these tables stays open for more than seconds. */
export async function converse(socket: Socket, bytes: Buffer, answers: number, pieces = false, patienceMs = 15_000): Promise<string> {
  let text = '';
  let timer: NodeJS.Timeout | undefined;
  const done = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (wholeAnswers(text) >= answers) resolve();
    });
    socket.once('close', () => resolve());
    timer = setTimeout(resolve, patienceMs);
    socket.resume();
  });
  if (pieces) for (const byte of bytes) socket.write(Buffer.from([byte]));
  else socket.write(bytes);
  await done;
  clearTimeout(timer);
  socket.destroy();
  return text;
}

function wholeAnswers(text: string): number {
  let count = 0;
  for (let at = 0; ; count += 1) {
    const end = text.indexOf('\r\n\r\n', at);
    if (end < 0) return count;
    const head = text.slice(at, end);
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    const chunks = /transfer-encoding: chunked/i.test(head) ? /\r\n0\r\n(?:[!-~][^\r\n]*\r\n)*\r\n/.exec(text.slice(end + 2)) : undefined;
    if (chunks === null) return count;
    const last = chunks ? end + 2 + chunks.index + chunks[0].length : end + 4 + Number(length ?? 0);
    if (last < end || text.length < last) return count;
    at = last;
  }
}

/** What happened, in the words of the table. */
export function outcomeOf(text: string): 'refused' | 'denied' | 'canonical' {
  const status = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, code]) => code).at(-1);
  return status === '200' ? 'canonical' : status === '403' ? 'denied' : 'refused';
}

async function direct(port: number, bytes: Buffer): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await new Promise<void>((done) => socket.end(bytes, () => done()));
  socket.resume();
  await new Promise<void>((done) => (socket.destroyed ? done() : socket.once('close', () => done())));
}

/** Every attack that names what a careless server takes it for is first sent to one, past the proxy. */
export async function worksWithoutTheProxy(check: Checks, world: World, cases: readonly HttpCase[]): Promise<void> {
  const failing: string[] = [];
  let shown = 0;
  for (const each of cases) {
    if (!each.works) continue;
    shown += 1;
    const { works } = each;
    const from = world.denied.bytes().length;
    await direct(world.denied.port, Buffer.from(world.fill(each.bytes), 'latin1'));
    const taken = (['first', 'last', 'chunks', 'nothing'] as const).flatMap((by) => readCarelessly(world.denied.bytes().slice(from), by));
    if (!taken.some((line) => works.test(line))) failing.push(each.name);
  }
  check.that(`${shown} of them work on a careless server without the proxy`, failing.length === 0 && shown > 0, failing);
}

/** One row through one door. */
async function attempt(world: World, each: HttpCase, door: Door): Promise<string | undefined> {
  const canary = each.tls ? world.secure : world.plain;
  const from = canary.requests.length;
  const raw = await enter(world.desk, door, 'allowed.test', canary.port);
  if (!raw) return `${door}: no way in`;
  const socket = each.tls ? await encrypt(world.desk, raw, 'allowed.test') : raw;
  const through = each.through ?? (each.expect === 'canonical' ? ['GET /ok'] : []);
  const text = await converse(socket, Buffer.from(world.fill(each.bytes), 'latin1'), through.length + (each.expect === 'canonical' ? 0 : 1), each.pieces);
  const arrived = canary.requests.slice(from);
  const lines = arrived.map(({ line, body }) => (body === '' ? line : `${line} ${body}`));
  // A body that turns out to be none ends the request that it belonged to; the other side was never given its end.
  const halves = canary.halves.splice(0).filter((half) => !half.startsWith('POST /ok ') || !half.includes(`host: allowed.test:${canary.port}`) || half.includes('denied.test'));
  const foreign = arrived.filter(({ host, headers }) => host !== `allowed.test:${canary.port}` || headers.some((header) => /^(x-injected|x_injected|proxy-|keep-alive|te:|trailer|http2-settings|upgrade)/i.test(header)));
  const got = outcomeOf(text);
  if (got === each.expect && foreign.length === 0 && halves.length === 0 && canary.faults.length === 0 && (JSON.stringify(lines) === JSON.stringify(through) || JSON.stringify(lines) === JSON.stringify(each.may))) return undefined;
  const faults = canary.faults.splice(0);
  return `${door}: ${got}, arrived ${JSON.stringify(lines)}, foreign ${JSON.stringify([...foreign, ...halves])}, faults ${JSON.stringify(faults)}, answer ${JSON.stringify(text.slice(0, 300))}`;
}

/** Every row through every door; then, with every connection closed, that nothing came late. */
export async function httpCases(check: Checks, world: World, cases: readonly HttpCase[]): Promise<void> {
  for (const each of cases) {
    const wrong: string[] = [];
    for (const door of doors) {
      const heard = world.denied.accepted();
      const problem = await attempt(world, each, door);
      if (problem !== undefined) wrong.push(problem);
      if (world.denied.accepted() !== heard) wrong.push(`${door}: the denied canary was connected to`);
    }
    check.that(`${each.name}: ${each.expect}`, wrong.length === 0, wrong);
  }
}
