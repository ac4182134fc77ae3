/** Output of a command on its way to the client: all of it, however slowly the client reads, and little of it in memory. */
import type { Readable } from 'node:stream';
import type { ExecServerFrame } from '@nemoclaw/contract';
import type { WebSocket } from 'ws';

/** Bytes that may wait for a slow client, or for a command that does not read. */
export const maxWaiting = 1024 * 1024;
/** ms after which an open pipe that was read all the while has given what it held. */
const drainMs = 300;
/** More than a pipe holds (`fs.pipe-max-size`) with what was read of it ahead: what comes then was written after the command's end. */
const mostLeft = 2 * 1024 * 1024;
/** ms in which a client has to take something once the sandbox is gone. */
const lastMs = 3000;

/** Sends the streams as binary frames, each under its id; a client that does not read slows the command down. */
export function deliver(ws: WebSocket, streams: readonly (readonly [id: number, stream: Readable])[]): void {
  const goOn = (): void => {
    for (const [, stream] of streams) stream.resume();
  };
  for (const [id, stream] of streams) {
    stream.on('data', (chunk: Buffer) => {
      if (ws.readyState !== ws.OPEN) return;
      ws.send(Buffer.concat([Buffer.of(id), chunk]), { binary: true }, () => {
        // the others too: none of theirs may be on its way that would do it
        if (ws.bufferedAmount < maxWaiting / 2) goOn();
      });
      if (ws.bufferedAmount > maxWaiting) stream.pause();
    });
    // A terminal ends with an error when its last user is gone.
    stream.on('error', () => undefined);
  }
  ws.on('close', goOn);
}

/**
 * After the command's end: resolves when the socket has all that the command wrote to `stream`. A process that was left in the background may keep it open,
 * and write, for ever; that is not waited for, but a slow client is.
 */
export function emptied(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.readableEnded || stream.destroyed) return resolve();
    let left = mostLeft;
    let quiet: NodeJS.Timeout | undefined;
    let turn: NodeJS.Immediate | undefined;
    const look = (): void => {
      clearTimeout(quiet);
      clearImmediate(turn);
      if (stream.isPaused()) return;
      // one turn of the loop more, in which the pipe is read even if the machine was busy all the while
      quiet = setTimeout(() => (turn = setImmediate(resolve)), drainMs).unref();
    };
    stream.on('pause', look).on('resume', look);
    stream.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) resolve();
    });
    stream.on('end', resolve).on('close', resolve).on('error', resolve);
    look();
  });
}

/** Says how it ended, and closes when the client has taken that: a connection that is closed earlier is cut after 30 s, with what is still on its way. */
export function conclude(ws: WebSocket, frame: ExecServerFrame): void {
  if (ws.readyState === ws.OPEN) ws.send(JSON.stringify(frame), () => ws.close());
}

/** After the command's end: a client that takes nothing may keep its connection for as long as there is the sandbox, and no longer. */
export function letGo(ws: WebSocket, gone: () => boolean): void {
  let before = 0;
  const look = setInterval(() => {
    if (gone() && before > 0 && ws.bufferedAmount === before) ws.terminate();
    before = ws.bufferedAmount;
  }, lastMs).unref();
  ws.on('close', () => clearInterval(look));
}
