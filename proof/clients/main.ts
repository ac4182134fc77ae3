/** `npm run clients`: real clients inside a real sandbox against real servers: what is allowed works, what is not is refused in words that the client shows, and nothing of it arrives. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { putBlueprint } from '../harness/blueprint.ts';
import { Checks } from '../harness/checks.ts';
import { Instance } from '../harness/instance.ts';
import { freePort } from '../harness/listener.ts';
import { startPostgres, startRedis } from './databases.ts';
import type { Database } from './databases.ts';
import { fetchMcp } from './mcp.ts';
import { haveClients } from './packages.ts';
import { hosts, networkFile, sandboxFile } from './policy.ts';
import { fetchDeno } from './rust.ts';
import { stolenIntermediate } from './stolen.ts';
import { useClients } from './use.ts';
import { openWebServer } from './web-server.ts';
import type { WebServer } from './web-server.ts';

if (process.getuid?.() !== 0) {
  console.error('The clients run in a sandbox made by root; run them as root or with sudo.');
  process.exit(1);
}

/** A repository, an npm package and a wheel, as a server of files has them. */
function makeFiles(folder: string): void {
  const run = (command: string, args: readonly string[], cwd: string): void => {
    const done = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.org', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@example.org' } });
    if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.stderr}`);
  };
  const tree = join(folder, 'tree');
  mkdirSync(tree);
  writeFileSync(join(tree, 'README'), 'a cloned file\n');
  run('git', ['init', '-q', '.'], tree);
  run('git', ['add', '.'], tree);
  run('git', ['commit', '-q', '-m', 'one'], tree);
  run('git', ['clone', '-q', '--bare', tree, join(folder, 'repo.git')], folder);
  run('git', ['config', 'http.receivepack', 'true'], join(folder, 'repo.git'));
  const pack = join(folder, 'npm/package');
  mkdirSync(pack, { recursive: true });
  writeFileSync(join(pack, 'package.json'), '{"name":"small","version":"1.0.0","main":"index.js"}');
  writeFileSync(join(pack, 'index.js'), 'module.exports = "an installed package"');
  run('tar', ['-czf', join(folder, 'package.tgz'), '-C', join(folder, 'npm'), 'package'], folder);
  const info = join(folder, 'wheel/small-1.0.0.dist-info');
  mkdirSync(info, { recursive: true });
  writeFileSync(join(folder, 'wheel/small.py'), 'word = "an installed wheel"\n');
  writeFileSync(join(info, 'METADATA'), 'Metadata-Version: 2.1\nName: small\nVersion: 1.0.0\n');
  writeFileSync(join(info, 'WHEEL'), 'Wheel-Version: 1.0\nGenerator: proof\nRoot-Is-Purelib: true\nTag: py3-none-any\n');
  writeFileSync(join(info, 'RECORD'), 'small.py,,\nsmall-1.0.0.dist-info/METADATA,,\nsmall-1.0.0.dist-info/WHEEL,,\nsmall-1.0.0.dist-info/RECORD,,\n');
  run('python3', ['-m', 'zipfile', '-c', join(folder, 'small-1.0.0-py3-none-any.whl'), 'small.py', 'small-1.0.0.dist-info'], join(folder, 'wheel'));
}

const check = new Checks();
const started = performance.now();
const folder = mkdtempSync('/tmp/nc-clients-');
chmodSync(folder, 0o755);
const instance = new Instance();
const stopped: (() => void | Promise<void>)[] = [() => rmSync(folder, { recursive: true, force: true })];
const toStop = (stop: () => Promise<void>): void => void stopped.push(stop);
let cleaned: Promise<void> | undefined;
const clean = (): Promise<void> =>
  (cleaned ??= (async () => {
    await instance.destroy();
    for (const stop of stopped.reverse()) await stop();
  })());
// Nothing of it outlives the proof, also where a server of ours throws outside of every await.
process.once('uncaughtException', (error) => {
  console.error(error);
  void clean().finally(() => process.exit(1));
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void clean().finally(() => process.exit(130)));
try {
  const clients = new Set(haveClients());
  if (clients.has('go')) stolenIntermediate(check, join(folder, 'stolen'));
  makeFiles(folder);
  const web: WebServer = await openWebServer(Object.values(hosts), folder);
  stopped.push(() => web.close());
  const databases: Record<string, Database | undefined> = { postgres: await startPostgres(folder, await freePort(), toStop), redis: await startRedis(folder, await freePort(), toStop) };
  for (const [name, database] of Object.entries(databases)) if (!database) console.log(`CLIENT NOT TESTED: ${name} (no server is installed here)`);

  instance.configure();
  const networkPolicy = networkFile({ web: web.port, postgres: databases['postgres']?.port ?? 1, redis: databases['redis']?.port ?? 2 });
  putBlueprint(instance, 'clients', { sandbox: sandboxFile, network: networkPolicy }, { 'web-ca.pem': web.caPem });
  const workspace = join(folder, 'work');
  mkdirSync(workspace);
  cpSync(join(import.meta.dirname, 'programs'), join(workspace, 'programs'), { recursive: true });
  if (fetchDeno(folder, join(workspace, 'deno'))) clients.add('deno');
  if (fetchMcp(folder, join(workspace, 'mcp/node_modules'))) clients.add('mcp');
  const made = await instance.cli(['onboard', '--yes', '--name', 'clients', '--blueprint', 'clients', '--workspace', workspace], { timeoutMs: 240_000 });
  if (made.code !== 0) throw new Error(`the instance does not start: ${made.out}${made.err}`);
  await useClients({ check, clients, instance, web, workspace, folder, postgres: databases['postgres']?.port, redis: databases['redis']?.port });
} catch (error) {
  check.that('the clients can be tried', false, error instanceof Error ? (error.stack ?? error.message) : String(error));
} finally {
  await clean();
}
console.log(`\n${Math.round((performance.now() - started) / 1000)} s`);
process.exit(check.close());
