/** Creation of a sandbox, in the order of the design: everything is checked before anything is made, and any failure undoes everything. */
import { checkHost, NemoError, nameProblem, safeLine, StoreConflict, unenforced, type CreateSandbox, type PolicyHostFacts, type StoreWrite } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { KeyedLock } from '../keyed-lock.ts';
import { Phases } from '../phases.ts';
import { bringUp, makeKernelSide, planOf, undoKernelSide } from './bring-up.ts';
import type { LiveSandbox } from './live.ts';
import { chooseProviders, providerPlans } from './providers.ts';
import { keys, type CaRecord, type PolicyRecord, type SandboxRecord } from './record.ts';

/** The tier that openshelld found, what control groups can limit, GPU devices; anything unknown counts as the weakest. */
export function policyFacts(hostFacts: Readonly<Record<string, unknown>>): PolicyHostFacts & Required<Pick<PolicyHostFacts, 'limits' | 'gpu'>> {
  const tier = hostFacts['tier'];
  const cgroup = typeof hostFacts['cgroup'] === 'object' && hostFacts['cgroup'] !== null ? (hostFacts['cgroup'] as Readonly<Record<string, unknown>>) : {};
  const gpu = Array.isArray(hostFacts['gpu']) ? hostFacts['gpu'].filter((path) => typeof path === 'string') : [];
  return { gpu, programs: hostFacts['programs'] === true, tier: tier === 'A' || tier === 'B' ? tier : 'C', limits: { memory: cgroup['memory'] === true, cpu: cgroup['cpu'] === true, freezer: cgroup['freezer'] === true } };
}

/** Makes a running sandbox for the person `uid`. Throws NemoError; then nothing of it is left. */
export async function createSandbox(house: House, input: CreateSandbox, uid: number): Promise<LiveSandbox> {
  const problem = nameProblem(input.name);
  if (problem !== undefined) throw new NemoError('NEMO_E_NAME', { what: problem });
  return house.lock.run(`name/${input.name}`, async () => {
    if (house.sandboxes.byName(input.name)) throw new NemoError('NEMO_E_CONFLICT', { what: `There is a sandbox ${input.name} already.`, fix: `Choose another name, or remove it with \`nemoclaw ${input.name} destroy\`.` });
    const phases = new Phases(house.clock);

    // load, and check against the host
    const hostFacts = await phases.time('host', () => house.hostFacts());
    const folder = await phases.time('load', () => house.blueprints.find(input.blueprint));
    checkHost(folder.sandboxPolicy, policyFacts(hostFacts), folder);
    const gaps = unenforced(folder.sandboxPolicy, policyFacts(hostFacts), folder);
    const providers = chooseProviders(folder, input.provider, house.settings.demoEndpoint);
    const workspace = await phases.time('workspace', () => registeredFolder(house, input.registration ?? '', uid));

    // compile
    const inForce = await phases.time('compile', () => house.compile(folder, 1));

    const id = `${input.name}-${house.ids.next('').replace(/[^0-9a-z]/g, '').slice(0, 8)}`;
    const record: SandboxRecord = {
      id,
      name: input.name,
      state: 'creating',
      problem: '',
      createdAt: house.clock.now(),
      createdBy: uid,
      ...(workspace === undefined ? {} : { owner: workspace.uid }),
      blueprint: { name: folder.blueprint.name, version: folder.blueprint.version, digest: folder.digest, dir: folder.dir },
      registration: input.registration ?? '',
      workspacePath: workspace?.path ?? '',
      worker: chooseWorker(house),
      providers,
      env: [],
      cwd: '',
      placeholderKey: house.ids.next('nemoclaw-placeholder'),
      label: 'public',
      task: '',
      drivers: [],
      lastVersion: 1,
      probe: {},
      phases: {},
      unenforced: gaps,
    };
    const policy: PolicyRecord = { version: 1, files: Object.fromEntries(folder.files), changedAt: record.createdAt, changedBy: uid };
    if (input.provider?.apiKey !== undefined && providers[0]) house.secrets.set(id, providers[0].name, input.provider.apiKey);
    try {
      providerPlans(providers, (provider) => house.secrets.keyOf(id, provider)); // a missing key is found before anything is made

      // The record is asked to keep it first, and the certificates and the plan are made meanwhile: the root's key never leaves this process.
      const onRecord = putOnRecord(house, record);
      onRecord.catch(() => undefined); // whoever waits for it hears of it
      const ca = await phases.time('certificates', (): CaRecord => {
        const names = [...inForce.interceptNames];
        const root = house.certificates.root(input.name, house.clock.now());
        return { root, intermediate: house.certificates.intermediate(root, names, house.clock.now()), names };
      });

      const planned = await phases.time('plan', () => planOf(house, { record: { value: record, revision: 0 }, ca: { value: ca, revision: 0 }, bundle: folder }, hostFacts));

      await phases.time('audit', () => onRecord);
      // The store takes it while openshelld works. If we are killed in between, the next start finds a kernel side that nobody owns, and ends it.
      const making = makeKernelSide(house, record, planned, phases);
      const live = await phases.time('store', () => store(house, record, policy, ca, folder, inForce)).catch(async (error: unknown) => {
        await undoKernelSide(house, record, making);
        throw error;
      });
      try {
        await bringUp(house, live, planned, phases, making);
      } catch (error) {
        await forget(house, live);
        throw error;
      }
      return live;
    } catch (error) {
      house.secrets.forget(id);
      house.vault.forget(id);
      house.audit.emit(gatewayEvent(house.clock.now(), id, `The sandbox ${input.name} could not be made.`, { severity: 3, activity: 1, data: { name: input.name, uid, error: error instanceof NemoError ? error.toJSON() : 'internal' } }));
      throw error;
    }
  });
}

