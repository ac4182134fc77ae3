/** `npm run attacks`: attacks from inside a sandbox, judged by what the world shows. Arguments: parts (kernel, more, services, controls, race, data-plane, two-sandboxes, labels, ways-in, network, record) or ids of kernel attacks to run alone. */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Checks } from '../harness/checks.ts';
import { until } from '../harness/instance.ts';
import { takeInventory } from '../harness/leftovers.ts';
import { controls } from './controls.ts';
import { dataPlane } from './data-plane/index.ts';
import { twoSandboxes } from './data-plane/two-sandboxes.ts';
import { buildTries, kernelLayers } from './kernel-layers.ts';
import { labelled } from './labelled.ts';
import { larger } from './more/judge.ts';
import { networkAttacks } from './network/index.ts';
import { race } from './race.ts';
import { record } from './record/index.ts';
import { serviceLayers } from './service-layers.ts';
import { waysIn } from './ways-in.ts';

function leftOf(folders: readonly string[]): string[] {
  const inventory = takeInventory(['/tmp', '/run', '/opt'], /./);
  return [...inventory].flatMap(([kind, things]) => [...things].filter((thing) => folders.some((folder) => thing.includes(folder))).map((thing) => `${kind}: ${thing}`));
}

if (process.getuid?.() !== 0) {
  console.error('The attacks are tried in sandboxes made by root; run them as root or with sudo.');
  process.exit(1);
}
const wanted = process.argv.slice(2);
const parts = ['kernel', 'more', 'services', 'controls', 'race', 'data-plane', 'two-sandboxes', 'labels', 'ways-in', 'network', 'record'];
const ids = wanted.filter((word) => !parts.includes(word));
const part = (name: string): boolean => wanted.length === 0 || wanted.includes(name);
const check = new Checks();
const started = performance.now();
/** Folders made by this run; nothing may carry their names afterwards. Other runs on this machine are not ours to judge. */
const names: string[] = [];
const folder = mkdtempSync('/tmp/nca-build-');
const cleaning: (() => void | Promise<void>)[] = [() => rmSync(folder, { recursive: true, force: true })];
const onInterrupt = (clean: () => void | Promise<void>): void => void cleaning.push(clean);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    void Promise.allSettled(cleaning.map(async (clean) => clean())).then(() => process.exit(130));
  });
}
try {
  const tries = join(folder, 'tries');
  buildTries(tries);
  if (part('kernel') || ids.length > 0) names.push(...(await kernelLayers(check, tries, ids, onInterrupt)));
  if (part('more') || ids.length > 0) names.push(...(await larger(check, tries, ids, onInterrupt)));
  if (part('controls')) await check.step('controls', () => controls(check));
  if (part('race')) race(check);
  if (part('services')) await check.step('services', () => serviceLayers(check, tries, (instance) => {
    names.push(instance.root);
    onInterrupt(() => instance.destroy());
  }));
  if (part('data-plane')) await check.step('data plane', () => dataPlane(check));
  if (part('two-sandboxes')) await check.step('two sandboxes', () => twoSandboxes(check));
  if (part('labels')) await check.step('labels', () => labelled(check, (instance) => {
    names.push(instance.root);
    onInterrupt(() => instance.destroy());
  }));
  if (part('ways-in')) await check.step('ways in', () => waysIn(check, (instance) => {
    names.push(instance.root);
    onInterrupt(() => instance.destroy());
  }));
  if (part('network')) await check.step('network', () => networkAttacks(check, (instance) => {
    names.push(instance.root);
    onInterrupt(() => instance.destroy());
  }));
  if (part('record')) await check.step('record', () => record(check));
} finally {
  rmSync(folder, { recursive: true, force: true });
  // Tried without the view, one attack leaves its emptied program where it has no program to remove it with.
  for (const name of readdirSync('/tmp')) if (/^nca-tool-[0-9a-f]{24}$/.test(name) && statSync(join('/tmp', name)).size === 0) rmSync(join('/tmp', name));
}
check.section('what is left behind');
// What ends takes a moment; what is left behind stays.
let left: string[] = [];
await until('the end of all', () => ((left = leftOf([...names, folder])).length === 0 ? true : undefined)).catch(() => undefined);
check.that('nothing', left.length === 0, left);
console.log(`\n${Math.round((performance.now() - started) / 1000)} s`);
process.exit(check.close());
