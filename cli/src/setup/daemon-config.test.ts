/** What host.yaml decides: the demo services, the devices, the library that searches. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run } from '../main.ts';
import { fakeWorld } from '../fake-gateway.ts';
import type { Failure } from '../failure.ts';
import { placesFrom } from '../places.ts';
import { daemonConfig, parseBounds } from './daemon-config.ts';
import { needDemo } from './demo-ready.ts';

const temporary = mkdtempSync(join(tmpdir(), 'nemoclaw-host-'));
after(() => rmSync(temporary, { recursive: true, force: true }));
const project = new URL('../../..', import.meta.url).pathname;
const user = { uid: 990, gid: 990 };
const identities = { operatorsGid: 990, users: { gateway: user, worker: user, ledger: user, demo: user } };

test('demo: 0 leaves out the demo services and what would point at them', () => {
  const shown = (text: string): string => JSON.stringify(daemonConfig(placesFrom({ NEMOCLAW_ROOT: '/tmp/none' }), identities, parseBounds(text, 'host.yaml'))['services']);
  assert.match(shown('demo: 1'), /demo\.ts.*NEMOCLAW_DEMO_DIR/);
  assert.doesNotMatch(shown('demo: 0'), /demo/i);
  assert.match(shown('demo: 0'), /gateway\.ts/);
});

test('a workspace that is a link, a demo that is switched off, or whose port somebody else has, is told before anything is set up', async () => {
  const places = placesFrom({ NEMOCLAW_ROOT: temporary });
  const build = join(places.prefix, 'lib/layers/openshell/native/build');
  for (const folder of [build, places.etc]) mkdirSync(folder, { recursive: true });
  for (const name of ['openshell-supervisor', 'openshelld', 'openshell-shim']) writeFileSync(join(build, name), '');
  symlinkSync(join(project, 'blueprints'), join(places.prefix, 'lib/blueprints'));
  writeFileSync(join(places.etc, 'host.yaml'), 'demo: 0\n');
  symlinkSync(build, join(temporary, 'link'));
  const linked = fakeWorld(temporary, { uid: 0 });
  await run(['onboard', '--yes', '--workspace', 'link'], linked.world);
  assert.match(linked.stderr(), /^ok {2}check this machine.*\nerror: .*link is reached by a link\.\n {2}fix: .*--workspace .*build\n {2}code: NEMO_E_WORKSPACE\n$/);
  const { world, stderr, exit } = fakeWorld(temporary, { uid: 0 });
  await run(['onboard', '--yes'], world);
  assert.equal(exit(), 2);
  assert.match(stderr(), /^ok {2}check this machine.*\nerror: The demo model is switched off on this host\.\n.*says demo: 0\.\n.*demo: 1.*--provider\.\n {2}code: NEMO_E_PROVIDER\n$/);
  assert.ok(!existsSync(places.state), 'nothing is made');
  rmSync(join(places.etc, 'host.yaml'));
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  try {
    await assert.rejects(needDemo(places, [port]), ({ code, details }: Failure) => code === 'NEMO_E_PROVIDER' && details.what.includes(String(port)));
  } finally {
    await new Promise((closed) => other.close(closed));
  }
  await needDemo(places, [port]);
});

test('gpu: only paths below /dev reach openshelld', () => {
  const devices = (text: string): unknown => daemonConfig(placesFrom({ NEMOCLAW_ROOT: '/tmp/none' }), identities, parseBounds(text, 'host.yaml'))['devices'];
  assert.deepEqual([devices('demo: 0'), devices('gpu: [/dev/nvidia*, /dev/dri/renderD128]')], [[], ['/dev/nvidia*', '/dev/dri/renderD128']]);
  for (const bad of ['/dev', '/dev/', '/etc/x', '/dev/../etc/x', '/dev/.x', 'dev/x', '/dev/a b', '[/dev/x', '5']) assert.throws(() => parseBounds(`gpu: [${JSON.stringify(bad)}]`, 'host.yaml'), /gpu must be a list/, bad);
  assert.throws(() => parseBounds('gpu: /dev/nvidia0', 'host.yaml'), /gpu must be a list/);
});

test('hyperscan: 0 reaches the data plane, and nothing else does', () => {
  const services = (text: string): string => JSON.stringify(daemonConfig(placesFrom({ NEMOCLAW_ROOT: '/tmp/none' }), identities, parseBounds(text, 'host.yaml'))['services']);
  assert.match(services('hyperscan: 0'), /worker\.ts.*"NEMOCLAW_HYPERSCAN":"0"/);
  for (const text of ['hyperscan: 1', 'demo: 0']) assert.doesNotMatch(services(text), /HYPERSCAN/);
  assert.throws(() => parseBounds('hyperscan: never', 'host.yaml'), /hyperscan must be a whole number/);
});
