/** What was decided of one event on record, in the words that the agent got. */
import { explainedOf, NemoError, type Explained } from '@nemoclaw/contract';
import type { OcsfRecord } from '../backend.ts';
import type { House } from '../house.ts';
import { sequenceOf } from '../links/ledger-link.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';

/** How far back an event id is looked for. */
const farthest = 50_000;
const step = 2000;

const field = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (typeof at === 'object' && at !== null && Object.hasOwn(at, name) ? (at as Record<string, unknown>)[name] : undefined), value);

/** `id`: the number of an event, or the event id that a denial carries. Throws NEMO_E_NOT_FOUND, NEMO_E_RECORD. */
export async function explainEvent(house: House, live: LiveSandbox, id: string): Promise<Explained> {
  let found: OcsfRecord | undefined;
  try {
    found = /^\d{1,15}$/.test(id) ? await numbered(house, live.record.value.id, Number(id)) : await correlated(house, live.record.value.id, id);
  } catch (cause) {
    throw new NemoError('NEMO_E_RECORD', { what: 'The record cannot be read now.', cause });
  }
  const answer = found && explainedOf({ ...(found.unmapped as Readonly<Record<string, unknown>> | undefined), message: found.message, time: found.time }, sequenceOf(found));
  if (answer === undefined) {
    throw new NemoError('NEMO_E_NOT_FOUND', { what: found === undefined ? 'No such event of this sandbox is on record.' : 'Nothing was decided in this event.', fix: 'The number of an event stands in `nemoclaw logs --json`, the event id in the answer to the agent.' });
  }
  return answer;
}

async function numbered(house: House, sandbox: string, sequence: number): Promise<OcsfRecord | undefined> {
  const records = await house.record.tail({ sandbox, after: Math.max(0, sequence - 1), limit: 1 });
  return records.find((record) => sequenceOf(record) === sequence);
}

/** The last event with a decision among those that belong together; the newest part of the record first. */
async function correlated(house: House, sandbox: string, correlation: string): Promise<OcsfRecord | undefined> {
  const newest = await house.record.tail({ sandbox, after: -1, limit: 1 });
  let end = newest.length === 0 ? 0 : Math.max(...newest.map(sequenceOf));
  for (const stop = Math.max(0, end - farthest); end > stop; end -= step) {
    const start = Math.max(0, end - step);
    const found: OcsfRecord[] = [];
    for (let after = start; after < end; ) {
      const page = await house.record.tail({ sandbox, after, limit: step });
      const within = page.filter((record) => sequenceOf(record) <= end);
      found.push(...within.filter((record) => field(record, 'metadata', 'correlation_uid') === correlation && field(record, 'unmapped', 'decision') !== undefined));
      const last = within.at(-1);
      if (last === undefined || within.length < page.length) break;
      after = sequenceOf(last);
    }
    const last = found.at(-1);
    if (last !== undefined) return last;
  }
  return undefined;
}
