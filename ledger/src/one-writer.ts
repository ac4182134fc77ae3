/** Sees to it that only one process writes a record: the holder listens on a socket in its folder, which the kernel closes when it dies. */
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

const name = 'writer.sock';

/** Resolves with the way to let go; rejects if another process holds the folder. */
export async function holdFolder(dir: string): Promise<() => void> {
  // Through the descriptor, because socket paths are short (108 bytes) and folders may be deep.
  const folder = openSync(dir, 'r');
  const path = `/proc/self/fd/${folder}/${name}`;
  for (let round = 0; round < 3; round += 1) {
    const release = await listen(path);
    if (release) {
      return () => {
        release();
        closeSync(folder);
      };
    }
    if (await answers(path)) break;
    // Left by a process that is gone.
    try {
      unlinkSync(join(dir, name));
    } catch {
      // Another starter was faster; the next round shows who holds it.
    }
  }
  closeSync(folder);
  throw new Error(`another process writes the record in ${dir}`);
}

function listen(path: string): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen(path, () => {
      server.unref();
      resolve(() => void server.close());
    });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
