/** Output of a command that nobody listens to: read on, so that the command does not stand still, and the last of it kept. */
import { Readable } from 'node:stream';

/** Reads `stream` at once; what comes before somebody reads from the result is kept up to `bytes`, the oldest goes first. From then on who reads sets the pace. */
export function keptOutput(stream: Readable, bytes: number): Readable {
  const kept: Buffer[] = [];
  let size = 0;
  let read = false;
  let wanted = false;
  let over = false;
  const out: Readable = new Readable({
    read() {
      read = wanted = true;
      stream.resume();
      give();
    },
    destroy(error, done) {
      stream.destroy();
      done(error);
    },
  });
  const give = (): void => {
    while (wanted && kept.length > 0) {
      const chunk = kept.shift() ?? Buffer.alloc(0);
      size -= chunk.length;
      wanted = out.push(chunk);
    }
    if (over && kept.length === 0) out.push(null);
  };
  const end = (): void => {
    if (over) return;
    over = true;
    give();
  };
  stream.on('data', (chunk: Buffer) => {
    kept.push(chunk);
    size += chunk.length;
    give();
    if (read && kept.length > 0) stream.pause();
    while (!read && size > bytes && kept.length > 1) size -= kept.shift()?.length ?? 0;
  });
  stream.on('end', end).on('close', end).on('error', end);
  return out;
}
