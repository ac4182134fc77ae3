/** `audit search` and `logs` read the whole record, whatever length the gateway gives its pages, and no more than there was when they began. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeWorld, startFakeGateway, type FakeAnswer } from './fake-gateway.ts';
import { run } from './main.ts';
import { placesFrom } from './places.ts';

const newest = 30_000;
const event = (sequence: number): unknown => ({ sequence, event: { time: 0, message: sequence % 4999 === 0 ? `a needle ${sequence}` : `hay ${sequence}`, unmapped: { sandbox: 'sbx', verdict: 'allow' } } });

/** Pages of all lengths; after the end the record goes on growing, a little with each page. */
function pagesFor(path: (after: number) => string): Record<string, FakeAnswer> {
  const out: Record<string, FakeAnswer> = {};
  let length = 1;
  for (let after = 0; after < newest + 20_000; after += length) {
    length = after < newest ? 1 + ((after * 31) % 997) : 1;
    const events = Array.from({ length }, (_, i) => event(after + i + 1));
    out[`GET ${path(after)}`] = { body: { events, next: after + length, newest: Math.max(newest, after + length + 1) } };
  }
  return out;
}

async function said(args: readonly string[], path: (after: number) => string): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'nemoclaw-search-'));
  const gateway = await startFakeGateway(placesFrom({ NEMOCLAW_ROOT: root }).gatewaySocket, { http: pagesFor(path) });
  try {
    const fake = fakeWorld(root);
    await run(args, fake.world);
    assert.equal(fake.stderr(), '');
    return fake.stdout();
  } finally {
    await gateway.close();
    rmSync(root, { recursive: true });
  }
}

test('a search of 30,000 events finds what stands in any page', async () => {
  const out = await said(['audit', 'search', 'needle', '--json'], (after) => `/v1/events?after=${after}&limit=1000`);
  assert.deepEqual((JSON.parse(out) as { sequence: number }[]).map(({ sequence }) => sequence), [4999, 9998, 14_997, 19_996, 24_995, 29_994]);
});

test('the log of a sandbox is whole, and ends although more is recorded meanwhile', async () => {
  const out = await said(['my-assistant', 'logs', '--json'], (after) => `/v1/events?after=${after}&limit=1000&sandbox=my-assistant`);
  const sequences = out.trimEnd().split('\n').map((line) => (JSON.parse(line) as { sequence: number }).sequence);
  assert.deepEqual(sequences, Array.from({ length: newest }, (_, i) => i + 1));
});
