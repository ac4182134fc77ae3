/** Runs the stories one after another, each from a clean state, and then looks for what they left on the host. */
import { Checks } from '../harness/checks.ts';
import { Instance, until } from '../harness/instance.ts';
import { leftBehind, takeInventory } from '../harness/leftovers.ts';
import { firstLight } from './first-light/story.ts';

if (process.getuid?.() !== 0) {
  console.error('The stories make sandboxes as root; run them as root or with sudo.');
  process.exit(1);
}

const ours = /openshell|nemoclaw|opt\/nemoclaw/;
const places = ['/tmp', '/run', '/var/lib', '/etc', '/opt', '/usr/local/bin'];
const rounds = Number(process.argv[2] ?? '1');
const check = new Checks();
for (let round = 1; round <= rounds; round += 1) {
  console.log(`\n==== first light, round ${round} of ${rounds}`);
  const before = takeInventory(places, ours);
  const instance = new Instance();
  try {
    await firstLight(instance, check);
  } finally {
    await instance.destroy();
  }
  check.section('what is left behind');
  // What ends takes a moment; what is left behind stays.
  let left: string[] = [];
  await until('the end of all', () => ((left = leftBehind(before, takeInventory(places, ours))).length === 0 ? true : undefined)).catch(() => undefined);
  check.that('nothing', left.length === 0, left);
}
process.exit(check.close());
