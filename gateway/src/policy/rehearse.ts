/** Goes through a policy change, and the plan of a sandbox, before the first one comes: until the engine has compiled these parts, they take many times as long. */
import { setTimeout as pause } from 'node:timers/promises';
import type { House } from '../house.ts';
import { changeable, reload } from './change.ts';

/** As many as it takes until the time of one falls no more. */
export const rounds = 24;
/** ms between two, so that what comes meanwhile waits for one at most. */
const pauseMs = 20;

/** One change of every file to what it says already, and a plan; nothing comes of them. */
function rehearseOnce(house: House, name: string, hostFacts: Readonly<Record<string, unknown>>): void {
  const folder = house.blueprints.find(name);
  const texts = [...changeable(folder)].flatMap((file): [string, string][] => {
    const text = folder.files.get(file);
    return text === undefined ? [] : [[file, text]];
  });
  house.compile(reload(folder, new Map(texts), { channels: house.settings.channels, sinks: house.settings.sinks }), 1);
  house.plan({ policy: folder.sandboxPolicy, hostFacts, hostname: name, workspace: true, caPem: '', env: [], mounts: [] });
}

/** Rehearses with the blueprints of this host, a few milliseconds at a time; changes nothing. Never rejects: what is wrong with a blueprint is said to whoever uses it. */
export async function rehearseChanges(house: House): Promise<void> {
  try {
    const names = house.blueprints.list().filter(({ problem }) => problem === '').map(({ name }) => name);
    const hostFacts = await house.hostFacts();
    for (let round = 0; round < rounds; round += 1) {
      // The process does not wait for it.
      await pause(pauseMs, undefined, { ref: false });
      const name = names[round % names.length];
      if (name !== undefined) rehearseOnce(house, name, hostFacts);
    }
  } catch {
    return;
  }
}
