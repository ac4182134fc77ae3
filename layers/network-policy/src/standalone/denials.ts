/** Where events go when nobody keeps a ledger: denials to standard error as they happen, all of them to a file if one was named. */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { safeLine } from '@nemoclaw/contract';
import type { AuditSink, Clock, LedgerEvent } from '@nemoclaw/contract';
import { maskKnown } from '@nemoclaw/detect';
import { TokenBucket } from '../fairness/token-bucket.ts';

export interface Denials extends AuditSink {
  close(): void;
}

/** `file`: gets one JSON object for each event; what a person approved is on disk before it happens. `secrets`: masked in whatever is told. Throws if it cannot be opened. */
export function denials(options: { readonly write: (text: string) => void; readonly json: boolean; readonly file: string | undefined; readonly clock: Clock; readonly secrets: () => readonly string[] }): Denials {
  const fd = options.file === undefined ? undefined : openSync(options.file, 'a', 0o600);
  // A program that tries again and again fills no screen; the file has them all.
  const lines = new TokenBucket(options.clock, 20, 100);
  let unsaid = 0;
  const emit = (whole: LedgerEvent): void => {
    const known = options.secrets();
    const event = known.length === 0 ? whole : (JSON.parse(maskKnown(JSON.stringify(whole), known)) as LedgerEvent);
    if (fd !== undefined) writeSync(fd, `${JSON.stringify(event)}\n`);
    if (event.verdict !== 'deny' && event.verdict !== 'escalate') return;
    if (!lines.take()) {
      unsaid += 1;
      return;
    }
    if (options.json) options.write(`${JSON.stringify({ ...event, unsaid })}\n`);
    else options.write(`${unsaid > 0 ? `network-policy: ${unsaid} more were not shown\n` : ''}${asLine(event)}\n`);
    unsaid = 0;
  };
  return {
    emit,
    async commit(event) {
      emit(event);
      if (fd !== undefined) fsyncSync(fd);
    },
    close: () => {
      if (fd !== undefined) closeSync(fd);
    },
  };
}

function asLine(event: LedgerEvent): string {
  const rule = event.decision?.rules[0];
  const place = rule === undefined ? '' : ` [${safeLine(rule.id)}${rule.file === undefined ? '' : `, ${safeLine(rule.file)}:${rule.line ?? 1}`}]`;
  const reason = event.decision?.reason;
  return `network-policy: ${event.verdict === 'deny' ? 'denied' : 'waiting'}: ${safeLine(event.message, 400)}${place}${reason ? ` ${safeLine(reason, 300)}` : ''}`;
}
