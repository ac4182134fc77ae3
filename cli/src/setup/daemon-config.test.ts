/** What host.yaml decides: the demo services, the devices, the library that searches. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placesFrom } from '../places.ts';
import { daemonConfig, parseBounds } from './daemon-config.ts';

const user = { uid: 990, gid: 990 };
const identities = { operatorsGid: 990, users: { gateway: user, worker: user, ledger: user, demo: user } };

test('demo: 0 leaves out the demo services and what would point at them', () => {
  const shown = (text: string): string => JSON.stringify(daemonConfig(placesFrom({ NEMOCLAW_ROOT: '/tmp/none' }), identities, parseBounds(text, 'host.yaml'))['services']);
  assert.match(shown('demo: 1'), /demo\.ts.*NEMOCLAW_DEMO_DIR/);
  assert.doesNotMatch(shown('demo: 0'), /demo/i);
  assert.match(shown('demo: 0'), /gateway\.ts/);
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
