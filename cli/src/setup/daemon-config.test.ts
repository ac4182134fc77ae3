/** host.yaml's switch for the demo services. */
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
