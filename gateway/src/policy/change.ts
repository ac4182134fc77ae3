/** A new policy for a sandbox: checked whole, stored, recorded, and in force when its worker says so. Any failure leaves the former one in force. */
import { isDeepStrictEqual } from 'node:util';
import {
  checkHost,
  loadApprovalPolicy,
  loadCatalogue,
  loadNetworkPolicy,
  loadSandboxPolicy,
  NemoError,
  StoreConflict,
  unenforced,
  type BundleOptions,
  type PolicyApplied,
  type PolicyBundle,
  type PutPolicy,
  type SandboxConfig,
} from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { Phases } from '../phases.ts';
import { configOf } from '../sandboxes/bring-up.ts';
import { raiseLabel, readable } from '../sandboxes/raise-label.ts';
import { policyFacts } from '../sandboxes/create.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { keys, type CaRecord, type PolicyRecord, type SandboxRecord } from '../sandboxes/record.ts';

/** Files that may change while the sandbox lives: what it may do. Who it is (blueprint) and whom it asks (inference) are set elsewhere. */
export function changeable(bundle: PolicyBundle): ReadonlySet<string> {
  const { sandbox, network, actions, approvals } = bundle.blueprint.files;
  return new Set([sandbox, network, actions, approvals].filter((name): name is string => name !== undefined));
}

/** The part of a SandboxPolicy that the kernel was given at launch, as text. */
function kernelPart(bundle: PolicyBundle): string {
  const { isolation, resources, filesystem, process, syscalls } = bundle.sandboxPolicy.spec;
  return JSON.stringify({ isolation, resources, filesystem, process, syscalls });
}

/** The bundle with some files replaced; only these are read again, since most of the time of a change is parsing. */
export function reload(former: PolicyBundle, changed: ReadonlyMap<string, string>, options: BundleOptions): PolicyBundle {
  const { sandbox, network, actions, approvals } = former.blueprint.files;
  const text = (name: string | undefined): string | undefined => (name === undefined ? undefined : changed.get(name));
  const [s, n, a, p] = [text(sandbox), text(network), text(actions), text(approvals)];
  return {
    ...former,
    ...(s === undefined ? {} : { sandboxPolicy: loadSandboxPolicy(s, sandbox, options) }),
    ...(n === undefined || network === undefined ? {} : { network: loadNetworkPolicy(n, network) }),
    ...(a === undefined || actions === undefined ? {} : { catalogue: loadCatalogue(a, actions) }),
    ...(p === undefined || approvals === undefined ? {} : { approvals: loadApprovalPolicy(p, approvals, options) }),
    files: new Map([...former.files, ...changed]),
  };
}

/** Checks the files against what is there. Throws NemoError with the place; changes nothing. */
function checkFiles(house: House, live: LiveSandbox, given: PutPolicy): { bundle: PolicyBundle; changed: string[] } {
  const names = changeable(live.bundle);
  for (const name of Object.keys(given.files)) {
    if (!names.has(name)) throw new NemoError('NEMO_E_BODY', { what: `${name} is not a policy file of this sandbox.`, fix: `Its policy files are ${[...names].join(', ')}.` });
  }
  const before = live.policy.value;
  if (given.expectedVersion !== undefined && given.expectedVersion !== before.version) {
    throw new NemoError('NEMO_E_CONFLICT', { what: `Version ${before.version} is in force, not ${given.expectedVersion}.` });
  }
  const changed = Object.keys(given.files).filter((name) => given.files[name] !== before.files[name]);
  const bundle = reload(live.bundle, new Map(changed.map((name) => [name, given.files[name] ?? ''])), { channels: house.settings.channels, sinks: house.settings.sinks });
  if (live.record.value.state === 'running' && kernelPart(bundle) !== kernelPart(live.bundle)) {
    throw new NemoError('NEMO_E_STATE', {
      what: 'What the kernel enforces (isolation, resources, filesystem, process, syscalls) cannot change while the sandbox runs.',
      fix: `Run \`nemoclaw ${live.record.value.name} stop\`, set the policy, then \`nemoclaw ${live.record.value.name} start\`.`,
    });
  }
  return { bundle, changed };
}

