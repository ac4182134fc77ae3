/** The sandboxes as the gateway has them in memory, each with the revisions of what is stored of it. */
import { NemoError, nameProblem, type PolicyBundle, type RateLeft, type SandboxConfig, type SandboxView, type Store } from '@nemoclaw/contract';
import { ingressOf, upstreamsOf } from '@nemoclaw/network-policy';
import type { KeyedLock } from '../keyed-lock.ts';
import type { InForce } from '../policy/engine.ts';
import { keyIn, type Vault } from '../credentials/vault.ts';
import { providerPlans, providerView } from './providers.ts';
import { keys, type CaRecord, type PolicyRecord, type ProviderRecord, type SandboxRecord } from './record.ts';

/** A stored value and the revision it has; changed only by `save`. */
export interface Stored<T> {
  value: T;
  revision: number;
}

export interface LiveSandbox {
  readonly record: Stored<SandboxRecord>;
  readonly policy: Stored<PolicyRecord>;
  readonly ca: Stored<CaRecord>;
  bundle: PolicyBundle;
  inForce: InForce;
  /** Orders the writes of the record, which come from several sides. */
  readonly writes: KeyedLock;
  /** uids of those who ran a command or task in it since it was made or started. */
  readonly drivers: Set<number>;
  /** It is being taken down on purpose: its end is no news. */
  leaving?: boolean;
  /** The trust anchors as last looked at; undefined: not looked yet, '': its worker may not have them. */
  anchors?: string;
  /** What its worker last said of its rates; undefined: nobody has since this gateway began. */
  rates?: readonly RateLeft[];
  /** Last counts its worker reported. */
  usage: { requests: number; bytesOut: number; tokens: number };
}

/** ms between signs of life on a held model stream. */
const keepAliveMs = 10_000;
/** Owners of sandboxes that are gone, so that a late word about one is not taken for a breach. */
const rememberedOwners = 1000;

export class LiveSandboxes {
  readonly #byId = new Map<string, LiveSandbox>();
  readonly #formerOwners = new Map<string, string>();

  add(live: LiveSandbox): void {
    this.#byId.set(live.record.value.id, live);
  }

  remove(live: LiveSandbox): void {
    const { id, worker } = live.record.value;
    this.#byId.delete(id);
    this.#formerOwners.set(id, worker);
    for (const old of this.#formerOwners.keys()) if (this.#formerOwners.size > rememberedOwners) this.#formerOwners.delete(old);
  }

  get(id: string): LiveSandbox | undefined {
    return this.#byId.get(id);
  }

  byName(name: string): LiveSandbox | undefined {
    for (const live of this.#byId.values()) if (live.record.value.name === name) return live;
    return undefined;
  }

  /** Throws NEMO_E_NOT_FOUND. */
  must(name: string): LiveSandbox {
    const live = this.byName(name);
    if (live) return live;
    const shown = nameProblem(name) === undefined ? name : 'that name';
    throw new NemoError('NEMO_E_NOT_FOUND', { what: `There is no sandbox ${shown}.` });
  }

  all(): LiveSandbox[] {
    return [...this.#byId.values()].sort((a, b) => a.record.value.createdAt - b.record.value.createdAt);
  }

  /** The worker that owns a sandbox, or owned it until it was removed; '' if never. */
  ownerOf(id: string): string {
    return this.#byId.get(id)?.record.value.worker ?? this.#formerOwners.get(id) ?? '';
  }
}

/** Stores a change of the record; memory follows only when the store has it. */
export async function saveRecord(store: Store, live: LiveSandbox, change: Partial<SandboxRecord>): Promise<void> {
  await live.writes.run('record', async () => {
    const value = { ...live.record.value, ...change };
    live.record.revision = await store.put(keys.record(value.id), value, live.record.revision);
    live.record.value = value;
  });
}

/** Everything its worker needs to own the sandbox. `keyOf` and `readAnchor` are asked each time, so that a new key or anchor comes with the next version. */
export function sandboxConfig(
  live: Pick<LiveSandbox, 'record' | 'ca' | 'bundle' | 'inForce' | 'rates'>,
  keyOf: (sandbox: string, provider: ProviderRecord) => string | undefined,
  readAnchor: (file: string) => string | undefined,
  vault: Pick<Vault, 'plans' | 'get'>,
): SandboxConfig {
  const record = live.record.value;
  const { blueprint, network, role } = live.bundle;
  return {
    sandbox: record.id,
    name: record.name,
    role,
    task: record.task,
    version: live.inForce.version,
    policy: live.inForce.bytes,
    ca: live.ca.value.intermediate,
    providers: providerPlans(record.providers, (provider) => keyOf(record.id, provider)),
    placeholderKey: record.placeholderKey,
    credentials: vault.plans(record.id),
    upstreams: upstreamsOf(network, readAnchor),
    ingress: ingressOf(network, { file: readAnchor, key: (name) => keyIn(vault.get(record.id, name)) }).entries,
    label: record.label,
    ...(live.rates === undefined ? {} : { rates: live.rates }),
    ...(live.bundle.sandboxPolicy.spec.enforcement === 'best-effort' ? { bestEffort: true as const } : {}),
    patience: { streamMs: blueprint.patience.stream, httpMs: blueprint.patience.http, keepAliveMs },
  };
}

export function sandboxView(live: LiveSandbox, waiting: number): SandboxView {
  const record = live.record.value;
  const provider = record.providers[0];
  if (!provider) throw new NemoError('NEMO_E_INTERNAL', { what: `The sandbox ${record.name} has no provider.` });
  const { name, version, digest } = record.blueprint;
  return {
    name: record.name,
    id: record.id,
    state: record.state,
    problem: record.problem,
    blueprint: { name, version, digest },
    role: live.bundle.role,
    agent: live.bundle.blueprint.agent.kind,
    provider: providerView(provider),
    workspace: record.registration === '' ? null : { registration: record.registration, path: record.workspacePath },
    policyVersion: live.policy.value.version,
    label: record.label,
    createdAt: record.createdAt,
    createdBy: record.createdBy,
    waiting,
    probe: record.probe,
    phases: record.phases,
    unenforced: record.unenforced,
    ...(record.left === undefined ? {} : { left: record.left }),
  };
}
