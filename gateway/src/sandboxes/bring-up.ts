/** Makes the kernel side of a recorded sandbox and hands it to its worker; nothing runs in it before both have said yes. */
import { NemoError, type CreateResult, type Released } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House, Plan } from '../house.ts';
import type { Phases } from '../phases.ts';
import { agentEnvironment, agentFolder, blueprintMount } from '../tasks/agent-command.ts';
import { raiseLabel, readable } from './raise-label.ts';
import { sandboxConfig, saveRecord, type LiveSandbox } from './live.ts';

/** The environment of a command in the sandbox; `more` wins over what stands before it. */
export function environmentOf(house: House, live: LiveSandbox, more: Readonly<Record<string, string>> = {}): readonly string[] {
  const env = new Map<string, string>();
  for (const entry of live.record.value.env) env.set(entry.slice(0, entry.indexOf('=')), entry);
  for (const [name, value] of Object.entries({ ...house.vault.variables(live.record.value.id), ...more })) env.set(name, `${name}=${value}`);
  return [...env.values()];
}

/** The configuration for its worker, as of now. `anchors`: trust anchors that were read just before, by file name; what is missing is read and put in. */
export function configOf(house: House, live: Pick<LiveSandbox, 'record' | 'ca' | 'bundle' | 'inForce' | 'rates'>, anchors = new Map<string, string | undefined>()): ReturnType<typeof sandboxConfig> {
  return sandboxConfig(
    live,
    (id, provider) => house.secrets.keyOf(id, provider),
    (file) => {
      if (!anchors.has(file)) anchors.set(file, house.blueprints.anchor(file, live.record.value.blueprint.dir));
      return anchors.get(file);
    },
    house.vault,
  );
}

/** What openshelld makes of the sandbox. Throws NemoError where the policy cannot be carried out. */
export function planOf(house: House, live: Pick<LiveSandbox, 'record' | 'ca' | 'bundle'>, hostFacts: Readonly<Record<string, unknown>>): Plan {
  const { name, registration, blueprint } = live.record.value;
  const agent = live.bundle.blueprint.agent;
  const folder = agentFolder[agent.kind];
  return house.plan({
    policy: live.bundle.sandboxPolicy,
    hostFacts,
    hostname: name,
    workspace: registration !== '',
    caPem: live.ca.value.root.certPem,
    env: agentEnvironment(agent, live.record.value),
    mounts: [{ source: blueprint.dir, name: blueprintMount }, ...(folder === '' ? [] : [{ source: `${house.settings.agentsDir}/${folder}`, name: folder }])],
  });
}

/** Asks openshelld for the kernel side; nothing runs in it before somebody asks for that too. The answer is waited for in `bringUp`. */
export function makeKernelSide(house: House, record: LiveSandbox['record']['value'], planned: Plan, phases: Phases): Promise<CreateResult> {
  const making = phases.time('launch', () => house.backend.create({ sandbox: record.id, plan: planned.plan, registration: record.registration, worker: record.worker }));
  making.catch(() => undefined); // whoever waits for it hears of it
  return making;
}

/** What `makeKernelSide` began is ended, whatever came of it. What cannot be removed now goes at the next inventory. */
export async function undoKernelSide(house: House, record: LiveSandbox['record']['value'], making: Promise<CreateResult>): Promise<void> {
  await making.then(() => house.backend.destroy(record.id)).catch(() => undefined);
  house.workers.send(record.worker, { t: 'remove', sandbox: record.id });
}

/**
 * Kernel side (`making`, where it was begun already) and worker. After it the record says `running`. On any failure nothing of it is left and the record is as before.
 * Throws NEMO_E_CREATE, NEMO_E_PROBE, NEMO_E_APPLY, NEMO_E_PROVIDER.
 */
