/** Calls from outside, into the one network that is served: admitted by a rule of the policy that proves the caller. */
import { readFileSync } from 'node:fs';
import { NemoError } from '@nemoclaw/contract';
import type { AuditSink, IngressListen } from '@nemoclaw/contract';
import { IngressDoor } from '../ingress/door.ts';
import { ingressOf } from '../ingress/entries.ts';
import { KnownSecrets } from '../credentials/known-secrets.ts';
import { dial } from './captured-command.ts';
import type { HeldCredentials } from './held-credentials.ts';
import type { AlonePolicy } from './policy.ts';
import { sandboxName, systemClock } from './system.ts';
import type { Words } from './words.ts';

export interface WayIn {
  /** What a person should know of it. */
  readonly notes: readonly string[];
  /** By the rules of a policy that took the place of the one before; what a person should know of it. */
  update(alone: AlonePolicy): readonly string[];
  close(): Promise<void>;
}

/** Listens where `--listen` says; without it nobody is admitted. `tcp`: the captured listener. Throws NEMO_E_USAGE where it cannot listen there. */
export async function openWayIn(words: Words, alone: AlonePolicy, held: HeldCredentials, tcp: number, audit: AuditSink): Promise<WayIn> {
  const rulesOf = ({ network, beside }: AlonePolicy): ReturnType<typeof ingressOf> => ingressOf(network, { file: beside, key: (name) => held.key(name) });
  if (words.listen === undefined) {
    const update = (next: AlonePolicy): readonly string[] => {
      const { entries, problems } = rulesOf(next);
      return [...problems, ...entries.map(({ id }) => `${id}: without --listen no calls are taken, so that nobody is admitted.`)];
    };
    return { notes: update(alone), update, close: async () => undefined };
  }
  const door = new IngressDoor({ clock: systemClock, audit, recording: () => true });
  const update = (next: AlonePolicy): readonly string[] => {
    const { entries, problems } = rulesOf(next);
    door.set(sandboxName, {
      // Nothing else is behind this address, so that paths are the policy's own.
      id: sandboxName, name: '', rules: entries, connect: (port) => dial(tcp, port),
      withhold: (body) => (next.restricted ? 'the command may know what is restricted' : new KnownSecrets(held.secrets).inBytes(body) ? 'a secret is in it' : undefined),
    });
    return problems;
  };
  const problems = update(alone);
  const { host } = words.listen;
  try {
    const port = await door.listen({ ...words.listen, tls: certificate(words) });
    return { notes: [...problems, `Calls are taken at ${words.tlsCert === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}/.`], update, close: () => door.close() };
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `Calls cannot be taken at ${host} port ${words.listen.port}.`, why: cause instanceof Error ? cause.message : String(cause), fix: 'Name an address of this machine and a free port; beyond loopback with --tls-cert and --tls-key, in PEM.', cause });
  }
}

function certificate({ tlsCert, tlsKey }: Words): IngressListen['tls'] {
  return tlsCert === undefined || tlsKey === undefined ? null : { certPem: readFileSync(tlsCert, 'utf8'), keyPem: readFileSync(tlsKey, 'utf8') };
}
