/** Who may use the API: decided by the uid that the kernel names for the other end of the socket, never by anything it says. */
import { NemoError } from '@nemoclaw/contract';

export interface Peer {
  readonly uid: number;
}

export interface PeerRules {
  /** uids of the services: refused whatever groups they are in. */
  readonly services: ReadonlySet<number>;
  /** First and last uid of sandboxes. */
  readonly agents: readonly [number, number];
}

/** Throws NEMO_E_PEER for services, sandboxes and callers whose uid is not known. The socket's mode has already kept out who is not an operator. */
export function checkPeer(peer: Peer | undefined, rules: PeerRules): Peer {
  if (!peer) throw new NemoError('NEMO_E_PEER', { what: 'The kernel does not say who is calling.', fix: 'Build the native part: run `./nemoclaw onboard`.' });
  const [first, last] = rules.agents;
  if (rules.services.has(peer.uid)) throw new NemoError('NEMO_E_PEER', { what: `uid ${peer.uid} is a service of NemoClaw, not a person.` });
  if (peer.uid >= first && peer.uid <= last) throw new NemoError('NEMO_E_PEER', { what: `uid ${peer.uid} is a sandbox.` });
  return peer;
}
