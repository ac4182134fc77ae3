/** What production depends on: how many packages, under which licences, with install scripts or not. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectFolder, read } from './tree.ts';

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
}
const lock: { packages: Record<string, Locked> } = JSON.parse(read('package-lock.json').text);
const production = Object.entries(lock.packages).filter(([path, entry]) => path.startsWith('node_modules/') && !entry.dev && !entry.link);
const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

const licences = new Set(['MIT', 'Apache-2.0', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'BlueOak-1.0.0', 'Unlicense', 'CC0-1.0', 'Python-2.0', 'MPL-2.0']);

test('at most 60 production packages', (t) => {
  t.diagnostic(`${production.length} production packages: ${production.map(([path, entry]) => `${nameOf(path)}@${entry.version}`).join(', ')}`);
  assert.ok(production.length > 0 && production.length <= 60, String(production.length));
});

test('every production package has a licence that lets it be shipped', () => {
  const wrong = production.filter(([path, entry]) => !licences.has(entry.license ?? licenceInFolder(path))).map(([path, entry]) => `${nameOf(path)}: ${entry.license ?? licenceInFolder(path)}`);
  assert.deepEqual(wrong, []);
});

test('only the package that brings Node runs a script when it is installed', () => {
  assert.deepEqual(
    production.filter(([, entry]) => entry.hasInstallScript).map(([path]) => nameOf(path)),
    ['node'],
  );
});

test('production versions are pinned exactly', () => {
  const manifests = [
    'package.json',
    ...['contract', 'decide', 'detect', 'ledger', 'gateway', 'cli', 'layers/openshell', 'layers/privacy-router', 'layers/network-policy', 'layers/policy-engine'].map((room) => `${room}/package.json`),
  ];
  const loose: string[] = [];
  for (const path of manifests) {
    const manifest: { dependencies?: Record<string, string>; optionalDependencies?: Record<string, string> } = JSON.parse(read(path).text);
    for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.optionalDependencies })) if (!/^\d+\.\d+\.\d+$/.test(range)) loose.push(`${path}: ${name}@${range}`);
  }
  assert.deepEqual(loose, []);
});

test('the lockfile says what every package.json says', () => {
  const wrong: string[] = [];
  for (const [folder, entry] of Object.entries(lock.packages).filter(([path]) => !path.startsWith('node_modules/'))) {
    const manifest = JSON.parse(read(folder === '' ? 'package.json' : `${folder}/package.json`).text) as Record<string, unknown>;
    for (const field of ['dependencies', 'optionalDependencies']) {
      const [said, locked] = [manifest, entry as Record<string, unknown>].map((one) => (one[field] ?? {}) as Record<string, string>);
      for (const name of Object.keys({ ...said, ...locked })) if (said?.[name] !== locked?.[name]) wrong.push(`${folder}: ${name}`);
    }
  }
  assert.deepEqual(wrong, []);
});

function licenceInFolder(path: string): string {
  const manifest = join(path, 'package.json');
  if (!existsSync(join(projectFolder, manifest))) return 'unknown';
  const { license }: { license?: string } = JSON.parse(read(manifest).text);
  return license ?? 'unknown';
}
