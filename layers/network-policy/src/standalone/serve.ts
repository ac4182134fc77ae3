/** An egress on the two sockets of a namespace, by a policy file. */
import { writeFileSync } from 'node:fs';
import { emptyHistory, NemoError, safeBlock } from '@nemoclaw/contract';
import type { Approver } from '@nemoclaw/contract';
import { createEgress } from '../egress.ts';
import type { EgressConfig } from '../core.ts';
import type { Egress } from '../egress.ts';
import { denials } from './denials.ts';
import type { Denials } from './denials.ts';
import type { Captured } from './captured-command.ts';
import type { HeldCredentials } from './held-credentials.ts';
import type { AlonePolicy } from './policy.ts';
import { sandboxName, systemClock, systemIds } from './system.ts';
import { openWayIn } from './way-in.ts';
import type { Words } from './words.ts';

export interface Served {
  readonly egress: Egress;
  close(): Promise<void>;
}

/** Where the events go, by the command line; nothing that is held shows in them. Throws NEMO_E_USAGE where the file cannot be written. */
export const sinkOf = (words: Words, held: HeldCredentials): Denials => writing(words.record, () => denials({ write: (text) => void process.stderr.write(text), json: words.json, file: words.record, clock: systemClock, secrets: () => held.secrets }));

/** Serves until closed, both ways. Rejects if a socket cannot be served, NEMO_E_USAGE where calls cannot be taken. */
export async function serveCaptured(alone: AlonePolicy, words: Words, held: HeldCredentials, sockets: Pick<Captured, 'tcp' | 'dns'>, approver: Approver, audit: Denials): Promise<Served> {
  const wayIn = await openWayIn(words, alone, held, sockets.tcp, audit);
  tell(wayIn.notes, words);
  const { policy, decider } = alone;
  const config = (): EgressConfig => ({ ...alone.config, credentials: held.plans });
  const egress = createEgress({
    sandbox: sandboxName, tcp: { fd: sockets.tcp }, dns: { fd: sockets.dns }, policy: () => policy, decider,
    config: config(), approver, audit, clock: systemClock, ids: systemIds, local: new Map(),
    history: () => (alone.restricted ? { ...emptyHistory, readRestricted: true } : emptyHistory),
    renew: async (placeholder) => {
      const newer = await held.renew(placeholder, audit);
      if (newer) egress.update(config());
      return newer;
    },
  });
  const close = async (): Promise<void> => {
    await Promise.all([wayIn.close(), egress.close()]);
    audit.close();
  };
  await egress.ready.catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return { egress, close };
}

/** What a person is told before it starts, and the certificate where they asked for it. Throws NEMO_E_USAGE. */
export function announce(alone: AlonePolicy, words: Words): void {
  const { caOut } = words;
  if (caOut !== undefined) writing(caOut, () => writeFileSync(caOut, alone.rootPem));
  tell(alone.notes, words);
}

function tell(notes: readonly string[], words: Words): void {
  for (const note of notes) process.stderr.write(words.json ? `${JSON.stringify({ note })}\n` : `note: ${safeBlock(note)}\n`);
}

/** Does it; what it throws is told as a file that cannot be written. */
function writing<T>(file: string | undefined, does: () => T): T {
  try {
    return does();
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${file ?? 'A file'} cannot be written.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
}
