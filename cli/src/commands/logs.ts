/** `nemoclaw <name> logs [--follow]`: what is on record about a sandbox. */
import type { EventView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, type CliContext } from '../context.ts';
import { eventLine } from '../event-line.ts';
import { Failure } from '../failure.ts';
import { followEvents, readEvents } from '../events.ts';

export async function run(this: CliContext, flags: CommonFlags & { readonly follow?: boolean; readonly after?: string }): Promise<void> {
  const { safeLine } = await import('@nemoclaw/contract');
  const after = Number(flags.after ?? '0');
  if (!Number.isSafeInteger(after) || after < 0) throw new Failure('NEMO_E_USAGE', { what: '--after needs a sequence number.' });
  const show = ({ sequence, event }: EventView): void => {
    if (flags.json) this.world.stdout.write(`${JSON.stringify({ sequence, event })}\n`);
    else
      say(
        this,
        eventLine(this, event, (text) => safeLine(text, 400)),
      );
  };
  let last = after;
  let count = 0;
  for await (const view of readEvents(this, { sandbox: this.sandbox, after })) {
    show(view);
    last = view.sequence;
    count += 1;
  }
  if (!flags.follow) {
    if (count === 0 && !flags.json) note(this, `Nothing is on record about ${this.sandbox}${after > 0 ? ` after ${after}` : ''}.`);
    return;
  }
  for await (const view of followEvents(this, { sandbox: this.sandbox, after: last })) show(view);
}
