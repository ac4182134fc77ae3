/** What an origin said before it closed is read, also where writing to it fails first. */
import { readSync } from 'node:fs';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Bytes of one read, and how many of them: an answer that is longer than that ends in its middle. */
const piece = 64 * 1024;
const pieces = 64;

/**
 * Who refuses an upload answers and closes (RFC 9110, 10.1.1). The next write then fails before the answer is read, and Node gives a socket up at its first error, with what
 * the kernel still has of it. That is read here first. (In TLS the answer is read before.) `wants`: whether an answer is missing; `ended`: the origin has said all.
 */
export function hearLastWords(socket: Socket, wants: () => boolean, heard: (bytes: Buffer) => void, ended: () => void): void {
  if (socket instanceof TLSSocket) return;
  const destroy = socket.destroy.bind(socket);
  socket.destroy = (error?: Error): Socket => {
    if (isFailedWrite(error) && !socket.destroyed && wants() && socket.readableLength === 0 && !socket.isPaused()) {
      // Reset behind its end (EPIPE) it is whole.
      if (drain(socket, wants, heard) && error.code === 'EPIPE') ended();
    }
    return destroy(error);
  };
}

const isFailedWrite = (error: NodeJS.ErrnoException | undefined): error is NodeJS.ErrnoException => error?.syscall === 'write';

/** Whether its end was read. */
function drain(socket: Socket, wants: () => boolean, heard: (bytes: Buffer) => void): boolean {
  const fd = (socket as { readonly _handle?: { readonly fd?: number } })._handle?.fd ?? -1;
  if (fd < 0) return false;
  try {
    for (let i = 0; i < pieces && wants(); i += 1) {
      const bytes = Buffer.allocUnsafe(piece);
      const length = readSync(fd, bytes);
      if (length === 0) return true;
      heard(bytes.subarray(0, length));
    }
  } catch {
    // Nothing more is there, or the connection was reset.
  }
  return false;
}
