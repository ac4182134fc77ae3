/** An egress on the two sockets of a namespace, by a policy file. */
import { writeFileSync } from 'node:fs';
import { NemoError, safeBlock } from '@nemoclaw/contract';
import type { Approver } from '@nemoclaw/contract';
import { createEgress } from '../egress.ts';
import type { Egress } from '../egress.ts';
import { denials } from './denials.ts';
import type { Denials } from './denials.ts';
import type { Captured } from './captured-command.ts';
import type { AlonePolicy } from './policy.ts';
import { systemClock, systemIds } from './system.ts';
import type { Words } from './words.ts';

export interface Served {
  readonly egress: Egress;
  close(): Promise<void>;
}

/** Where the events go, by the command line. Throws NEMO_E_USAGE where the file cannot be written. */
export const sinkOf = (words: Words): Denials => writing(words.record, () => denials({ write: (text) => void process.stderr.write(text), json: words.json, file: words.record, clock: systemClock }));

/** Serves until closed. Rejects if a socket cannot be served. */
export async function serveCaptured(alone: AlonePolicy, sockets: Pick<Captured, 'tcp' | 'dns'>, approver: Approver, audit: Denials): Promise<Served> {
  const { policy, decider, config } = alone;
  const egress = createEgress({
    sandbox: 'network-policy', tcp: { fd: sockets.tcp }, dns: { fd: sockets.dns }, policy: () => policy, decider,
    config, approver, audit, clock: systemClock, ids: systemIds, local: new Map(),
  });
  await egress.ready;
  return { egress, close: async () => { await egress.close(); audit.close(); } };
}

/** What a person is told before it starts, and the certificate where they asked for it. Throws NEMO_E_USAGE. */
export function announce(alone: AlonePolicy, words: Words): void {
  const { caOut } = words;
  if (caOut !== undefined) writing(caOut, () => writeFileSync(caOut, alone.rootPem));
  for (const note of alone.notes) process.stderr.write(words.json ? `${JSON.stringify({ note })}\n` : `note: ${safeBlock(note)}\n`);
}

/** Does it; what it throws is told as a file that cannot be written. */
function writing<T>(file: string | undefined, does: () => T): T {
  try {
    return does();
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${file ?? 'A file'} cannot be written.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
}
