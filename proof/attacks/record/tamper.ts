/** Changes a record the way whoever has its writer's uid could; run under the uid that the proof chooses. Usage: tamper.ts HOW FOLDER [COUNT] */
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LedgerEvent } from '@nemoclaw/contract';
import { after, noHead, seal, type ChainState } from '../../../ledger/src/chain.ts';

interface Parsed {
  readonly type_uid: number;
  readonly message: string;
  readonly metadata: { readonly sequence: number; readonly logged_time: number };
  readonly attestation: { readonly chain_uid: string; readonly fingerprint: { readonly value: string } };
}

const [how, dir, count] = process.argv.slice(2);
if (how === undefined || dir === undefined) throw new Error('usage: tamper.ts HOW FOLDER [COUNT]');
const file = readdirSync(dir).filter((name) => name.startsWith('events-')).sort().at(-1) ?? '';
const path = join(dir, file);
const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
const middle = Math.floor(lines.length / 2);
const parsed = (index: number): Parsed => JSON.parse(lines[index] ?? '') as Parsed;
const event = (message: string): LedgerEvent => ({ time: 1_700_000_000_000, class: 'applicationLifecycle', activity: 3, severity: 1, sandbox: '', layer: 'gateway', message });

/** Every record from the first on, as the writer would have made it, with other words. */
function rewritten(records: number): string[] {
  let state: ChainState = { chain: parsed(0).attestation.chain_uid, count: 0, head: noHead, typeUid: 0 };
  return Array.from({ length: records }, (_, index) => {
    const sealed = seal(event(`nothing happened ${index}`), state, { name: 'gateway', run: 'r', seq: index + 1 }, 1_700_000_000_000);
    state = after(state, sealed);
    return sealed.line;
  });
}

function changed(): string[] {
  const line = lines[middle] ?? '';
  const before = parsed(middle - 1);
  switch (how) {
    case 'edit':
      return lines.with(middle, line.replace('"message":"', '"message":"not '));
    case 'edit and seal again': {
      const state = { chain: before.attestation.chain_uid, count: before.metadata.sequence, head: before.attestation.fingerprint.value, typeUid: before.type_uid };
      return lines.with(middle, seal(event('nothing happened'), state, { name: 'gateway', run: '', seq: 0 }, parsed(middle).metadata.logged_time).line);
    }
    case 'remove':
      return lines.toSpliced(middle, 1);
    case 'reorder':
      return lines.with(middle, lines[middle + 1] ?? '').with(middle + 1, line);
    case 'double':
      return lines.toSpliced(middle, 0, line);
    case 'cut the tail':
      return lines.slice(0, Number(count));
    case 'rewrite everything':
      return rewritten(Number(count));
    default:
      throw new Error(`unknown: ${how}`);
  }
}

// A new file in place of the old, so that a writer that still has the old one open does not show through.
const text = `${changed().join('\n')}\n`;
writeFileSync(`${path}.new`, text, { mode: 0o640 });
renameSync(`${path}.new`, path);
