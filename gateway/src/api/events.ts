/** The record as a page or as server-sent events; the id of an event is its place in the record, so a reader that comes back misses nothing. */
import { NemoError, type EventsPage, type EventView } from '@nemoclaw/contract';
import type { OcsfRecord } from '../backend.ts';
import type { House } from '../house.ts';
import { sequenceOf } from '../links/ledger-link.ts';

function asView(record: OcsfRecord): EventView {
  return { sequence: sequenceOf(record), event: { ...record } };
}

/**
 * Events after `after`, at most `limit`. A page may be shorter, so that only an empty one means that there are no more; `next` is what to ask after for
 * the following one, `newest` the last event on record when this one was asked for.
 */
export async function eventsPage(house: House, sandbox: string | undefined, after: number, limit: number): Promise<EventsPage> {
  try {
    const { up, count } = await house.record.status();
    if (!up) throw new Error('the ledger is not reachable');
    const records = await house.record.tail({ ...(sandbox === undefined ? {} : { sandbox }), after, limit });
    const events = records.map(asView);
    return { events, next: events.at(-1)?.sequence ?? after, newest: count };
  } catch (cause) {
    throw new NemoError('NEMO_E_RECORD', { what: 'The record cannot be read now.', cause });
  }
}

/** A reader slower than this many waiting chunks is cut off; it comes back with the last id it saw. */
const maxWaiting = 256;
const heartbeatMs = 15_000;

/** Live events until the client goes away. */
export function eventStream(house: House, sandbox: string | undefined, after: number, signal: AbortSignal): Response {
  const encoder = new TextEncoder();
  const stop = new AbortController();
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const end = (): void => {
          if (stop.signal.aborted) return;
          stop.abort();
          clearInterval(heartbeat);
          try {
            controller.close();
          } catch {
            return; // the reader has closed it already
          }
        };
        const send = (text: string): void => {
          if (stop.signal.aborted) return;
          controller.enqueue(encoder.encode(text));
          if ((controller.desiredSize ?? 0) < -maxWaiting) end();
        };
        const heartbeat = setInterval(() => send(': alive\n\n'), heartbeatMs);
        signal.addEventListener('abort', end, { once: true });
        stop.signal.addEventListener('abort', () => clearInterval(heartbeat), { once: true });
        send(': events\n\n');
        house.record.follow({ ...(sandbox === undefined ? {} : { sandbox }), after }, (records) => send(records.map((record) => `id: ${sequenceOf(record)}\ndata: ${JSON.stringify(asView(record))}\n\n`).join('')), stop.signal);
      },
      cancel() {
        stop.abort();
      },
    },
    { highWaterMark: 16 },
  );
  return new Response(stream, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' } });
}
