/** DNS over TCP (RFC 7766): messages with their length in front, answered in order on one connection. */
import type { Socket } from 'node:net';

const longest = 4096;

/** Answers questions until the client is done, says nothing for `idleMs`, or asks what gets no answer. */
export function serveDnsStream(socket: Socket, answer: (packet: Buffer) => Buffer | undefined, idleMs: number): void {
  let bytes: Buffer = Buffer.alloc(0);
  const take = (): boolean => {
    if (bytes.length < 2) return false;
    const size = bytes.readUInt16BE(0);
    if (size > longest) {
      socket.destroy();
      return false;
    }
    if (bytes.length < 2 + size) return false;
    const reply = answer(bytes.subarray(2, 2 + size));
    bytes = bytes.subarray(2 + size);
    if (!reply) {
      socket.destroy();
      return false;
    }
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length, 0);
    // One that asks and never reads is waited for.
    if (!socket.write(Buffer.concat([length, reply]))) socket.pause();
    return true;
  };
  const pump = (): void => {
    while (!socket.destroyed && !socket.isPaused() && take());
  };
  socket.setTimeout(idleMs, () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    pump();
  });
  socket.on('drain', () => {
    socket.resume();
    pump();
  });
  socket.on('end', () => socket.end());
}
