/** The hash chain: a record is sealed by the SHA-256 of its canonical form (RFC 8785) and names the fingerprint before it. */
import { hash } from 'node:crypto';
import type { LedgerEvent } from '@nemoclaw/contract';
import { canonical } from './canonical.ts';
import { toOcsf, type Place } from './ocsf.ts';

/** State of a chain after `count` records; `head` is the last fingerprint (64 zeros before the first), `typeUid` that record's type. */
export interface ChainState {
  readonly chain: string;
  readonly count: number;
  readonly head: string;
  readonly typeUid: number;
}

export interface Sealed {
  /** Canonical JSON without a newline. */
  readonly line: string;
  readonly sequence: number;
  readonly fingerprint: string;
  readonly typeUid: number;
}

export const noHead = '0'.repeat(64);

/** Seals a redacted event as the next record of `state`. Throws only if the event cannot be serialised, which a redacted one always can. */
export function seal(event: LedgerEvent, state: ChainState, source: Place['source'], logged: number): Sealed {
  const sequence = state.count + 1;
  const previous = state.count === 0 ? undefined : { sequence: state.count, typeUid: state.typeUid, fingerprint: state.head };
  const record = toOcsf(event, { chain: state.chain, sequence, logged, source, previous });
  const open = canonical(record);
  const fingerprint = sha256(open);
  return { line: withFingerprint(open, state.chain, fingerprint), sequence, fingerprint, typeUid: record['type_uid'] as number };
}

/** What `state` becomes after a sealed record. */
export function after(state: ChainState, sealed: Sealed): ChainState {
  return { chain: state.chain, count: sealed.sequence, head: sealed.fingerprint, typeUid: sealed.typeUid };
}

export function sha256(text: string | Uint8Array): string {
  return hash('sha256', text, 'hex');
}

/** Puts the fingerprint where canonical order wants it: first after `chain_uid` in `attestation`. */
function withFingerprint(open: string, chain: string, fingerprint: string): string {
  const mark = `"attestation":{"chain_uid":${JSON.stringify(chain)}`;
  const at = open.indexOf(mark) + mark.length;
  return `${open.slice(0, at)},${fragment(fingerprint)}${open.slice(at)}`;
}

function fragment(fingerprint: string): string {
  return `"fingerprint":{"algorithm":"SHA-256","algorithm_id":3,"value":"${fingerprint}"}`;
}

/** What one line of a segment claims, after its own consistency was checked. */
export interface Checked {
  readonly record: ParsedRecord;
  readonly sequence: number;
  readonly fingerprint: string;
  readonly chain: string;
  readonly previous: string;
  readonly typeUid: number;
}

/** The parts of a record that readers need. */
export interface ParsedRecord {
  readonly type_uid: number;
  readonly time: number;
  readonly metadata: { readonly sequence: number; readonly uid: string };
  readonly attestation: { readonly chain_uid: string; readonly fingerprint: { readonly value: string }; readonly prev_event?: { readonly fingerprint: { readonly value: string } } };
  readonly unmapped: { readonly sandbox: string; readonly source: Place['source']; readonly data?: Readonly<Record<string, unknown>> };
}

/** A line that is not what the writer wrote. `damaged`: no such record; `edited`: its content does not carry its fingerprint. */
export class BadLine extends Error {
  readonly kind: 'damaged' | 'edited';
  /** As the line itself claims; 0 where it cannot be read. */
  readonly sequence: number;
  constructor(kind: 'damaged' | 'edited', sequence: number, message: string) {
    super(message);
    this.name = 'BadLine';
    this.kind = kind;
    this.sequence = sequence;
  }
}

/**
 * Checks one line by itself: it must carry the SHA-256 of its own bytes without the fingerprint. Since the writer's bytes are
 * the canonical form, a space or a doubled key is an edit like any other. Throws BadLine.
 */
export function checkLine(line: string): Checked {
  const record = parseRecord(line);
  const sequence = record.metadata.sequence;
  const fingerprint = record.attestation.fingerprint.value;
  const cut = `,${fragment(fingerprint)}`;
  const open = line.replace(cut, () => '');
  if (sha256(open) !== fingerprint) throw new BadLine('edited', sequence, 'the content does not match its fingerprint');
  return {
    record,
    sequence,
    fingerprint,
    chain: record.attestation.chain_uid,
    previous: record.attestation.prev_event?.fingerprint.value ?? noHead,
    typeUid: record.type_uid,
  };
}

/** Parses one line and checks the shape readers rely on. Throws BadLine('damaged'). */
export function parseRecord(line: string): ParsedRecord {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new BadLine('damaged', 0, 'the line is not JSON');
  }
  const record = value as ParsedRecord | null;
  const sequence = record?.metadata?.sequence;
  const fits =
    typeof sequence === 'number' &&
    typeof record?.type_uid === 'number' &&
    typeof record.attestation?.chain_uid === 'string' &&
    typeof record.attestation.fingerprint?.value === 'string' &&
    typeof record.unmapped?.source?.name === 'string' &&
    (record.attestation.prev_event === undefined || typeof record.attestation.prev_event?.fingerprint?.value === 'string');
  if (!record || !fits) throw new BadLine('damaged', typeof sequence === 'number' ? sequence : 0, 'the line is not a record');
  return record;
}
