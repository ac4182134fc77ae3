/** `network-policy explain`: what was decided of one event that `--record` kept. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { explainedLines, explainedOf, NemoError, safeBlock } from '@nemoclaw/contract';
import type { Explained } from '@nemoclaw/contract';
import { usage } from './words.ts';

const words = { allow: 'Allowed', deny: 'Denied', escalate: 'Waiting' } as const;

/** `explain --record FILE EVENT [--json]`; the exit code. Throws NEMO_E_USAGE, NEMO_E_NOT_FOUND. */
export async function explain(args: readonly string[]): Promise<number> {
  let record: string | undefined;
  const events: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word === '--record') record = args[(at += 1)];
    else if (word.startsWith('-') && word !== '--json') throw usage(`${word} is not an option of explain.`);
    else if (word !== '--json') events.push(word);
  }
  const [event, ...more] = events;
  if (record === undefined || event === undefined || more.length > 0) throw usage('explain needs --record FILE and one EVENT: the eventId of a denial, or the number of a line.');
  const answer = await explainedIn(record, event);
  if (answer === undefined) throw new NemoError('NEMO_E_NOT_FOUND', { what: `Nothing was decided in an event ${event} of ${record}.`, fix: 'The event id stands in the answer to the command, as eventId and in the header x-nemoclaw-event.' });
  process.stdout.write(args.includes('--json') ? `${JSON.stringify(answer)}\n` : `${safeBlock(explainedLines(answer, words[answer.verdict]))}\n`);
  return 0;
}

/** The last decision among the events that belong together, or that of one line. A line that is not whole (the end of a file that is written to) is none. */
async function explainedIn(file: string, event: string): Promise<Explained | undefined> {
  const line = /^\d{1,15}$/.test(event) ? Number(event) : undefined;
  let answer: Explained | undefined;
  let sequence = 0;
  try {
    for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
      sequence += 1;
      if (line === undefined ? !text.includes(event) : line !== sequence) continue;
      const recorded = parsed(text);
      if (line !== undefined || recorded?.correlation === event) answer = explainedOf(recorded, sequence) ?? answer;
    }
  } catch (cause) {
    throw usage(`${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return answer;
}

function parsed(text: string): { readonly correlation?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
