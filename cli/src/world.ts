/** The real world of a command: this process. */
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from './context.ts';
import { clock } from './clock.ts';

export function realWorld(): World {
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
