/** After a restart: what the store says, what openshelld says is there, and what of it goes on. Nothing is opened by it. */
import { loadBundle, type FromOpenshelld } from '@nemoclaw/contract';
import { syscallHold } from '../approvals/holds.ts';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { KeyedLock } from '../keyed-lock.ts';
import { configOf } from './bring-up.ts';
import { resumeTasks } from '../tasks/resume.ts';
import { forget } from './create.ts';
import { ingressListen } from './ingress-listen.ts';
import { saveRecord, type LiveSandbox } from './live.ts';
import { caRecordSchema, keys, policyRecordSchema, readStored, sandboxRecordSchema } from './record.ts';

export type Inventory = Extract<FromOpenshelld, { t: 'inventory' }>;

/** Reads all sandboxes back. One that cannot be read is left alone and said aloud: it gets no configuration and stays closed. */
export async function loadSandboxes(house: House): Promise<void> {
  for (const entry of await house.store.list('sandbox/')) {
    if (!entry.key.endsWith('/record')) continue;
    try {
      const record = readStored(sandboxRecordSchema, entry);
      const id = record.value.id;
      const policyEntry = await house.store.get(keys.policy(id));
      const caEntry = await house.store.get(keys.ca(id));
      if (!policyEntry || !caEntry) throw new Error('its policy or its certificates are missing');
      const policy = readStored(policyRecordSchema, policyEntry);
      const bundle = loadBundle(new Map(Object.entries(policy.value.files)), { channels: house.settings.channels, sinks: house.settings.sinks });
      const live: LiveSandbox = {
        record,
        policy,
        ca: readStored(caRecordSchema, caEntry),
        bundle,
        inForce: house.compile(bundle, policy.value.version),
        writes: new KeyedLock(),
        drivers: new Set(record.value.drivers),
        usage: { requests: 0, bytesOut: 0, tokens: 0 },
      };
      house.sandboxes.add(live);
    } catch (error) {
      house.audit.emit(gatewayEvent(house.clock.now(), '', `A stored sandbox could not be read (${entry.key}).`, { severity: 4, data: { error: error instanceof Error ? error.message : String(error) } }));
    }
  }
}

/** Frees the names whose sandbox is not in the store: the gateway was killed between the two, while it made or removed one. */
export async function freeNames(house: House): Promise<void> {
  for (const entry of await house.store.list('name/')) {
    const id = (entry.value as { readonly id?: unknown } | null)?.id;
    if (typeof id !== 'string' || (await house.store.get(keys.record(id)))) continue;
    house.secrets.forget(id);
    house.vault.forget(id);
    await house.store.delete(entry.key, entry.revision);
    house.audit.emit(gatewayEvent(house.clock.now(), id, `The name ${entry.key.slice('name/'.length)} is free again: what it stood for was never made, or is gone.`, { activity: 4 }));
  }
}

/**
 * Brings memory and kernel together, after a start of the gateway (`first`) or of openshelld.
 * What only one side knows is ended: an unknown sandbox is destroyed, a missing one is marked as stopped or failed, a half-made one is undone.
 */
export async function takeInventory(house: House, inventory: Inventory, first: boolean): Promise<void> {
  const present = new Map(inventory.sandboxes.map((one) => [one.sandbox, one]));
  if (first) house.execs.expect(inventory.sandboxes);
  for (const live of house.sandboxes.all()) {
    const { id, name, state } = live.record.value;
    if (state === 'creating' && first) {
      if (present.delete(id)) await house.backend.destroy(id);
      await forget(house, live);
    } else if (state === 'running' && !present.has(id)) {
      house.audit.emit(gatewayEvent(house.clock.now(), id, `The sandbox ${name} was gone when the gateway looked.`, { severity: 4, activity: 4 }));
      await house.desk.close(id);
      // When everything was stopped, so was the sandbox; while the gateway lived, its end is a failure.
      await saveRecord(house.store, live, first ? { state: 'stopped', problem: 'NemoClaw was stopped meanwhile.', task: '' } : { state: 'failed', problem: 'It ended while nobody watched.', task: '' });
    }
  }
  for (const id of present.keys()) {
    const live = house.sandboxes.get(id);
    if (live && (live.record.value.state === 'running' || live.record.value.state === 'creating')) continue;
    house.audit.emit(gatewayEvent(house.clock.now(), id, 'A sandbox that nobody owns is taken down.', { severity: 4, activity: 4 }));
    await house.backend.destroy(id);
  }
  house.execs.alive(new Set(inventory.sandboxes.flatMap((one) => one.execs)));
  if (first) await resumeTasks(house, inventory.sandboxes);
  await house.desk.releaseAll((record) => record.kind === 'syscall');
  for (const hold of inventory.holds) await syscallHold(house, hold);
}

/**
 * A trust anchor on this host appeared or changed: the sandboxes that name it get it. Returns how many. An anchor that is missing
 * is waited for; until it is there the sandbox has no configuration and everything it sends is refused.
 */
export async function refreshAnchors(house: House): Promise<number> {
  const read = new Map<string, string | undefined>();
  const anchor = (dir: string) => (file: string): string | undefined => {
    const key = `${dir}/${file}`;
    if (!read.has(key)) read.set(key, house.blueprints.anchor(file, dir));
    return read.get(key);
  };
  let count = 0;
  for (const live of house.sandboxes.all()) {
    const { state, worker, blueprint } = live.record.value;
    const egress = live.bundle.network?.networkPolicy.egress;
    if (state !== 'running' || !egress || ![...egress.allow, ...egress.escalate].some((rule) => rule.ca !== undefined)) continue;
    const find = anchor(blueprint.dir);
    const files = [...new Set([...egress.allow, ...egress.escalate].flatMap((rule) => (rule.ca === undefined ? [] : [rule.ca])))];
    const found = files.map(find);
    const stamp = JSON.stringify(found);
    if (found.includes(undefined) || stamp === live.anchors) continue;
    const before = live.anchors;
    live.anchors = stamp;
    if (before === undefined) continue; // it came up or was loaded with what is there now
    count += 1;
    await house.workers.configure(worker, configOf(house, live)).catch(() => {
      live.anchors = ''; // tried again at the next look
    });
  }
  return count;
}

/** A worker came (back): it gets what it owns, as it is now. */
export async function configureWorker(house: House, worker: string): Promise<void> {
  const listen = ingressListen(house.settings, worker);
  if (listen) house.workers.send(worker, { t: 'ingress', listen });
  for (const live of house.sandboxes.all()) {
    const { id, name, state } = live.record.value;
    if (live.record.value.worker !== worker || state !== 'running') continue;
    try {
      await house.workers.configure(worker, configOf(house, live));
      house.workers.send(worker, { t: 'pending', sandbox: id, entries: house.desk.pending(id) });
    } catch (error) {
      live.anchors = '';
      house.audit.emit(gatewayEvent(house.clock.now(), id, `The sandbox ${name} has no data plane; everything it sends is refused.`, { severity: 4, data: { error: error instanceof Error ? error.message : String(error) } }));
    }
  }
}
