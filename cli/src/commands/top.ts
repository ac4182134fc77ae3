/** `nemoclaw top`: system calls of every sandbox per second, by what became of them. */
import { ratesBetween, topRows, type SeenView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, type CliContext } from '../context.ts';
import { Failure } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { table } from '../table.ts';

export interface TopFlags extends CommonFlags {
  readonly every?: string;
  readonly times?: string;
}

/** Busiest calls shown below each sandbox. */
const callsEach = 5;

/** On a terminal until it is stopped, elsewhere once; `--times` says otherwise. With `--json` each look is one line. */
export async function run(this: CliContext, flags: TopFlags): Promise<void> {
  const seconds = Number(flags.every ?? '2');
  if (!(seconds >= 0.1 && seconds <= 3600)) throw new Failure('NEMO_E_USAGE', { what: '--every needs a number of seconds, 0.1 to 3600.' });
  const terminal = this.world.stdout.isTTY === true && flags.json !== true;
  const times = Number(flags.times ?? (terminal ? Infinity : 1));
  if (!(times >= 1)) throw new Failure('NEMO_E_USAGE', { what: '--times needs a number, from 1.' });
  let before = await call<SeenView[]>(this, 'GET', '/v1/seen');
  for (let look = 0; look < times; look += 1) {
    await this.world.sleep(seconds * 1000);
    const now = await call<SeenView[]>(this, 'GET', '/v1/seen');
    const rates = ratesBetween(before, now);
    before = now;
    if (flags.json) {
      this.world.stdout.write(`${JSON.stringify({ time: this.world.now(), sandboxes: rates })}\n`);
      continue;
    }
    const { heading, rows } = topRows(rates, callsEach);
    if (terminal && times > 1) this.world.stdout.write('\u001b[H\u001b[J');
    if (rows.length === 0) note(this, 'No sandboxes yet. Make one with: nemoclaw onboard');
    else say(this, table(this, heading, rows));
  }
}
