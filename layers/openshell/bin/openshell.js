#!/usr/bin/env node
/** Starts the openshell command line on Node 24, and goes over to the one that came with the installation where an older Node was called. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const args = process.argv.slice(2);
if (Number(process.versions.node.split('.')[0]) >= 24) {
  const { main } = await import('../src/cli.ts');
  process.exitCode = await main(args);
} else {
  // An installed copy, this package's own dependency, or the checkout's.
  const found = ['../../../../../node/bin/node', '../node_modules/.bin/node', '../../../node_modules/.bin/node'].map((path) => fileURLToPath(new URL(path, import.meta.url))).find((path) => existsSync(path));
  if (found === undefined) {
    process.stderr.write(`error: openshell runs on Node 24, this is ${process.version}\n  fix: install Node 24, or \`npm install node@24\` beside openshell\n`);
    process.exitCode = 1;
  } else {
    const run = spawnSync(found, [fileURLToPath(import.meta.url), ...args], { stdio: 'inherit' });
    process.exitCode = run.status ?? 1;
  }
}
