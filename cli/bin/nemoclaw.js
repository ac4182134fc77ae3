#!/usr/bin/env node
/** Starts the command line: answers --version at once, and goes over to Node 24 where an older Node was called. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const args = process.argv.slice(2);
const version = () => JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;

if (args[0] === '--version' || args[0] === '-V') {
  process.stdout.write(`nemoclaw ${version()}\n`);
} else if (Number(process.versions.node.split('.')[0]) < 24) {
  // Installed copy: PREFIX/versions/<id>/cli/bin; checkout: cli/bin.
  const found = ['../../../../node/bin/node', '../../node_modules/.bin/node'].map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url));
  if (!found) {
    process.stderr.write(`error: NemoClaw runs on Node 24, this is ${process.version}\n  fix: start it with ./nemoclaw, which brings its own\n`);
    process.exitCode = 1;
  } else {
    const run = spawnSync(found.pathname, [new URL(import.meta.url).pathname, ...args], { stdio: 'inherit' });
    process.exitCode = run.status ?? 1;
  }
} else {
  const { run } = await import('../src/main.ts');
  await run(args);
}
