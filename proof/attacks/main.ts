/** `npm run attacks`: attacks from inside a sandbox, judged by what the world shows. Arguments: parts (kernel, services, controls, race) or ids of kernel attacks to run alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Checks } from '../harness/checks.ts';
import { leftBehind, takeInventory } from '../harness/leftovers.ts';
import { controls } from './controls.ts';
import { buildTries, kernelLayers } from './kernel-layers.ts';
import { race } from './race.ts';
import { serviceLayers } from './service-layers.ts';

if (process.getuid?.() !== 0) {
  console.error('The attacks are tried in sandboxes made by root; run them as root or with sudo.');
  process.exit(1);
}
const wanted = process.argv.slice(2);
const ids = wanted.filter((word) => !['kernel', 'services', 'controls', 'race'].includes(word));
const part = (name: string): boolean => wanted.length === 0 || wanted.includes(name);
const check = new Checks();
const started = performance.now();
// Only what carries our own temporary names: other people's work on this machine is not ours to judge.
const ours = /\/tmp\/nc-|nca-/;
const before = takeInventory(['/run', '/opt', '/usr/local/bin'], ours);
const folder = mkdtempSync('/tmp/nca-build-');
try {
  const tries = join(folder, 'tries');
  buildTries(tries);
  if (part('kernel') || ids.length > 0) await kernelLayers(check, tries, ids);
  if (part('controls')) await check.step('controls', () => controls(check));
  if (part('race')) race(check);
  if (part('services')) await check.step('services', () => serviceLayers(check, tries));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (wanted.length === 0) {
  check.section('what is left behind');
  const left = leftBehind(before, takeInventory(['/run', '/opt', '/usr/local/bin'], ours)).filter((line) => ours.test(line) || line.includes('/nca-'));
  check.that('nothing', left.length === 0, left);
}
console.log(`\n${Math.round((performance.now() - started) / 1000)} s`);
process.exit(check.close());
