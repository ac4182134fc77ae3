#!/usr/bin/env node
/** Starts the network-policy command line on Node 24, and goes over to the one that came with the installation where an older Node was called. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import module from 'node:module';
import { userInfo } from 'node:os';
import { fileURLToPath } from 'node:url';

/** Keeps compiled code between calls, in the person's own home as the user database has it: never where somebody else could have put code for us ($HOME of sudo, /tmp). */
function keepCompiled() {
  try {
    const home = userInfo().homedir;
    if (statSync(home).uid === process.getuid()) module.enableCompileCache(`${home}/.cache/network-policy`);
  } catch {
    // no home: nothing is kept
  }
}

const args = process.argv.slice(2);
if (args[0] === '--version' || args[0] === '-V') {
  process.stdout.write(`network-policy ${JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version}\n`);
} else if (Number(process.versions.node.split('.')[0]) >= 24) {
  keepCompiled();
  // A package is installed as JavaScript; the checkout runs what it is made from.
  const { main } = await import(existsSync(new URL('../dist/cli.js', import.meta.url)) ? '../dist/cli.js' : '../src/cli.ts');
  process.exitCode = await main(args);
} else {
  // An installed copy, this package's own dependency, or the checkout's.
  const found = ['../../../../../node/bin/node', '../../../.bin/node', '../node_modules/.bin/node', '../../../node_modules/.bin/node'].map((path) => fileURLToPath(new URL(path, import.meta.url))).find((path) => existsSync(path));
  if (found === undefined) {
    process.stderr.write(`error: network-policy runs on Node 24, this is ${process.version}\n  fix: install Node 24, or \`npm install node@24\` beside network-policy\n`);
    process.exitCode = 1;
  } else {
    const run = spawnSync(found, [fileURLToPath(import.meta.url), ...args], { stdio: 'inherit' });
    process.exitCode = run.status ?? 1;
  }
}
