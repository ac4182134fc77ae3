/** `network-policy serve`: the policy in front of a network namespace that exists. */
import { existsSync, statSync } from 'node:fs';
import type { Approver } from '@nemoclaw/contract';
import { capture } from './captured-command.ts';
import { holdCredentials } from './held-credentials.ts';
import { readSeeing } from './policy.ts';
import { withPrograms } from './seen-programs.ts';
import type { SeenPrograms } from './seen-programs.ts';
import { announce, serveCaptured, sinkOf } from './serve.ts';
import { systemClock, systemIds } from './system.ts';
import { terminalApprover } from './terminal-approver.ts';
import { readWords, usage } from './words.ts';
import type { Words } from './words.ts';

/** Nothing of the namespace stands in front of our terminal, so that nothing has to be stopped for a question. */
const approverHere = (): Approver => terminalApprover(() => () => undefined);

/** Serves until SIGINT or SIGTERM; exit code 0. Afterwards the namespace has no way out until it is served again. Throws NemoError. */
export const serve = (args: readonly string[]): Promise<number> => withPrograms((programs) => serveSeen(readWords('serve', args), programs));

async function serveSeen(words: Words, programs: SeenPrograms): Promise<number> {
  const path = pathOf(words.netns ?? '');
  // A process says in whose files a path counts, a name does not.
  const mounts = /^\/proc\/\d+\/ns\/net$/.test(path) ? path.replace(/net$/, 'mnt') : undefined;
  if (mounts === undefined) programs.refuse();
  const alone = await readSeeing(words, programs.see);
  const held = await holdCredentials(words.credentials, systemClock, systemIds);
  const stop = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  announce(alone, words);
  const audit = sinkOf(words, held);
  const captured = await capture(['serve', path], process.env);
  if (mounts !== undefined) programs.within(captured.network, mounts);
  const served = await serveCaptured(alone, words, held, captured, approverHere(), audit, true, programs);
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