/** Rejects where the record does not take it: then nothing may be made. */
async function putOnRecord(house: House, record: SandboxRecord): Promise<void> {
  await house.audit.commit(
    gatewayEvent(house.clock.now(), record.id, `The sandbox ${record.name} is being made from the blueprint ${record.blueprint.name} ${record.blueprint.version}.`, {
      activity: 1,
      data: { name: record.name, uid: record.createdBy, blueprint: record.blueprint, providers: record.providers.map(({ name, kind, model }) => ({ name, kind, model })), unenforced: record.unenforced },
    }),
  ).catch((cause: unknown) => {
    throw new NemoError('NEMO_E_RECORD', { what: 'The sandbox was not made, because it could not be put on record.', cause });
  });
}

async function store(house: House, record: SandboxRecord, policy: PolicyRecord, ca: CaRecord, bundle: LiveSandbox['bundle'], inForce: LiveSandbox['inForce']): Promise<LiveSandbox> {
  // The name first, so that of two with one name only one is made; a kill between the two leaves a name, which the next start frees.
  const named = await house.store.put(keys.name(record.name), { id: record.id }, 0).catch((error: unknown) => {
    if (error instanceof StoreConflict) throw new NemoError('NEMO_E_CONFLICT', { what: `There is a sandbox ${record.name} already.` });
    throw error;
  });
  const put = (key: string, value: unknown): StoreWrite => ({ op: 'put', key, value, expectedRevision: 0 });
  const revisions = await house.store.batch([put(keys.record(record.id), record), put(keys.policy(record.id), policy), put(keys.ca(record.id), ca)]).catch(async (error: unknown) => {
    await house.store.delete(keys.name(record.name), named);
    throw error;
  });
  const live: LiveSandbox = {
    record: { value: record, revision: revisions[0] ?? 0 },
    policy: { value: policy, revision: revisions[1] ?? 0 },
    ca: { value: ca, revision: revisions[2] ?? 0 },
    bundle,
    inForce,
    writes: new KeyedLock(),
    drivers: new Set(),
    rates: [],
    usage: { requests: 0, bytesOut: 0, tokens: 0 },
  };
  house.sandboxes.add(live);
  return live;
}

/** Removes everything that is kept of a sandbox but its questions and tasks, which are history. */
export async function forget(house: House, live: LiveSandbox): Promise<void> {
  const { id, name } = live.record.value;
  house.sandboxes.remove(live);
  house.secrets.forget(id);
  house.vault.forget(id);
  await house.store.batch([
    { op: 'delete', key: keys.record(id), revision: live.record.revision },
    { op: 'delete', key: keys.policy(id), revision: live.policy.revision },
    { op: 'delete', key: keys.ca(id), revision: live.ca.revision },
  ]);
  const named = await house.store.get(keys.name(name));
  if (named) await house.store.delete(named.key, named.revision);
}

/** The folder as its owner named it. A registration is used by the person who made it, or by root. */
async function registeredFolder(house: House, registration: string, uid: number): Promise<{ readonly path: string; readonly uid: number } | undefined> {
  if (registration === '') return undefined;
  const found = (await house.backend.workspaces()).find((one) => one.id === registration);
  if (!found || (found.uid !== uid && uid !== 0)) throw new NemoError('NEMO_E_WORKSPACE', { what: 'This workspace is not registered by you.' });
  return { path: safeLine(found.path, 4096), uid: found.uid };
}

/** The worker with the fewest sandboxes. */
export function chooseWorker(house: House): string {
  const load = new Map(house.workers.names.map((name) => [name, 0]));
  for (const live of house.sandboxes.all()) {
    const { worker } = live.record.value;
    if (load.has(worker)) load.set(worker, (load.get(worker) ?? 0) + 1);
  }
  const [least] = [...load].sort((a, b) => a[1] - b[1]);
  if (!least) throw new NemoError('NEMO_E_CREATE', { what: 'No data plane is running.' });
  return least[0];
}
