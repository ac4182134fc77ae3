/** Setting up: the installed copy, the daemon's configuration, bounds, workspaces and answers; on real folders and sockets, never on the system's own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { loadBlueprint, reservedNames } from '@nemoclaw/contract';
import { fakeWorld } from '../fake-gateway.ts';
import type { CliContext } from '../context.ts';
import { AnsweredFailure, type Failure } from '../failure.ts';
import { placesFrom } from '../places.ts';
import { commandWords, laterWords, verbs } from '../command-words.ts';
import { blueprintFolder } from './blueprint-folder.ts';
import { agentUids, daemonConfig, defaultBounds, instanceName, parseBounds } from './daemon-config.ts';
import { installCopy, productionPackages } from './install-copy.ts';
import { installableAgents, installAgent } from './agent-install.ts';
import { preflight } from './preflight.ts';
import { Progress } from './progress.ts';
import { answersFrom } from './onboard-answers.ts';
import { prepareWorkspace, register, withWorkspace, workspacePath } from './workspace.ts';

const temporary = mkdtempSync(join(tmpdir(), 'nemoclaw-setup-'));
after(() => rmSync(temporary, { recursive: true, force: true }));
const project = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');
const contextFor = (options: Parameters<typeof fakeWorld>[1] = {}): CliContext =>
  ({ world: fakeWorld(temporary, options).world, places: placesFrom({ NEMOCLAW_ROOT: temporary }), sandbox: '' }) as unknown as CliContext;

test('every word of the command line is refused as a name', () => {
  assert.deepEqual(
    [...commandWords, ...verbs, ...laterWords, 'help'].filter((word) => !reservedNames.has(word)),
    [],
  );
});

test('a private root moves every path, and a relative one is refused', () => {
  const places = placesFrom({ NEMOCLAW_ROOT: '/tmp/x/' });
  for (const path of [places.run, places.state, places.prefix, places.etc, places.gatewaySocket, places.registerSocket]) assert.ok(path.startsWith('/tmp/x/'), path);
  assert.equal(placesFrom({}).gatewaySocket, '/run/nemoclaw/gateway.sock');
  assert.throws(() => placesFrom({ NEMOCLAW_ROOT: 'x' }), /absolute/);
});

test('a blueprint is found beside the code, else where root put one of its own', () => {
  const places = placesFrom({ NEMOCLAW_ROOT: join(temporary, 'blueprints') });
  const [shipped, own] = [join(places.prefix, 'lib/blueprints'), join(places.state, 'blueprints')];
  for (const folder of [join(shipped, 'both'), join(own, 'both'), join(own, 'mine')]) mkdirSync(folder, { recursive: true });
  assert.deepEqual(
    ['both', 'mine', 'none'].map((name) => blueprintFolder(places, name)),
    [join(shipped, 'both'), join(own, 'mine'), join(shipped, 'none')],
  );
});

test('the copy holds production files only, runs, and is swapped in one step', () => {
  const from = join(temporary, 'checkout');
  const write = (path: string, text: string): void => {
    mkdirSync(join(from, path, '..'), { recursive: true });
    writeFileSync(join(from, path), text, { mode: 0o600 });
  };
  write('package.json', '{"type":"module"}');
  write('cli/package.json', '{"name":"@nemoclaw/cli","type":"module","exports":{".":"./src/index.ts"}}');
  write('cli/src/index.ts', 'export const answer: number = 42;\n');
  write('cli/src/index.test.ts', 'throw new Error();\n');
  write('cli/src/bench.ts', '');
  write('gateway/src/use.ts', "import { answer } from '@nemoclaw/cli';\nimport { kept } from 'kept';\nconsole.log(answer + kept);\n");
  write('layers/openshell/native/source.c', '');
  write('layers/openshell/native/build/openshelld', '#!/bin/sh\n');
  chmodSync(join(from, 'layers/openshell/native/build/openshelld'), 0o700);
  write('layers/openshell/native/build/openshelld.o', '');
  write('node_modules/kept/package.json', '{"name":"kept","type":"module","exports":"./index.js"}');
  write('node_modules/kept/index.js', 'export const kept = 1;\n');
  write('node_modules/tool/index.js', '');
  write('node_modules/node/bin/node', readlinkSync('/proc/self/exe'));
  mkdirSync(join(from, 'node_modules/@nemoclaw'));
  symlinkSync('../../cli', join(from, 'node_modules/@nemoclaw/cli'));
  write(
    'package-lock.json',
    JSON.stringify({ packages: { '': {}, cli: {}, 'node_modules/@nemoclaw/cli': { link: true }, 'node_modules/kept': {}, 'node_modules/tool': { dev: true }, 'node_modules/node': {} } }),
  );
  const prefix = join(temporary, 'opt/nemoclaw');

  for (const id of ['one', 'two', 'three']) installCopy({ from, prefix, id, own: false });
  // A folder where its Node is to be written: what comes before is copied by then.
  mkdirSync(join(prefix, 'node/bin/node.new'));
  utimesSync(join(from, 'node_modules/node/bin/node'), 1, 1);
  assert.throws(() => installCopy({ from, prefix, id: 'four', own: false }), /node\.new/);
  assert.ok(!existsSync(join(prefix, 'node/bin/node.new')));

  assert.equal(readlinkSync(join(prefix, 'lib')), 'versions/three');
  assert.deepEqual(
    ['one', 'two', 'three', 'four'].map((id) => existsSync(join(prefix, 'versions', id))),
    [false, true, true, false],
    'the one before stays for what still runs from it, and of one that failed nothing does',
  );
  const lib = realpathSync(join(prefix, 'lib'));
  for (const path of ['cli/src/index.test.ts', 'node_modules/tool', 'layers/openshell/native/source.c', 'layers/openshell/native/build/openshelld.o']) assert.ok(!existsSync(join(lib, path)), path);
  assert.equal(statSync(join(lib, 'cli/src/index.ts')).mode & 0o777, 0o644, 'readable by the services whatever the umask was');
  assert.equal(statSync(join(lib, 'layers/openshell/native/build/openshelld')).mode & 0o777, 0o755);
  assert.equal(readFileSync(join(lib, '.stamp'), 'utf8'), `${from}\n`);
  assert.equal(realpathSync(join(lib, 'node_modules/@nemoclaw/cli')), join(lib, 'cli'), 'rooms are linked inside the copy, not back to the checkout');
  assert.ok(readFileSync(join(prefix, 'bin/nemoclaw'), 'utf8').includes(`NEMOCLAW_ROOT='${temporary}'`));
});

test('production packages of this project are those of its lockfile, without tools', () => {
  const packages = productionPackages(readFileSync(join(project, 'package-lock.json'), 'utf8'));
  assert.ok(packages.includes('node_modules/zod') && packages.includes('node_modules/undici'));
  assert.ok(!packages.some((path) => /typescript|oxlint|fast-check|node_modules\/node$/.test(path)), packages.join());
});

test('bounds: defaults, what root wrote, and refusal of what is not understood', () => {
  assert.deepEqual(parseBounds('sandboxes: 4\n', 'host.yaml'), { ...defaultBounds, sandboxes: 4 });
  for (const wrong of ['sandbox: 4', 'sandboxes: -1', 'sandboxes: many', '- 1', 'a: [']) assert.throws(() => parseBounds(wrong, 'host.yaml'), { code: 'NEMO_E_SETUP' }, wrong);
});

test('the daemon gets four identities of its own and a range for agents that no login has', () => {
  const users = { gateway: { uid: 991, gid: 991 }, worker: { uid: 992, gid: 992 }, ledger: { uid: 993, gid: 993 }, demo: { uid: 994, gid: 994 } };
  const config = daemonConfig(placesFrom({}), { operatorsGid: 995, users }, defaultBounds);
  const services = config['services'] as { name: string }[];
  assert.deepEqual(
    services.map((service) => service.name),
    ['ledger', 'worker', 'gateway', 'demo'],
  );
  assert.equal(new Set(Object.values(config['identities'] as typeof users).map((identity) => identity.uid)).size, 4);
  const { first, count } = agentUids('');
  for (const root of ['/tmp/a', '/tmp/b']) {
    const other = agentUids(root);
    assert.ok(other.first >= first + count && other.first + other.count <= 0x7fff_ffff, root);
  }
  assert.notEqual(instanceName('/tmp/a'), instanceName('/tmp/b'));
});

test('a workspace is made and filled once, never over what is there', () => {
  const seed = join(temporary, 'seed');
  mkdirSync(seed);
  writeFileSync(join(seed, 'readme'), 'seed');
  const person = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, home: temporary };
  const path = join(temporary, 'deep/er/work');
  const prepared = prepareWorkspace(path, seed, person);
  assert.equal(prepared.filled, true);
  writeFileSync(join(path, 'readme'), 'mine');
  const again = prepareWorkspace(path, seed, person);
  assert.equal(again.filled, false);
  again.undo();
  assert.equal(readFileSync(join(path, 'readme'), 'utf8'), 'mine');
  assert.throws(() => prepareWorkspace(join(path, 'readme'), seed, person), { code: 'NEMO_E_WORKSPACE' });
  symlinkSync(path, join(temporary, 'link'));
  for (const below of ['link', 'link/new']) assert.throws(() => prepareWorkspace(join(temporary, below), seed, person), ({ code, details }: Failure) => code === 'NEMO_E_WORKSPACE' && details.fix?.includes(path) === true, below);
  writeFileSync(join(temporary, 'deep/other'), '');
  prepared.undo();
  assert.deepEqual(readdirSync(join(temporary, 'deep')), ['other'], 'what was made is taken away, and nothing else');
});

test('on another processor one check fails, and says which is needed', () => {
  const real = Object.getOwnPropertyDescriptor(process, 'arch') ?? {};
  try {
    Object.defineProperty(process, 'arch', { ...real, value: 'arm64' });
    const found = preflight(placesFrom({ NEMOCLAW_ROOT: temporary })).find(({ name }) => name === 'platform');
    assert.deepEqual(found, { name: 'platform', state: 'failed', text: 'linux on arm64', fix: 'NemoClaw needs Linux on x86-64.' });
  } finally {
    Object.defineProperty(process, 'arch', real);
  }
});

test('who has no home gets a folder all the same', () => {
  const context = { ...contextFor({ uid: 0, env: { SUDO_UID: '65534' } }), places: placesFrom({}) };
  assert.equal(workspacePath(context, 'a', undefined), '/nonexistent/nemoclaw/a');
});

test('of a copy that finds no room nothing stays', { skip: process.getuid?.() === 0 ? false : 'needs root, to mount' }, () => {
  const [seed, small] = [join(temporary, 'seed-large'), join(temporary, 'small')];
  for (const folder of [seed, join(seed, 'a'), small]) mkdirSync(folder);
  writeFileSync(join(seed, 'a/little'), 'x');
  writeFileSync(join(seed, 'b'), Buffer.alloc(1 << 20));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]);
  try {
    mkdirSync(join(small, 'mine'));
    for (const path of [join(small, 'new/er'), join(small, 'mine')]) assert.throws(() => prepareWorkspace(path, seed, { uid: 0, gid: 0, home: temporary }), { code: 'NEMO_E_WORKSPACE' });
    assert.deepEqual([readdirSync(small), readdirSync(join(small, 'mine'))], [['mine'], []]);
  } finally {
    execFileSync('umount', [small]);
  }
});

test('registration: one line each way; silence is an error', async () => {
  const socketPath = join(temporary, 'register.sock');
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    socket.on('data', (line) => {
      const path = (JSON.parse(String(line)) as { path: string }).path;
      socket.end(path === '/silent' ? '' : `${JSON.stringify(path === '/etc' ? { ok: false, code: 'system', error: 'a system folder' } : { ok: true, id: 'ws_1', path })}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  try {
    assert.deepEqual(await register(socketPath, '/srv/x'), { ok: true, id: 'ws_1', path: '/srv/x' });
    assert.deepEqual(await register(socketPath, '/etc'), { ok: false, code: 'system', error: 'a system folder' });
    await assert.rejects(register(socketPath, '/silent'), { code: 'NEMO_E_WORKSPACE' });
  } finally {
    server.close();
  }
  await assert.rejects(register(join(temporary, 'nobody.sock'), '/x'), { code: 'NEMO_E_NO_DAEMON' });
});

test('a workspace that was made goes again where it is not registered, or what was to work in it is refused; where no answer came it stays', async () => {
  const context = contextFor({ uid: process.getuid?.() ?? 0 });
  const [seed, made] = [join(temporary, 'seed-with'), join(temporary, 'with')];
  mkdirSync(seed);
  writeFileSync(join(seed, 'readme'), 'seed');
  const use = (): Promise<string> => withWorkspace(context, join(made, 'work'), seed, (registration) => (outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(`in ${registration}`)));
  let outcome: Error | undefined;
  await assert.rejects(use(), { code: 'NEMO_E_NO_DAEMON' });
  assert.ok(!existsSync(made), 'nobody registers');
  let reply: object = { ok: false, code: 'full', error: 'too many' };
  const server = createServer((socket) => void socket.on('data', () => socket.end(`${JSON.stringify(reply)}\n`)));
  mkdirSync(join(context.places.registerSocket, '..'), { recursive: true });
  await new Promise<void>((resolve) => server.listen(context.places.registerSocket, resolve));
  try {
    await assert.rejects(use(), { code: 'NEMO_E_WORKSPACE' });
    assert.ok(!existsSync(made), 'registration refused');
    reply = { ok: true, id: 'ws_1', path: made };
    outcome = new AnsweredFailure({ code: 'NEMO_E_BLUEPRINT', what: 'no', fix: 'none' });
    await assert.rejects(use(), outcome);
    assert.ok(!existsSync(made), 'creation refused');
    outcome = new Error('no answer');
    await assert.rejects(use(), outcome);
    assert.ok(existsSync(join(made, 'work/readme')), 'no answer');
    outcome = undefined;
    assert.equal(await use(), 'in ws_1');
  } finally {
    server.close();
  }
});

test('answers: flags and defaults without a question, keys only from the environment', async () => {
  assert.deepEqual(await answersFrom(contextFor(), { yes: true }), { name: 'my-assistant', blueprint: 'my-assistant', provider: undefined });
  assert.deepEqual(await answersFrom(contextFor({ env: { OPENAI_API_KEY: 'k' } }), { yes: true, name: 'a', provider: 'openai', model: 'm' }), {
    name: 'a',
    blueprint: 'assistant',
    provider: { kind: 'openai', model: 'm', apiKey: 'k' },
  });
  await assert.rejects(answersFrom(contextFor(), {}), { code: 'NEMO_E_USAGE' });
  await assert.rejects(answersFrom(contextFor(), { yes: true, name: 'list' }), { code: 'NEMO_E_NAME' });
  await assert.rejects(answersFrom(contextFor(), { yes: true, provider: 'hal' }), { code: 'NEMO_E_PROVIDER' });
  await assert.rejects(answersFrom(contextFor(), { yes: true, model: 'm' }), { code: 'NEMO_E_USAGE' });
});

test('a step that takes long is named while it runs, on no terminal too', async () => {
  const { world, stderr } = fakeWorld(temporary);
  const told = async (): Promise<void> => {
    for (let waited = 0; stderr() !== '... slow\n'; waited += 50) {
      assert.ok(waited < 60_000, stderr());
      await setTimeout(50);
    }
  };
  await new Progress({ ...contextFor(), world }).step('slow', told);
  assert.match(stderr(), /^\.\.\. slow\nok {2}slow \(/);
});

test('of an agent that could not be installed nothing stays', async () => {
  const [bin, places] = [join(temporary, 'bin'), placesFrom({ NEMOCLAW_ROOT: join(temporary, 'agents') })];
  mkdirSync(bin);
  writeFileSync(join(bin, 'npm'), '#!/bin/sh\nmkdir node_modules\necho no room >&2\nexit 1\n', { mode: 0o755 });
  const path = process.env['PATH'];
  process.env['PATH'] = `${bin}:${path}`;
  try {
    await assert.rejects(installAgent(places, 'pi'), ({ code, details }: Failure) => code === 'NEMO_E_SETUP' && details.why === 'no room');
  } finally {
    process.env['PATH'] = path;
  }
  assert.deepEqual(readdirSync(join(places.state, 'agents')), []);
});

test('every agent that a shipped blueprint runs can be installed, at one version each', () => {
  const blueprint = loadBlueprint(readFileSync(join(project, 'blueprints/my-assistant/blueprint.yaml'), 'utf8'), 'blueprint.yaml');
  assert.ok([...installableAgents(), 'shell'].includes(blueprint.agent.kind));
  for (const kind of installableAgents()) {
    const lock: { packages: Record<string, { version?: string; integrity?: string }> } = JSON.parse(readFileSync(join(project, 'cli/agents', kind, 'package-lock.json'), 'utf8'));
    const loose = Object.entries(lock.packages).filter(([path, entry]) => path !== '' && (entry.integrity === undefined || entry.version === undefined));
    assert.deepEqual(
      loose.map(([path]) => path),
      [],
    );
  }
});
