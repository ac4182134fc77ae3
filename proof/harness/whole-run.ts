/** `whole-run.ts before FILE`, `whole-run.ts after FILE`: what a whole run of the tests left on the host; prints it, and exits with 1 if there is anything. */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { leftBehind, takeInventory, type Inventory } from './leftovers.ts';

const [when = '', file = ''] = process.argv.slice(2);
const places = ['/tmp', '/run', '/run/netns', '/var/lib', '/var/lib/openshell/workspaces', '/var/lib/openshell/layers', '/etc', '/opt', '/home', '/usr/local/bin'];
/** Of files only those that carry a name of ours: others may write to these places, too. What lies in the state folder of the commands counts, not the folder. */
const ours = (name: string): boolean => /nemoclaw|openshell|\/(nca?|story|conformance|lsm|connected|seen)-/.test(name) && !/^\/var\/lib\/openshell(\/[a-z]+)?$/.test(name);
/** What openshelld mounts where nobody has, as every distribution does at boot, and leaves. */
const kernelOwn = new Set(['/ /sys/fs/bpf', '/ /sys/kernel/security']);
const counts: Readonly<Record<string, (name: string) => boolean>> = { files: ours, mounts: (name) => !kernelOwn.has(name) };
const take = (): Inventory => new Map([...takeInventory(places, /openshell|nemoclaw-/)].map(([kind, things]) => [kind, new Set([...things].filter(counts[kind] ?? (() => true)))]));

if (when === 'before') writeFileSync(file, JSON.stringify([...take()].map(([kind, things]) => [kind, [...things]])));
else {
  const before: Inventory = new Map((JSON.parse(readFileSync(file, 'utf8')) as [string, string[]][]).map(([kind, things]) => [kind, new Set(things)]));
  // What has just been told to end may need a moment.
  for (let tries = 0; tries < 60 && leftBehind(before, take()).length > 0; tries += 1) await pause(500);
  const left = leftBehind(before, take());
  for (const thing of left) console.log(`LEFT BEHIND: ${thing}`);
  process.exitCode = left.length > 0 ? 1 : 0;
}
