import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { appendFileSync, readdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { seal, after, noHead } from './chain.ts';
import { bench, event, records, signCheckpoint, type Bench } from './test-kit.ts';
import { verifyLedger, type FindingKind, type Report } from './verify.ts';

let b: Bench;
let files: string[];
let lines: string[][];

beforeEach(async () => {
  b = bench();
  const ledger = await b.open({ segmentSize: 6000 });
  for (let i = 0; i < 24; i += 1) await ledger.record(event(`event ${i}`, { data: { amount: i } }));
  await ledger.close();
  files = b.files();
  lines = files.map((file) => readFileSync(file, 'utf8').split('\n').slice(0, -1));
  assert.ok(files.length >= 4);
  assert.deepEqual(verify().findings, []);
});
afterEach(() => b.remove());

const verify = (): Report => verifyLedger({ dir: b.dir, checkpoints: b.checkpoints });
const write = (file: number, now: string[]): void => writeFileSync(files[file] ?? '', now.map((line) => `${line}\n`).join(''));
const seqOf = (line: string): number => (JSON.parse(line) as { metadata: { sequence: number } }).metadata.sequence;
const found = (): FindingKind[] => verify().findings.map(({ kind }) => kind);

test('any edit of any byte is found where it is', () => {
  fc.assert(
    fc.property(fc.nat(files.length - 1), fc.nat(), fc.nat(), fc.constantFrom('0', 'x', ' ', '"', ''), (f, l, at, to) => {
      const own = lines[f] ?? [];
      const row = l % own.length;
      const line = own[row] ?? '';
      const place = at % line.length;
      const changed = line.slice(0, place) + to + line.slice(place + 1);
      fc.pre(changed !== line);
      write(f, own.with(row, changed));
      const report = verify();
      write(f, own);
      assert.ok(!report.ok);
      assert.ok(
        report.findings.some(({ file, line: n }) => file === files[f] && Math.abs(n - (row + 1)) <= 1),
        JSON.stringify(report.findings),
      );
    }),
    { numRuns: 200 },
  );
  assert.ok(verify().ok);
});

test('an edit with its fingerprint made right again still breaks the next link', () => {
  const own = lines[1] ?? [];
  const record = JSON.parse(own[1] ?? '') as { metadata: { sequence: number; logged_time: number } };
  const before = JSON.parse(own[0] ?? '') as { type_uid: number; attestation: { chain_uid: string; fingerprint: { value: string } } };
  const state = { chain: before.attestation.chain_uid, count: record.metadata.sequence - 1, head: before.attestation.fingerprint.value, typeUid: before.type_uid };
  write(1, own.with(1, seal(event('nothing happened'), state, { name: 'ledger', run: '', seq: 0 }, record.metadata.logged_time).line));
  const report = verify();
  assert.deepEqual(
    report.findings.map(({ kind }) => kind).filter((k) => k !== 'rewritten'),
    ['relinked'],
  );
  assert.equal(report.findings.find(({ kind }) => kind === 'relinked')?.sequence, record.metadata.sequence + 1);
});

test('a removed record, a swapped pair and a doubled record are found', () => {
  const own = lines[2] ?? [];
  write(2, own.toSpliced(1, 1));
  assert.deepEqual(
    verify().findings.map(({ kind, sequence, line }) => [kind, sequence, line]),
    [['removed', seqOf(own[2] ?? ''), 2]],
  );
  write(2, [own[0] ?? '', own[2] ?? '', own[1] ?? '', ...own.slice(3)]);
  assert.ok(found().includes('removed') && found().includes('reordered'));
  write(2, [...own.slice(0, 2), own[1] ?? '', ...own.slice(2)]);
  assert.deepEqual(found(), ['reordered']);
});

test('a missing segment is found: the first, one in the middle, the last', () => {
  for (const [index, kind] of [
    [0, 'segment-missing'],
    [2, 'segment-missing'],
    [files.length - 1, 'tail-cut'],
  ] as const) {
    const file = files[index] ?? '';
    renameSync(file, `${file}.away`);
    assert.ok(found().includes(kind), `${index}`);
    renameSync(`${file}.away`, file);
  }
  assert.ok(verify().ok);
});

test('a tail cut back past a checkpoint is found, also when the file is cut to the byte', () => {
  const last = files.length - 1;
  write(last, (lines[last] ?? []).slice(0, -1));
  assert.deepEqual(found(), ['tail-cut']);
  writeFileSync(files[last] ?? '', readFileSync(files[last] ?? '').subarray(0, -1));
  assert.ok(found().includes('tail-cut'));
});

test('a rewrite of everything, whole in itself, is found by the signed checkpoints', () => {
  let state = { chain: (JSON.parse(lines[0]?.[0] ?? '') as { attestation: { chain_uid: string } }).attestation.chain_uid, count: 0, head: noHead, typeUid: 0 };
  const forged: string[] = [];
  for (let i = 0; i < lines.flat().length; i += 1) {
    const sealed = seal(event(`forged ${i}`), state, { name: 'gateway', run: 'r', seq: i + 1 }, 1);
    state = after(state, sealed);
    forged.push(sealed.line);
  }
  for (const file of files) unlinkSync(file);
  writeFileSync(join(b.dir, 'events-0000000000000001.jsonl'), forged.map((line) => `${line}\n`).join(''));
  const kinds = new Set(found());
  assert.deepEqual([...kinds], ['rewritten']);
});

test('checkpoints are judged too: forged, changed, gone, or none at all', () => {
  const path = join(b.checkpoints, 'checkpoints.jsonl');
  const text = readFileSync(path, 'utf8');
  const { privateKey } = generateKeyPairSync('ed25519');
  appendFileSync(path, `${JSON.stringify({ time: 1, count: 999, head: noHead, signature: signCheckpoint(privateKey, 999, noHead) })}\n`);
  assert.deepEqual(found(), ['checkpoint-bad']);
  writeFileSync(path, text.replace('"count":', '"count":1'));
  assert.ok(found().includes('checkpoint-bad'));
  writeFileSync(path, '');
  assert.deepEqual(found(), ['checkpoint-missing']);
  rmSync(path);
  assert.deepEqual(found(), ['checkpoint-missing']);
});

test('a record that is being written is not blamed for its unfinished last line', () => {
  appendFileSync(files.at(-1) ?? '', '{"activity_id":');
  const report = verify();
  assert.ok(report.ok);
  assert.equal(report.unfinished, 15);
});

test('the program says where, and exits 0 or 1; 2 without its arguments', () => {
  const main = fileURLToPath(new URL('./verify-main.ts', import.meta.url));
  const run = (...args: string[]): ReturnType<typeof spawnSync> => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  const ok = run('--ledger', b.dir, '--checkpoints', b.checkpoints);
  assert.equal(ok.status, 0, String(ok.stderr));
  assert.match(String(ok.stdout), /^whole: \d+ records/);
  const own = lines[1] ?? [];
  write(1, own.with(1, (own[1] ?? '').replace('"amount":', '"amount":1')));
  const bad = run('--ledger', b.dir, '--checkpoints', b.checkpoints, '--json');
  assert.equal(bad.status, 1);
  const report = JSON.parse(String(bad.stdout)) as Report;
  assert.deepEqual([report.findings[0]?.kind, report.findings[0]?.file, report.findings[0]?.line], ['edited', files[1], 2]);
  assert.match(String(run('--ledger', b.dir, '--checkpoints', b.checkpoints).stdout), /edited: .*:2: sequence/);
  assert.equal(run('--ledger', b.dir).status, 2);
  assert.equal(readdirSync(b.dir).length, files.length, 'reading leaves nothing behind');
  assert.ok(records(b.read()).length > 0);
});

test('a wall clock that is set ahead and back, also between lives and segments, breaks neither the chain nor its checkpoints', async () => {
  const day = 86_400_000;
  for (const ahead of [2 * day, -2 * day, 0]) {
    const ledger = await b.open({ segmentSize: 6000, clock: { now: () => b.clock.now() + ahead, monotonic: () => b.clock.monotonic() } });
    for (let i = 0; i < 12; i += 1) await ledger.record(event(`event at ${ahead} ${i}`, { data: { amount: i } }));
    await ledger.checkpoint('commit');
    await ledger.close();
  }
  const report = verify();
  assert.deepEqual(report.findings, []);
  assert.ok(report.ok && report.segments > files.length && report.checkpoints.lastCount > 60, JSON.stringify(report));
  // And an edit is found there as anywhere.
  const last = b.files().findLast((file) => readFileSync(file, 'utf8').includes('event at 0')) ?? '';
  writeFileSync(last, readFileSync(last, 'utf8').replace('event at 0', 'event at 1'));
  assert.ok(!verify().ok);
});
