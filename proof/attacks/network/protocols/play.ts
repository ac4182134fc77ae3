/** Plays a row of a table over a socket: piece after piece, each when the answer to the one before is there. */
import type { Socket } from 'node:net';
import type { Checks } from '../../../harness/checks.ts';
import { doors, enter, type Door } from '../desk.ts';
import type { Desk } from '../../../../layers/network-policy/src/testing/testing-egress.ts';
import type { Listener } from './listeners.ts';

export interface Row {
  readonly name: string;
  /** Latin-1; between two of them an answer has to come. */
  readonly say: readonly string[];
  /** What is told in the end; `closed` where the connection ends without a word. */
  readonly told: RegExp | 'closed';
  /** What the canary hears, and nothing else. */
  readonly hears: readonly string[];
  /** Only by the first door: it is slow, or large. */
  readonly once?: true;
}

/** Longest wait for an answer; a row that needs it fails. */
const patienceMs = 60_000;

export interface Played {
  /** Everything that came. */
  readonly text: string;
  /** The connection ended by itself. */
  readonly closed: boolean;
}

export async function play(socket: Socket, say: readonly string[], answered: (text: string) => boolean, told: RegExp | 'closed'): Promise<Played> {
  let text = '';
  let since = '';
  let closed = false;
  let wake: (() => void) | undefined;
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    since += chunk.toString('latin1');
    wake?.();
  });
  socket.once('close', () => { closed = true; wake?.(); });
  socket.resume();
  let late = false;
  const until = async (enough: () => boolean): Promise<void> => {
    const timer = setTimeout(() => { late = true; wake?.(); }, patienceMs);
    while (!enough() && !closed && !late) await new Promise<void>((resolve) => { wake = resolve; });
    clearTimeout(timer);
  };
  for (const [i, piece] of say.entries()) {
    if (closed || late) break;
    if (piece !== '') {
      since = '';
      socket.write(Buffer.from(piece, 'latin1'));
    }
    if (i < say.length - 1) await until(() => answered(since));
  }
  await until(() => told !== 'closed' && told.test(text));
  const ended = closed;
  socket.destroy();
  return { text, closed: ended };
}

export interface Table {
  readonly host: string;
  readonly canary: Listener;
  /** Whether an answer is whole, so that the next piece may follow. */
  readonly answered: (text: string) => boolean;
  readonly rows: readonly Row[];
  /** Every connection of the canary belongs to one of the sandbox, and ends with it. */
  readonly doors?: readonly Door[];
}

/** Every row through every door. */
export async function playTable(check: Checks, desk: Desk, table: Table): Promise<void> {
  const { host, canary } = table;
  for (const row of table.rows) {
    const wrong: unknown[] = [];
    for (const door of row.once ? doors.slice(0, 1) : (table.doors ?? doors)) {
      canary.heard.length = 0;
      const socket = await enter(desk, door, host, canary.port);
      if (!socket) {
        wrong.push({ door, problem: 'no way in' });
        continue;
      }
      const { text, closed } = await play(socket, row.say, table.answered, row.told);
      await canary.idle();
      const told = row.told === 'closed' ? closed : row.told.test(text);
      if (!told || JSON.stringify(canary.heard) !== JSON.stringify(row.hears)) wrong.push({ door, told: text.slice(-600), closed, heard: canary.heard.slice(0, 20) });
    }
    check.that(row.name, wrong.length === 0, wrong);
  }
}
