/** Goes through a policy change, and the plan of a sandbox, before the first one comes: until the engine has compiled these parts, they take many times as long. */
import { setTimeout as pause } from 'node:timers/promises';
import type { House } from '../house.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { changeable, prepare, reload, switchTo } from './change.ts';

/** As many as it takes until the time of one falls no more. */
export const rounds = 24;
/** ms between two, so that what comes meanwhile waits for one at most. */
const pauseMs = 20;

type Root = ReturnType<House['certificates']['root']>;

/** One change of every file to what it says already, with certificates, and a plan; nothing comes of them. */
function rehearseOnce(house: House, name: string, hostFacts: Readonly<Record<string, unknown>>, root: Root): void {
  const folder = house.blueprints.find(name);
  const texts = [...changeable(folder)].flatMap((file): [string, string][] => {
    const text = folder.files.get(file);
    return text === undefined ? [] : [[file, text]];
  });
  const { interceptNames } = house.compile(reload(folder, new Map(texts), { channels: house.settings.channels, sinks: house.settings.sinks }), 1);
  house.certificates.intermediate(root, interceptNames, house.clock.now());
  house.plan({ policy: folder.sandboxPolicy, hostFacts, hostname: name, workspace: true, caPem: '', env: [], mounts: [] });
}

/** Rehearses with the blueprints of this host, a few milliseconds at a time; changes nothing. Never rejects: what is wrong with a blueprint is said to whoever uses it. */
export async function rehearseChanges(house: House): Promise<void> {
  try {
    const names = house.blueprints.list().filter(({ problem }) => problem === '').map(({ name }) => name);
    const hostFacts = await house.hostFacts();
    const root = house.certificates.root('rehearsal', house.clock.now());
    for (let round = 0; round < rounds; round += 1) {
      // The process does not wait for it.
      await pause(pauseMs, undefined, { ref: false });
      const name = names[round % names.length];
      if (name !== undefined) rehearseOnce(house, name, hostFacts, root);
    }
  } catch {
    return;
  }
}

/** The links over which the switches were rehearsed, or are: a worker that comes back has another link, and is another process. */
export type Rehearsed = WeakSet<object>;

/**
 * Has each worker that serves a sandbox, and has not been here yet, go through the switches of a policy change: what is in force is prepared and put in force
 * again, so that nothing changes. To be called from time to time. Never rejects: whoever needs a worker that does not answer hears of it.
 */
export async function rehearseSwitches(house: House, rehearsed: Rehearsed): Promise<void> {
  const fresh = [...house.workers.links].filter(([worker, link]) => !rehearsed.has(link) && servedBy(house, worker));
  await Promise.all(
    fresh.map(async ([worker, link]) => {
      rehearsed.add(link);
      try {
        for (let round = 0; round < rounds; round += 1) {
          await pause(pauseMs, undefined, { ref: false });
          await switchToSame(house, worker);
        }
      } catch {
        rehearsed.delete(link);
      }
    }),
  );
}

function servedBy(house: House, worker: string): LiveSandbox | undefined {
  return house.sandboxes.all().find(({ record, leaving }) => record.value.worker === worker && record.value.state === 'running' && leaving !== true);
}

/** Not beside a change, whose prepared configuration this would replace. Throws where the worker serves no sandbox. */
async function switchToSame(house: House, worker: string): Promise<void> {
  const live = servedBy(house, worker);
  if (!live) throw new Error('there is nothing to switch');
  await house.lock.run(`policy/${live.record.value.id}`, async () => {
    if (servedBy(house, worker) === live) await switchTo(house, live, prepare(house, live));
  });
}