/** Resolves when the new version is in force. `uid`: who changes it. */
export async function setPolicy(house: House, name: string, given: PutPolicy, uid: number): Promise<PolicyApplied> {
  const started = house.clock.monotonic();
  const live = house.sandboxes.must(name);
  const { id } = live.record.value;
  return house.lock.run(`policy/${id}`, async () => {
    const phases = new Phases(house.clock);
    // Where what is known of the host is too old, openshelld answers while the files are read.
    const host = house.hostFacts();
    host.catch(() => undefined); // whoever waits for it hears of it
    const { bundle, changed } = await phases.time('check', () => checkFiles(house, live, given));
    const facts = policyFacts(await phases.time('host', () => host));
    checkHost(bundle.sandboxPolicy, facts, bundle);
    const gaps = unenforced(bundle.sandboxPolicy, facts, bundle);

    const version = live.record.value.lastVersion + 1;
    const inForce = await phases.time('compile', () => house.compile(bundle, version));
    const names = [...inForce.interceptNames];
    const former: Former = { bundle: live.bundle, inForce: live.inForce, policy: live.policy.value, ca: live.ca.value, unenforced: live.record.value.unenforced };
    const running = (): boolean => live.record.value.state === 'running';
    // It goes on record while the rest is made. Both are durable before the effect; they sync different files, so neither waits for the other.
    const recorded = house.audit
      .commit(
        gatewayEvent(house.clock.now(), id, `The policy of ${name} changes to version ${version}.`, {
          class: 'configState',
          activity: 1,
          severity: 2,
          data: { uid, from: former.policy.version, to: version, changed, names },
        }),
      )
      .catch((cause: unknown) => {
        throw new NemoError('NEMO_E_RECORD', { what: 'The policy was not changed, because the change could not be put on record.', cause });
      });
    recorded.catch(() => undefined);
    let prepared: Prepared | undefined;
    try {
      const ca: CaRecord =
        JSON.stringify(names) === JSON.stringify(former.ca.names)
          ? former.ca
          : await phases.time('certificate', () => ({ root: former.ca.root, intermediate: house.certificates.intermediate(former.ca.root, names, house.clock.now()), names }));
      const label = readable(undefined, bundle.network);
      if (label.level !== 'public') await raiseLabel(house, id, label.level, `it can read what is labelled (${label.rules.join(', ')})`);
      // The worker reads it meanwhile; it is in force when the worker is told to switch, which is not before both are durable.
      if (running()) prepared = await phases.time('send', () => prepare(house, { ...live, bundle, inForce, ca: { ...live.ca, value: ca } }));
      const policy: PolicyRecord = { version, files: Object.fromEntries(bundle.files), changedAt: house.clock.now(), changedBy: uid };
      await phases.time('store', () => write(house, live, policy, ca, { lastVersion: version, unenforced: gaps }));
    } catch (error) {
      // On record it may stand as a change: its number is kept with the next thing that is stored.
      live.record.value = { ...live.record.value, lastVersion: version };
      tellKept(house, live, version);
      throw error;
    }
    const waiting = house.desk.list('waiting').filter((approval) => approval.sandbox === name);
    try {
      await phases.time('record', () => recorded);
      live.bundle = bundle;
      live.inForce = inForce;
      if (running()) await phases.time('configure', () => switchTo(house, live, prepared));
    } catch (error) {
      await revert(house, live, former, version);
      throw error;
    }
    const appliedMs = Math.round((house.clock.monotonic() - started) * 1000) / 1000;
    await house.desk.redecide(id);
    // Some were decided by their holders, which met the new version first.
    const redecided = waiting.filter((approval) => house.desk.get(approval.id)?.by === 'policy').length;
    return { version, appliedMs, changed, redecided, phases: phases.all() };
  });
}

interface Prepared {
  readonly config: SandboxConfig;
  /** As read for it. */
  readonly anchors: Map<string, string | undefined>;
}

/** Has the worker read what comes; nothing of it is in force before `switchTo`. */
export function prepare(house: House, next: Parameters<typeof configOf>[1]): Prepared {
  const anchors = new Map<string, string | undefined>();
  const config = configOf(house, next, anchors);
  house.workers.send(next.record.value.worker, { t: 'prepare', config });
  return { config, anchors };
}

/** Resolves when the worker says that it is in force. What else changed meanwhile (the task, a key) would be lost with what was prepared: then the whole is sent again. */
export function switchTo(house: House, live: LiveSandbox, prepared: Prepared | undefined): Promise<void> {
  const { worker } = live.record.value;
  const now = configOf(house, live, prepared?.anchors);
  return isDeepStrictEqual(now, prepared?.config) ? house.workers.switch(worker, now.sandbox, now.version) : house.workers.configure(worker, now);
}

interface Former {
  readonly bundle: PolicyBundle;
  readonly inForce: LiveSandbox['inForce'];
  readonly policy: PolicyRecord;
  readonly ca: CaRecord;
  readonly unenforced: readonly string[];
}

/** Policy, certificates and record in one commit. */
async function write(house: House, live: LiveSandbox, policy: PolicyRecord, ca: CaRecord, change: Pick<SandboxRecord, 'lastVersion' | 'unenforced'>): Promise<void> {
  const { id } = live.record.value;
  await live.writes.run('record', async () => {
    const record = { ...live.record.value, ...change };
    try {
      const [policyRevision, recordRevision, caRevision] = await house.store.batch([
        { op: 'put', key: keys.policy(id), value: policy, expectedRevision: live.policy.revision },
        { op: 'put', key: keys.record(id), value: record, expectedRevision: live.record.revision },
        ...(ca === live.ca.value ? [] : [{ op: 'put', key: keys.ca(id), value: ca, expectedRevision: live.ca.revision } as const]),
      ]);
      live.policy.revision = policyRevision ?? live.policy.revision;
      live.record.revision = recordRevision ?? live.record.revision;
      live.ca.revision = caRevision ?? live.ca.revision;
    } catch (error) {
      if (error instanceof StoreConflict) throw new NemoError('NEMO_E_CONFLICT', { what: 'The policy was changed by somebody else at the same time.', cause: error });
      throw error;
    }
    live.policy.value = policy;
    live.record.value = record;
    live.ca.value = ca;
  });
}

/** Puts the former version back, in store, memory and worker; the number of the failed one is never used again. */
async function revert(house: House, live: LiveSandbox, former: Former, failed: number): Promise<void> {
  await write(house, live, former.policy, former.ca, { lastVersion: failed, unenforced: [...former.unenforced] });
  live.bundle = former.bundle;
  live.inForce = former.inForce;
  tellKept(house, live, failed);
  // A worker that took it and could not say so gets the former one; one that is away gets it when it comes back.
  if (live.record.value.state === 'running') house.workers.send(live.record.value.worker, { t: 'configure', config: configOf(house, live) });
}

/** What went on record as a change was none. */
function tellKept(house: House, live: LiveSandbox, failed: number): void {
  house.audit.emit(gatewayEvent(house.clock.now(), live.record.value.id, `Version ${failed} of the policy did not come into force; version ${live.policy.value.version} stays.`, { class: 'configState', activity: 1, severity: 3 }));
}
