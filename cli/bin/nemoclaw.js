#!/usr/bin/env node
/** Starts the command line: answers --version at once, and goes over to Node 24 where an older Node was called. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import module from 'node:module';
import { userInfo } from 'node:os';

/**
 * Keeps compiled code between calls, for the installed copy only. Root's is in the prefix, a person's in their own home as the user database has it:
 * never where somebody else could have put code for us ($HOME of sudo, /tmp).
 */
function keepCompiled() {
  const uid = process.getuid();
  const prefix = /^(.*)\/versions\/[^/]+\/cli\/bin\/[^/]+$/.exec(new URL(import.meta.url).pathname)?.[1];
  if (prefix === undefined) return;
  try {
    const home = uid === 0 ? prefix : userInfo().homedir;
    if (statSync(home).uid === uid) module.enableCompileCache(uid === 0 ? `${prefix}/cache` : `${home}/.cache/nemoclaw`);
  } catch {
    // no home: nothing is kept
  }
}

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
  keepCompiled();
  const { run } = await import('../src/main.ts');
  await run(args);
}
