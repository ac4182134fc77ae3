/** `npm run faults`: what dies, fills up or runs out, while an agent inside never stops trying. The sandbox stays shut, nothing is stuck, nothing is left. */
import { Checks } from '../harness/checks.ts';
import { deaths, parents } from './deaths.ts';
import { exhaustion } from './exhaustion.ts';
import { fullDisk } from './full-disk.ts';
import { network } from './network.ts';
import { payloads } from './payloads.ts';

if (process.getuid?.() !== 0) {
  console.error('The fault tests make sandboxes and a file system; run them as root or with sudo.');
  process.exit(1);
}
const check = new Checks();
const start = performance.now();
const only = process.argv[2];
for (const [name, part] of Object.entries({ deaths, parents, exhaustion, fullDisk, network, payloads })) if (only === undefined || only === name) await check.step(name, () => part(check));
console.log(`     ${Math.round((performance.now() - start) / 1000)} s`);
process.exit(check.close());
