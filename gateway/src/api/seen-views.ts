/** What is counted of every sandbox, as `top` asks for it. */
import type { SeenReport, SeenView } from '@nemoclaw/contract';
import type { House } from '../house.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';

/** One for each sandbox, in the order of their names. */
export async function seenViews(house: House): Promise<SeenView[]> {
  const views = await Promise.all(house.sandboxes.all().map((live) => seenView(house, live)));
  return views.sort((a, b) => (a.sandbox < b.sandbox ? -1 : 1));
}

async function seenView(house: House, live: LiveSandbox): Promise<SeenView> {
  const { id, name, state } = live.record.value;
  const view = (report: SeenReport | null, why: string): SeenView => ({ sandbox: name, at: house.clock.monotonic(), report, why, waiting: house.desk.waiting(id) });
  if (state !== 'running') return view(null, `is ${state}`);
  try {
    return view(await house.backend.seen(id), '');
  } catch (error) {
    return view(null, (error as { code?: unknown }).code === 'not-seen' ? 'not counted' : 'no answer');
  }
}
