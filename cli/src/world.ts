/** The real world of a command: this process. */
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from './context.ts';
import { clock } from './clock.ts';

/** Who reads our output may stop at any time (`… | head`): then there is nothing more to do, and nothing to complain about. */
function endWithReader(): void {
  for (const output of [process.stdout, process.stderr]) {
    output.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(128 + constants.signals.SIGPIPE);
    });
  }
}

export function realWorld(): World {
  endWithReader();
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    signals: process,
    now: clock.now,
    sleep: (ms) => delay(ms),
    setExit: (code) => {
      process.exitCode = code;
    },
    cwd: process.cwd(),
    uid: process.getuid?.() ?? -1,
  };
}
