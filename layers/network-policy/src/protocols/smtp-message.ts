/** Takes in the message after DATA, line by line. */
import type { Core } from '../core.ts';
import type { ByteReader } from './byte-reader.ts';

const lineLimit = 64 * 1024;
const crlf = Buffer.from('\r\n');

/** `release` gives back what the message holds of the memory that all bodies share. */
export interface HeldMessage {
  readonly message: Buffer;
  release(): void;
}

/** A message without its dots and its end; text says why there is none. Lines end by CR LF only: servers that take less for an end of the message would find another message in it. */
export async function readMessage(reader: ByteReader, limit: number, core: Core): Promise<HeldMessage | string> {
  const whole: Buffer[] = [];
  let lines: Buffer[] = [];
  let size = 0;
  const release = (): void => { core.buffered -= size; size = 0; };
  try {
    for (;;) {
      const line = await reader.line(lineLimit);
      if (line.length === 1 && line[0] === 0x2e) return { message: Buffer.concat([...whole, ...lines]), release };
      if (line.includes(0x0a) || line.includes(0x0d) || line.includes(0)) {
        release();
        return 'the message has a line that does not end with CR LF, or a NUL';
      }
      const more = line.length + 2;
      if (size + more > limit || core.buffered + more > core.ports.limits.bufferedBytes) {
        release();
        return 'the message is too large';
      }
      size += more;
      core.buffered += more;
      lines.push(line[0] === 0x2e ? line.subarray(1) : line, crlf);
      // Short lines would cost more than they hold.
      if (lines.length >= 1024) {
        core.pace.measure(() => whole.push(Buffer.concat(lines)));
        lines = [];
        await core.pace.rested();
      }
    }
  } catch (error) {
    release();
    throw error;
  }
}
