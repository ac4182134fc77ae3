/** A network policy file as what the egress decides by, without a gateway: compiled, with a certificate authority made for this run. */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { checkHost, loadNetworkPolicy, loadSandboxPolicy, NemoError, unenforced } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import type { Decider, NetworkPolicyFile } from '@nemoclaw/contract';
import type { CompiledPolicy } from '@nemoclaw/decide';
import { createIntermediate, createRootCa } from '../tls/certificate.ts';
import type { Issuer } from '../tls/certificate.ts';
import type { EgressConfig } from '../core.ts';
import { markOf } from './follow.ts';
import { systemClock } from './system.ts';
import type { Words } from './words.ts';
import { upstreamsOf } from '../upstream/reach.ts';

export interface AlonePolicy {
  readonly policy: CompiledPolicy;
  readonly decider: Decider;
  readonly config: EgressConfig;
  /** The root to trust. */
  readonly root: Issuer;
  /** Of the file, before it was read. */
  readonly mark: string;
  /** A host is labelled restricted, or was: whoever could read from it may have anything of it. */
  readonly restricted: boolean;
  /** Who may call in, and the text of a file beside the policy: undefined where it cannot be read. */
  readonly network: NetworkPolicyFile;
  readonly beside: (name: string) => string | undefined;
  /** What a person should know of the policy. */
  readonly notes: readonly string[];
}

const patience = 300_000;

/** Throws NemoError: the file's own problems with their place, NEMO_E_POLICY_NEEDS for what is not enforced here unless `bestEffort`. `now` in ms since epoch. `former`: what it takes the place of, under the same root. `programs`: whether it is seen which program opens a connection. */
export function readAlone(file: string, bestEffort: boolean, now: number, former?: AlonePolicy, programs = false): AlonePolicy {
  const mark = markOf(file);
  const network = loadNetworkPolicy(read(file, 'The policy'), file);
  const around = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: network-policy }\nspec: { isolation: { network: restricted }, enforcement: ${bestEffort ? 'best-effort' : 'strict'} }\n`, 'built in');
  const facts = { tier: 'B', programs } as const;
  try {
    checkHost(around, facts, { network });
  } catch (error) {
    if (!(error instanceof NemoError)) throw error;
    // The file that would say so is built in here.
    const { code, message, where, why } = error;
    throw new NemoError(code, { what: message, ...(where === undefined ? {} : { where }), ...(why === undefined ? {} : { why }), fix: 'Remove it, or start with --best-effort: then it is said what is not enforced.', cause: error });
  }
  const policy = compilePolicy({ sandboxPolicy: around, network, role: '', rulesAllowActions: true }, (former?.policy.version ?? 0) + 1);
  const root = former?.root ?? createRootCa('network-policy', now);
  const upstreams = upstreamsOf(network, (name) => read(isAbsolute(name) ? name : join(dirname(file), name), 'The trust anchor'));
  return {
    policy, decider: { version: policy.version, decide: (request) => decide(policy, request) }, root, mark, network, restricted: former?.restricted === true || network.networkPolicy.labels.some(({ level }) => level === 'restricted'), beside: (name) => besideOr(file, name),
    notes: unenforced(around, facts, { network }).filter((note) => !unenforced(around, facts).includes(note)),
    config: { role: '', task: '', version: policy.version, ca: createIntermediate(root, policy.network.interceptNames, now), credentials: [], upstreams, ...(bestEffort && { bestEffort }), patience: { httpMs: patience } },
  };
}

/** The same, with programs seen where the policy speaks of them and `see` can. */
export async function readSeeing({ policy, bestEffort }: Words, see: () => Promise<boolean>, former?: AlonePolicy): Promise<AlonePolicy> {
  const { allow, escalate, deny } = loadNetworkPolicy(read(policy, 'The policy'), policy).networkPolicy.egress;
  const speaks = [...allow, ...escalate, ...deny].some((rule) => rule.binaries !== undefined);
  return readAlone(policy, bestEffort, systemClock.now(), former, speaks && (await see()));
}

function besideOr(file: string, name: string): string | undefined {
  try {
    return readFileSync(join(dirname(file), name), 'utf8');
  } catch {
    return undefined;
  }
}

function read(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${what} ${file} cannot be read.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
}
