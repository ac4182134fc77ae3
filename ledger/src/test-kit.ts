/** What the tests of this room share: a folder that goes away, a signer like openshelld's, plain events. */
import { generateKeyPairSync, sign as signBytes, type KeyObject } from 'node:crypto';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock, Ids, LedgerEvent } from '@nemoclaw/contract';
import { checkpointFile, checkpointText, publicKeyFile } from './checkpoints.ts';
import type { Sign } from './checkpoint-signer.ts';
import { redactor } from './redactor.ts';
import { openLedger, type LedgerOptions, type LedgerWriter } from './writer.ts';

export interface Bench {
  readonly root: string;
  readonly dir: string;
  readonly checkpoints: string;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly signed: { count: number; head: string; why: string }[];
  readonly sign: Sign;
  readonly failures: Error[];
  open(options?: Partial<LedgerOptions>): Promise<LedgerWriter>;
  files(): string[];
  read(): string;
  remove(): void;
}

/** A ledger's place in a temporary folder, with a key of its own. */
export function bench(): Bench {
  const root = mkdtempSync(join(tmpdir(), 'ledger-test-'));
  const dir = join(root, 'ledger');
  const checkpoints = join(root, 'checkpoints');
  mkdirSync(checkpoints);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  writeFileSync(join(checkpoints, publicKeyFile), `${rawPublicKey(publicKey)}\n`);
  const signed: Bench['signed'] = [];
  const failures: Error[] = [];
  let ticks = 1_700_000_000_000;
  let id = 0;
  const clock: Clock = { now: () => (ticks += 1), monotonic: () => ticks };
  const ids: Ids = { next: (prefix) => `${prefix}_${(id += 1)}_${root.slice(-6)}` };
  const sign: Sign = async ({ count, head, why }) => {
    // As openshelld does: never backwards, never another head at the same count.
    const last = signed.at(-1);
    if (last && (count < last.count || (count === last.count && head !== last.head))) throw new Error(`${count} is behind the signed ${last.count}`);
    signed.push({ count, head, why });
    appendFileSync(join(checkpoints, checkpointFile), `${JSON.stringify({ time: clock.now(), count, head, signature: signCheckpoint(privateKey, count, head) })}\n`);
  };
  const files = (): string[] =>
    readdirSync(dir)
      .filter((f) => f.endsWith('.jsonl'))
      .sort()
      .map((f) => join(dir, f));
  return {
    root,
    dir,
    checkpoints,
    clock,
    ids,
    signed,
    sign,
    failures,
    open: (options) => openLedger({ dir, redact: redactor(), sign, clock, ids, onFailure: (error) => failures.push(error), batchMs: 1, checkpointMs: 3_600_000, ...options }),
    files,
    read: () =>
      files()
        .map((f) => readFileSync(f, 'utf8'))
        .join(''),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

export function signCheckpoint(key: KeyObject, count: number, head: string): string {
  return signBytes(null, Buffer.from(checkpointText(count, head), 'ascii'), key).toString('hex');
}

/** 32 raw bytes in hex. */
function rawPublicKey(key: KeyObject): string {
  return Buffer.from(String(key.export({ format: 'jwk' }).x), 'base64url').toString('hex');
}

export function event(message: string, more: Partial<LedgerEvent> = {}): LedgerEvent {
  return { time: 1_700_000_000_000, class: 'httpActivity', activity: 3, severity: 1, sandbox: 'sbx_1', layer: 'proxy', message, ...more };
}

/** The records of a ledger as objects. */
export function records(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** `unmapped.data.kind` of the ledger's own records, in order. */
export function kinds(text: string): string[] {
  return records(text).flatMap((record) => {
    const unmapped = record['unmapped'] as { source: { name: string }; data?: { kind?: string } };
    return unmapped.source.name === 'ledger' && unmapped.data?.kind !== undefined ? [unmapped.data.kind] : [];
  });
}
