/** Plays frames to an origin that speaks HTTP/1.1 only: each request of a stream has to be written anew, and nothing else may come of it. */
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import type { Checks } from '../../../harness/checks.ts';
import type { Canary } from '../canary.ts';
import { doors, enter } from '../desk.ts';
import type { Desk } from '../../../../layers/network-policy/src/testing/testing-egress.ts';
import { flag, frame, preface, statusOf, types } from './frames.ts';
import type { FrameRow } from './http2-table.ts';

export interface Reaction {
  /** Of each stream that was answered, in order. */
  readonly statuses: readonly number[];
  readonly resets: number;
  readonly closed: boolean;
}

/** Reads until `answers` streams have ended or been reset, or the connection has. */
export async function react(socket: Socket, bytes: readonly Buffer[], answers: number): Promise<Reaction> {
  const statuses: number[] = [];
  let resets = 0;
  let ended = 0;
  let kept = Buffer.alloc(0);
  let closed = false;
  const over = new Promise<void>((done) => {
    const timer = setTimeout(done, 60_000);
    const finish = (): void => { clearTimeout(timer); done(); };
    socket.once('close', () => { closed = true; finish(); });
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk]);
      while (kept.length >= 9 && kept.length >= 9 + kept.readUIntBE(0, 3)) {
        const [type, flags = 0] = [kept[3], kept[4]];
        const payload = kept.subarray(9, 9 + kept.readUIntBE(0, 3));
        kept = kept.subarray(9 + payload.length);
        // Only the first is plain; the next may be in the table that it made.
        if (type === types.headers) statuses.push(statuses.length === 0 ? statusOf(payload) : 0);
        if (type === types.reset) resets += 1;
        if (type === types.reset || ((type === types.headers || type === types.data) && flags & flag.endStream)) ended += 1;
        // Said goodbye, it may wait for us to go.
        if (type === types.goaway && payload.readUInt32BE(4) !== 0) socket.end();
      }
      if (ended >= answers) finish();
    });
  });
  for (const part of bytes) if (!socket.destroyed) socket.write(part);
  await over;
  socket.destroy();
  return { statuses, resets, closed };
}

const foreign = /^(?:x-injected|connection|upgrade|http2-settings|proxy-|te:|trailer|keep-alive|content_length|transfer_encoding)/i;

export async function playFrames(check: Checks, desk: Desk, canary: Canary, rows: readonly FrameRow[]): Promise<void> {
  for (const row of rows) {
    const wrong: unknown[] = [];
    const through = row.through ?? (row.expect === 200 ? ['GET /ok'] : []);
    for (const door of doors) {
      const from = canary.requests.length;
      const raw = await enter(desk, door, 'down.test', canary.port);
      if (!raw) {
        wrong.push({ door, problem: 'no way in' });
        continue;
      }
      const tls = connectTls({ socket: raw, servername: 'down.test', ca: desk.rootPem, ALPNProtocols: ['h2'] });
      await once(tls, 'secureConnect');
      const frames = row.frames.map((one) => (one.includes('$PORT') ? withPort(one, 'down.test:', canary.port) : one));
      const { statuses, resets, closed } = await react(tls, row.raw ? frames : [preface, frame('settings', 0, 0), ...frames], row.streams ?? Math.max(1, through.length));
      const arrived = canary.requests.slice(from);
      const lines = arrived.map(({ line, body }) => (body === '' ? line : `${line} ${body}`)).toSorted();
      const strange = arrived.filter(({ host, headers }) => host !== `down.test:${canary.port}` || headers.some((header) => foreign.test(header) && !/^connection: keep-alive/i.test(header)));
      const ends = statuses.every((status) => status >= 400) && (closed || resets > 0 || statuses.length > 0);
      const as = (some: readonly string[] | undefined): boolean => some !== undefined && JSON.stringify(lines) === JSON.stringify(some.toSorted());
      const right = (row.expect === 'mixed' || (row.expect === 'ends' ? ends : statuses[0] === row.expect)) && (as(through) || as(row.may)) && strange.length === 0 && canary.faults.length === 0;
      if (!right) wrong.push({ door, statuses, resets, closed, lines, strange, faults: canary.faults.splice(0) });
    }
    check.that(`HTTP/2, ${row.name}: ${row.expect === 'ends' ? 'nothing arrives' : row.expect === 'mixed' ? 'only what is fine' : row.expect}`, wrong.length === 0, wrong);
  }
}

/** The port in place of `$PORT` behind `host`, with the lengths around it. */
export function withPort(bytes: Buffer, host: string, port: number): Buffer {
  const at = bytes.indexOf('$PORT');
  const more = String(port).length - 5;
  const out = Buffer.concat([bytes.subarray(0, at), Buffer.from(String(port)), bytes.subarray(at + 5)]);
  out.writeUIntBE(out.readUIntBE(0, 3) + more, 0, 3);
  const size = at - host.length - 1;
  out[size] = (out[size] ?? 0) + more;
  return out;
}
