/** An egress on the two sockets of a namespace, by a policy file. */
import { writeFileSync } from 'node:fs';
import { emptyHistory, NemoError, renderError, safeBlock } from '@nemoclaw/contract';
import type { Approver } from '@nemoclaw/contract';
import { createEgress } from '../egress.ts';
import type { EgressConfig } from '../core.ts';
import type { Egress } from '../egress-options.ts';
import { denials } from './denials.ts';
import type { Denials } from './denials.ts';
import type { Captured } from './captured-command.ts';
import { follow } from './follow.ts';
import type { HeldCredentials } from './held-credentials.ts';
import { readSeeing } from './policy.ts';
import type { AlonePolicy } from './policy.ts';
import type { SeenPrograms } from './seen-programs.ts';
import { sandboxName, systemClock, systemIds } from './system.ts';
import { openWayIn } from './way-in.ts';
import type { Words } from './words.ts';

export interface Served {
  readonly egress: Egress;
  close(): Promise<void>;
}

/** Where the events go, by the command line; nothing that is held shows in them. Throws NEMO_E_USAGE where the file cannot be written. */
export const sinkOf = (words: Words, held: HeldCredentials): Denials => writing(words.record, () => denials({ write: (text) => void process.stderr.write(text), json: words.json, file: words.record, clock: systemClock, secrets: () => held.secrets }));

/** Serves until closed, both ways; by what the policy's file says then, if it may be `followed`. Rejects if a socket cannot be served, NEMO_E_USAGE where calls cannot be taken. */
export async function serveCaptured(first: AlonePolicy, words: Words, held: HeldCredentials, sockets: Pick<Captured, 'tcp' | 'dns'>, approver: Approver, audit: Denials, followed: boolean, programs: SeenPrograms): Promise<Served> {
  let alone = first;
  const wayIn = await openWayIn(words, alone, held, sockets.tcp, audit);
  tell(wayIn.notes, words);
  const config = (): EgressConfig => ({ ...alone.config, credentials: held.plans });
  const egress = createEgress({
    sandbox: sandboxName, tcp: { fd: sockets.tcp }, dns: { fd: sockets.dns }, policy: () => alone.policy,
    decider: { get version() { return alone.policy.version; }, decide: (request) => alone.decider.decide(request) },
    config: config(), approver, audit, clock: systemClock, ids: systemIds, local: new Map(), programOf: programs.of,
    history: () => (alone.restricted ? { ...emptyHistory, readRestricted: true } : emptyHistory),
    renew: async (placeholder) => {
      const newer = await held.renew(placeholder, audit);
      if (newer) egress.update(config());
      return newer;
    },
  });
  const use = (next: AlonePolicy): void => {
    alone = next;
    egress.update(config());
    const version = next.policy.version;
    tell([...next.notes, ...wayIn.update(next)], words);
    process.stderr.write(words.json ? `${JSON.stringify({ policy: { version } })}\n` : `network-policy: the policy was read anew, and is version ${version}\n`);
  };
  const refused = (error: unknown): void => {
    const known = error instanceof NemoError ? error : new NemoError('NEMO_E_INTERNAL', { what: error instanceof Error ? error.message : String(error), cause: error });
    const version = alone.policy.version;
    process.stderr.write(words.json ? `${JSON.stringify({ error: known, policy: { version } })}\n` : `${renderError(known)}\nnetwork-policy: the policy that was read before, version ${version}, stays in force\n`);
  };
  const read = async (): Promise<AlonePolicy> => {
    if (!followed) throw new NemoError('NEMO_E_USAGE', { what: `${words.policy} changed, and is not read anew.`, why: 'The command could have changed it.', fix: 'Run the command as somebody who cannot (--user), allow it with --follow, or start it again.' });
    return readSeeing(words, programs.see, alone);
  };
  const unfollow = follow(words.policy, first.mark, { read, use, refused });
  const close = async (): Promise<void> => {
    unfollow();
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
  if (caOut !== undefined) writing(caOut, () => writeFileSync(caOut, alone.root.certPem));
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
