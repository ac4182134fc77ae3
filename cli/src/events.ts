/** Reading the record through the gateway: pages of what is there, then live, resumed by sequence number after a break. */
import type { EventsPage, EventView } from '@nemoclaw/contract';
import type { CliContext } from './context.ts';
import { AnsweredFailure, Failure } from './failure.ts';
import { call, openStream } from './gateway-client.ts';

export interface EventQuery {
  readonly sandbox: string;
  readonly after: number;
}
const pageSize = 1000;

function path(query: EventQuery, follow: boolean): string {
  const search = new URLSearchParams({ after: String(query.after), limit: String(pageSize), ...(query.sandbox === '' ? {} : { sandbox: query.sandbox }), ...(follow ? { follow: '1' } : {}) });
  return `/v1/events?${search.toString()}`;
}

/** Everything that is on record when it begins, in order. Pages are as long as the gateway likes. */
export async function* readEvents(context: CliContext, query: EventQuery): AsyncGenerator<EventView> {
  let after = query.after;
  let end: number | undefined;
  for (;;) {
    const page = await call<EventsPage>(context, 'GET', path({ ...query, after }, false));
    // what is recorded meanwhile is not waited for: it may never end
    const last = (end ??= page.newest);
    yield* page.events.filter(({ sequence }) => sequence <= last);
    if (page.events.length === 0 || page.next >= last || page.next <= after) return;
    after = page.next;
  }
}

/** Live events until SIGINT; a broken connection is taken up again after the last event that was seen. */
export async function* followEvents(context: CliContext, query: EventQuery): AsyncGenerator<EventView> {
  const stop = new AbortController();
  const stopped = (): void => stop.abort();
  context.world.signals.on('SIGINT', stopped);
  let after = query.after;
  let failures = 0;
  try {
    while (!stop.signal.aborted) {
      try {
        for await (const view of parseEvents(await openStream(context, path({ ...query, after }, true), stop.signal))) {
          after = Math.max(after, view.sequence);
          failures = 0;
          yield view;
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof AnsweredFailure || (error instanceof Failure && error.code === 'NEMO_E_PEER')) throw error;
        if ((failures += 1) > 20) throw error;
      }
      if (!stop.signal.aborted) await context.world.sleep(250);
    }
  } finally {
    context.world.signals.off('SIGINT', stopped);
    stop.abort();
  }
}

/** Events of a server-sent stream; `id:` is the sequence. Comments and other fields are skipped. */
export async function* parseEvents(chunks: AsyncIterable<Uint8Array | string>): AsyncGenerator<EventView> {
  const decoder = new TextDecoder();
  let pending = '';
  let id = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    pending += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const lines = pending.split(/\r?\n/);
    pending = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield viewFrom(id, data.join('\n'));
        data = [];
      } else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
      else if (line.startsWith('id:')) id = line.slice(3).trim();
    }
  }
}

/** The data of an event is the event itself, or the whole view with its sequence. */
function viewFrom(id: string, data: string): EventView {
  const value = JSON.parse(data) as Record<string, unknown>;
  const { event, sequence } = value;
  if (typeof event === 'object' && event !== null && typeof sequence === 'number') return { sequence, event: event as Record<string, unknown> };
  return { sequence: Number(id) || 0, event: value };
}
