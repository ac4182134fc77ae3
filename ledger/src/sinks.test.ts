import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NemoError } from '@nemoclaw/contract';
import { LedgerReader } from './reader.ts';
import { feedSink, fileDelivery } from './sink-feed.ts';
import { resolveSink, type SinkConfig } from './sinks.ts';
import { bench, event, type Bench } from './test-kit.ts';

let b: Bench;
beforeEach(() => {
  b = bench();
});
afterEach(() => b.remove());

test('a sink is resolved by name, and an unknown one is an error with the fix in it', () => {
  const configured = new Map<string, SinkConfig>([['security-events', { type: 'file', path: '/x' }]]);
  assert.equal(resolveSink('siem://security-events', configured).config.path, '/x');
  for (const uri of ['siem://other', 'file:///etc/passwd', 'siem://__proto__', 'siem://', 'security-events']) {
    assert.throws(
      () => resolveSink(uri, configured),
      (error: unknown) => error instanceof NemoError && error.code === 'NEMO_E_POLICY_SINK' && error.fix.includes('siem://security-events'),
    );
  }
});

test('every record reaches the sink at least once, in order, over restarts and failures', async () => {
  const out = join(b.root, 'out', 'events.jsonl');
  const cursorFile = join(b.root, 'cursor');
  const file = fileDelivery(out);
  let sent = 0;
  for (let life = 0; life < 4; life += 1) {
    const writer = await b.open({ segmentSize: 8000 });
    let calls = 0;
    // Every first delivery of a life fails half-way: taken, but not said so.
    const deliver = async (lines: readonly string[]): Promise<void> => {
      calls += 1;
      await file(calls === 1 ? lines.slice(0, Math.ceil(lines.length / 2)) : lines);
      if (calls === 1) throw new Error('the other side went away');
    };
    const feed = feedSink({ writer, reader: new LedgerReader(writer), deliver, cursorFile, retryMs: 5 });
    for (let i = 0; i < 10; i += 1) await writer.record(event(`event ${(sent += 1)}`));
    while (feed.status().delivered < writer.durable) await sleep(5);
    await writer.close();
    await feed.close();
    assert.equal(feed.status().error, '');
    assert.equal(feed.status().delivered, writer.status().count);
  }
  const got = readFileSync(out, 'utf8').trimEnd().split('\n');
  const written = b.read().trimEnd().split('\n');
  assert.deepEqual([...new Set(got)], written);
  assert.ok(got.length > written.length, 'what was in doubt came twice');
});

test('a lost or broken cursor means again from the start, never a gap', async () => {
  const cursorFile = join(b.root, 'cursor');
  for (const broken of ['', '{"sequence":-3}', 'null', '[]']) {
    rmSync(b.dir, { recursive: true, force: true });
    mkdirSync(b.dir);
    b.signed.length = 0;
    writeFileSync(cursorFile, broken);
    const got: string[] = [];
    const writer = await b.open();
    const feed = feedSink({ writer, reader: new LedgerReader(writer), deliver: (lines) => void got.push(...lines), cursorFile });
    await writer.record(event('one'));
    await writer.close();
    await feed.close();
    assert.equal(got.length, writer.status().count);
  }
});
