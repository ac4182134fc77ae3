/** The label of a sandbox rises and never falls. */
import { joinSensitivity, NemoError, type NetworkPolicyFile, type Sensitivity } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House, Plan } from '../house.ts';
import { saveRecord } from './live.ts';

/** What a sandbox can read of files (`read`) and of the hosts that its network policy labels; the rules that say so. */
export function readable(read: Plan['label'] | undefined, network: NetworkPolicyFile | undefined): Plan['label'] {
  const hosts = network?.networkPolicy.labels ?? [];
  const level = hosts.reduce<Sensitivity>((highest, host) => joinSensitivity(highest, host.level), read?.level ?? 'public');
  return { level, rules: [...(read?.rules ?? []), ...hosts.map((_, i) => `networkPolicy.labels[${i}]`)] };
}

/** A rise of the sticky label, stored and on record before the promise resolves. It never falls. */
export async function raiseLabel(house: House, id: string, to: Sensitivity, why: string): Promise<void> {
  const live = house.sandboxes.get(id);
  if (!live) throw new NemoError('NEMO_E_NOT_FOUND', { what: 'The sandbox is gone.' });
  await house.lock.run(`label/${id}`, async () => {
    const from = live.record.value.label;
    const label = joinSensitivity(from, to);
    if (label === from) return;
    await house.audit.commit(gatewayEvent(house.clock.now(), id, `The label of ${live.record.value.name} rises from ${from} to ${label}.`, { class: 'dataSecurityFinding', activity: 1, severity: 2, data: { from, to: label, why } }));
    await saveRecord(house.store, live, { label });
  });
}
