/** `network-policy serve`: the policy in front of a network namespace that exists. */
import { existsSync, statSync } from 'node:fs';
import type { Approver } from '@nemoclaw/contract';
import { capture } from './captured-command.ts';
import { holdCredentials } from './held-credentials.ts';
import { readAlone } from './policy.ts';
import { announce, serveCaptured, sinkOf } from './serve.ts';
import { systemClock, systemIds } from './system.ts';
import { terminalApprover } from './terminal-approver.ts';
import { readWords, usage } from './words.ts';

/** Nothing of the namespace stands in front of our terminal, so that nothing has to be stopped for a question. */
const approverHere = (): Approver => terminalApprover(() => () => undefined);

/** Serves until SIGINT or SIGTERM; exit code 0. Afterwards the namespace has no way out until it is served again. Throws NemoError. */
export async function serve(args: readonly string[]): Promise<number> {
  const words = readWords('serve', args);
  const alone = readAlone(words.policy, words.bestEffort, systemClock.now());
  const path = pathOf(words.netns ?? '');
  const held = await holdCredentials(words.credentials, systemClock, systemIds);
  const stop = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  announce(alone, words);
  const audit = sinkOf(words, held);
  const captured = await capture(['serve', path], process.env);
  const served = await serveCaptured(alone, words, held, captured, approverHere(), audit, true);
  captured.close();
  // For whoever starts programs there.
  for (const [name, placeholder] of Object.entries(held.variables)) process.stdout.write(`${name}=${placeholder}\n`);
  process.stderr.write(words.json ? '{"serving":true}\n' : `network-policy: serving ${path}\n`);
  await stop;
  await served.close();
  return 0;
}

function pathOf(netns: string): string {
  const path = /^\d+$/.test(netns) ? `/proc/${netns}/ns/net` : netns.startsWith('/') ? netns : `/run/netns/${netns}`;
  if (!existsSync(path)) throw usage(`There is no network namespace ${netns}.`);
  // Its only way out would be cut off, ours with it.
  const [there, here] = [statSync(path), statSync('/proc/self/ns/net')];
  if (there.dev === here.dev && there.ino === here.ino) throw usage(`${netns} is in the network that network-policy itself runs in.`);
  return path;
}