export async function bringUp(house: House, live: LiveSandbox, planned: Plan, phases: Phases, making?: Promise<CreateResult>): Promise<void> {
  const { id, name, worker, blueprint } = live.record.value;
  live.leaving = false;
  // Before the worker knows of it: what is read may only go where its label lets it.
  const label = readable(planned.label, live.bundle.network);
  if (label.level !== 'public') {
    await raiseLabel(house, id, label.level, `it can read what is labelled (${label.rules.join(', ')})`).catch(async (error: unknown) => {
      if (making) await undoKernelSide(house, live.record.value, making);
      throw error;
    });
  }
  // The worker opens nothing before it has both the listeners and the configuration, so the two may overtake each other.
  const [made, configured] = await Promise.allSettled([
    making ?? makeKernelSide(house, live.record.value, planned, phases),
    phases.time('configure', () => house.workers.configure(worker, configOf(house, live))),
  ]);
  try {
    if (made.status === 'rejected') throw createError(name, made.reason);
    if (configured.status === 'rejected') throw configured.reason;
    checkProbe(name, made.value);
    await phases.time('record', async () => {
      await saveRecord(house.store, live, { state: 'running', problem: '', probe: { ...made.value.probe }, env: [...planned.env], cwd: planned.cwd, phases: { ...phases.all(), ...prefixed('launch', made.value.phases) }, task: '' });
      house.audit.emit(
        gatewayEvent(house.clock.now(), id, `The sandbox ${name} runs.`, {
          activity: 3,
          data: { name, probe: made.value.probe, policyVersion: live.inForce.version, blueprint: blueprint.digest, notes: planned.notes, uid: made.value.uid },
        }),
      );
    });
  } catch (error) {
    // Also where openshelld restarted before it answered: it may have been made. What cannot be removed now goes at the next inventory.
    await takeDown(house, live, true).catch(() => house.workers.send(worker, { t: 'remove', sandbox: id }));
    throw error;
  }
}

/** Takes the kernel side and the worker's part away; what is recorded stays. With what was left in the workspace, null if nothing was to be checked. */
export async function takeDown(house: House, live: LiveSandbox, made: boolean): Promise<Released | null> {
  let released: Released | null = null;
  const { id, worker } = live.record.value;
  live.leaving = true;
  if (made) {
    try {
      released = await house.backend.destroy(id);
    } catch (cause) {
      if (!isGone(cause)) {
        live.leaving = false;
        throw new NemoError('NEMO_E_BACKEND', { what: 'The sandbox could not be taken down.', why: cause instanceof Error ? cause.message : String(cause), cause });
      }
    }
  }
  house.workers.send(worker, { t: 'remove', sandbox: id });
  house.execs.gone(id);
  return released;
}

/** openshelld knows no such sandbox: what was to be removed is not there. */
function isGone(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'no-sandbox';
}

function createError(name: string, cause: unknown): NemoError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const why = cause instanceof Error ? cause.message : String(cause);
  if (code === 'probe') return new NemoError('NEMO_E_PROBE', { what: `The sandbox ${name} let something through that it must stop; it was taken down.`, why, cause });
  if (code === 'registration' || code === 'idmap-refused') return new NemoError('NEMO_E_WORKSPACE', { what: 'The workspace could not be given to the sandbox.', why, cause });
  return new NemoError('NEMO_E_CREATE', { what: `The sandbox ${name} could not be made.`, why: code === '' ? why : `${why} (${code})`, cause });
}

/** openshelld has checked it; this is the second pair of eyes. An empty probe proves nothing. */
function checkProbe(name: string, result: CreateResult): void {
  const failed = Object.entries(result.probe).filter(([, stopped]) => stopped !== true);
  if (failed.length > 0) throw new NemoError('NEMO_E_PROBE', { what: `The sandbox ${name} let something through that it must stop; it was taken down.`, why: failed.map(([what]) => what).join(', ') });
  if (Object.keys(result.probe).length === 0) throw new NemoError('NEMO_E_PROBE', { what: `Nothing was proved about the sandbox ${name}; it was taken down.` });
}

function prefixed(prefix: string, phases: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(phases).map(([name, ms]) => [`${prefix}.${name}`, ms]));
}
