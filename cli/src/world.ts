/** The real world of a command: this process. */
import { spawnSync } from 'node:child_process';
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
    // Node's raw mode is about keys only, and a full-screen program's line feed must stay one.
    unprocessed: () => void spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] }),
    now: clock.now,
    sleep: (ms) => delay(ms),
    setExit: (code) => {
      process.exitCode = code;
    },
    cwd: process.cwd(),
    uid: process.getuid?.() ?? -1,
  };
}
