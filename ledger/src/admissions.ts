/** The ledger's own events: each says, in the record, what the record may be missing or what happened to it. */
import type { LedgerEvent } from '@nemoclaw/contract';

type Data = Readonly<Record<string, unknown>>;

function own(time: number, severity: LedgerEvent['severity'], activity: number, message: string, data: Data): LedgerEvent {
  return { time, class: severity >= 3 ? 'detectionFinding' : 'applicationLifecycle', activity, severity, sandbox: '', layer: 'ledger', message, data };
}

/** First record of each segment: carries the sources' numbering over, so that one segment is enough to go on from. */
export function segmentOpened(time: number, previous: string, sources: readonly Data[]): LedgerEvent {
  return own(time, 1, 3, previous === '' ? 'The record begins.' : `The record goes on from ${previous}.`, { kind: 'segment.opened', previous, sources });
}

/** The writer opened an existing record again. */
export function reopened(time: number, count: number): LedgerEvent {
  return own(time, 1, 3, `The ledger opened the record at ${count} records.`, { kind: 'ledger.opened', count });
}

/** The writer ends on purpose. */
export function stopped(time: number): LedgerEvent {
  return own(time, 1, 4, 'The ledger stops.', { kind: 'ledger.stopped' });
}

/** The last write was cut short; what was found is quoted, up to a limit. */
export function tornTail(time: number, bytes: number, sha256: string, quote: string): LedgerEvent {
  return own(time, 4, 1, `The last write was cut short: ${bytes} bytes at the end of the record were not a whole record.`, { kind: 'ledger.torn', bytes, sha256, quote });
}

/** Numbers of a source are missing: these events never arrived. */
export function gap(time: number, source: string, from: number, to: number): LedgerEvent {
  return own(time, 4, 1, `${to - from + 1} events of ${source} are missing.`, { kind: 'source.gap', source, from, to });
}

/** A source began to count anew: what its former life had not been acknowledged may be lost. */
export function restarted(time: number, source: string, last: number): LedgerEvent {
  return own(time, 3, 1, `${source} started again; what it had not handed over is lost.`, { kind: 'source.restarted', source, last });
}

/** openshelld would not sign, or could not be asked. */
export function unsigned(time: number, count: number, why: string): LedgerEvent {
  return own(time, 5, 1, `The checkpoint at ${count} records was not signed: ${why}`, { kind: 'checkpoint.refused', count, why });
}

/** Signing works again. */
export function signedAgain(time: number, count: number): LedgerEvent {
  return own(time, 3, 2, `Checkpoints are signed again at ${count} records.`, { kind: 'checkpoint.resumed', count });
}

/** A link was closed because what came over it could not be read. */
export function badLink(time: number, source: string, why: string): LedgerEvent {
  return own(time, 4, 1, `The link of ${source} was closed: ${why}`, { kind: 'link.bad', source, why });
}
