/** Stop, start and destroy; what a worker reports about its sandbox. */
import { basename } from 'node:path';
import { checkHost, NemoError, type LeftView, type Released } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { Phases } from '../phases.ts';
import { bringUp, planOf, takeDown } from './bring-up.ts';
import { chooseWorker, forget, policyFacts } from './create.ts';
import { saveRecord, type LiveSandbox } from './live.ts';

/** Does it once it is on record that it is asked for; what came of it follows. `what`: as in "is stopped". */
async function onRecord<T>(house: House, live: LiveSandbox, what: string, { uid, activity }: { readonly uid: number; readonly activity: number }, act: () => Promise<T>): Promise<T> {
  const { id, name } = live.record.value;
  const event = (message: string, more: Readonly<Record<string, unknown>> = {}) => gatewayEvent(house.clock.now(), id, `The sandbox ${name} ${message}.`, { activity, data: { name, uid, ...more } });
  await house.audit.commit(event(`is to be ${what}`)).catch((cause: unknown) => {
    throw new NemoError('NEMO_E_RECORD', { what: 'It was not done, because it could not be put on record.', cause });
  });
  try {
    const done = await act();
    house.audit.emit(event(`is ${what}`));
    return done;
  } catch (error) {
    house.audit.emit(event(`could not be ${what}`, { error: error instanceof Error ? error.message : String(error) }));
    throw error;
  }
}

/** Ends everything in the sandbox; record, policy and workspace stay. */
export async function stopSandbox(house: House, name: string, uid: number): Promise<LiveSandbox> {
  const live = house.sandboxes.must(name);
  return house.lock.run(`life/${live.record.value.id}`, async () => {
    if (live.record.value.state === 'stopped') return live;
    return onRecord(house, live, 'stopped', { uid, activity: 4 }, async () => {
      await house.desk.close(live.record.value.id);
      const released = await takeDown(house, live, true);
      await saveRecord(house.store, live, { state: 'stopped', problem: '', task: '', left: leftOf(house, released) });
      return live;
    });
  });
}

/** Makes the kernel side again from what is recorded. */
export async function startSandbox(house: House, name: string, uid: number): Promise<LiveSandbox> {
  const live = house.sandboxes.must(name);
  return house.lock.run(`life/${live.record.value.id}`, async () => {
    if (live.record.value.state === 'running') return live;
    const phases = new Phases(house.clock);
    const hostFacts = await phases.time('host', () => house.hostFacts());
    checkHost(live.bundle.sandboxPolicy, policyFacts(hostFacts), live.bundle);
    return onRecord(house, live, 'started', { uid, activity: 3 }, async () => {
      await saveRecord(house.store, live, { worker: chooseWorker(house), ...blueprintNow(house, live) });
      await bringUp(house, live, await phases.time('plan', () => planOf(house, live, hostFacts)), phases);
      return live;
    });
  });
}

/**
 * Where the blueprint's folder is in the version that is installed now: an update puts it elsewhere. The policy stays the sandbox's own;
 * only what the agent brings along (its extension) is the installed one.
 */
function blueprintNow(house: House, live: LiveSandbox): Pick<LiveSandbox['record']['value'], 'blueprint'> {
  const { dir, digest, blueprint } = house.blueprints.find(basename(live.record.value.blueprint.dir));
  return { blueprint: { name: blueprint.name, version: blueprint.version, digest, dir } };
}

/** Removes the sandbox for good; the workspace folder and the record in the ledger stay. With what it left in the folder that is still put away. */
export async function destroySandbox(house: House, name: string, uid: number): Promise<LeftView | undefined> {
  const live = house.sandboxes.must(name);
  return house.lock.run(`life/${live.record.value.id}`, async () => {
    if (house.sandboxes.get(live.record.value.id) !== live) throw new NemoError('NEMO_E_NOT_FOUND', { what: `There is no sandbox ${name}.` });
    return onRecord(house, live, 'removed', { uid, activity: 4 }, async () => {
      await house.desk.close(live.record.value.id);
      const released = await takeDown(house, live, live.record.value.state !== 'stopped');
      await house.backend.layer(live.record.value.id, 'remove').catch((error: unknown) =>
        house.audit.emit(gatewayEvent(house.clock.now(), live.record.value.id, `The layer of ${name} could not be removed.`, { severity: 3, data: { error: error instanceof Error ? error.message : String(error) } })),
      );
      await forget(house, live);
      return leftOf(house, released) ?? live.record.value.left;
    });
  });
}

/** Undefined where there is nothing that a person must know. */
function leftOf(house: House, released: Released | null): LeftView | undefined {
  if (released === null || (released.found.length === 0 && released.problem === '')) return undefined;
  const { checked, quarantine, found, more, problem } = released;
  return { at: house.clock.now(), checked, quarantine, found: found.map((one) => ({ ...one })), more, problem };
}

/** What openshelld found in a workspace that was given back; of a sandbox that is gone for good only the record in the ledger tells. */
export async function workspaceReleased(house: House, id: string, released: Released): Promise<void> {
  const live = house.sandboxes.get(id);
  const left = leftOf(house, released);
  if (live && left !== undefined) await saveRecord(house.store, live, { left });
}

/** openshelld says that the sandbox is gone though nobody stopped it. */
export async function sandboxGone(house: House, id: string, why: string): Promise<void> {
  const live = house.sandboxes.get(id);
  house.execs.gone(id);
  if (!live || live.record.value.state !== 'running' || live.leaving === true) return;
  house.audit.emit(gatewayEvent(house.clock.now(), id, `The sandbox ${live.record.value.name} has ended by itself.`, { severity: 4, activity: 4, data: { why } }));
  await house.desk.close(id);
  house.workers.send(live.record.value.worker, { t: 'remove', sandbox: id });
  await saveRecord(house.store, live, { state: 'failed', problem: why.slice(0, 300), task: '' });
}
