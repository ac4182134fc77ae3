/** What a person watches at a terminal: the log of a sandbox as it grows, and a shell in a window that is resized. */
import type { Checks } from '../../harness/checks.ts';
import type { Instance } from '../../harness/instance.ts';
import { Screen } from './screen.ts';

const name = 'my-assistant';

/** `logs --follow`, as text and as JSON: what happens after it began is shown, and Ctrl-C ends it. */
export async function followed(instance: Instance, check: Checks): Promise<void> {
  const window = { rows: 30, cols: 160 };
  const [words, json] = [await Screen.open(instance, [name, 'logs', '--follow'], window), await Screen.open(instance, [name, 'logs', '--follow', '--json'], window)];
  try {
    // What is on record already comes first; then it follows.
    const before = (await words.shows(/\n/)) && (await json.shows(/\n/));
    const host = `later-${process.pid}.example`;
    check.that('logs --follow: shows what is on record, and nothing that has not happened', before && !words.text.includes(host) && !json.text.includes(host), words.text.slice(-500));
    const refused = await instance.cli([name, 'exec', '--', 'curl', '-sS', '-m', '20', `https://${host}/`]);
    const shown = (await words.shows(new RegExp(`denied[^\\n]*${host}|${host}[^\\n]*denied`, 'i'))) && (await json.shows(new RegExp(`${host}[^\\n]*\\n`)));
    check.that('logs --follow: a denial that comes later is shown as it happens, as text and as JSON', refused.code !== 0 && shown, { refused, words: words.text.slice(-800), json: json.text.slice(-800) });
    const lines = json.text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as { sequence: number; event: { unmapped?: { verdict?: string } } });
    check.that('logs --follow --json: every line is an event with its number, in order, the denial among them', lines.every(({ sequence }, i) => i === 0 || sequence > (lines[i - 1]?.sequence ?? 0)) && lines.some(({ event }) => event.unmapped?.verdict === 'deny' && JSON.stringify(event).includes(host)), lines.slice(-3));
    for (const screen of [words, json]) screen.type('\u0003');
    const codes = [await words.ends(), await json.ends()];
    check.that('Ctrl-C ends both with exit 0 and without a word', codes.join() === '0,0' && [words, json].every(({ text }) => /\n(\^C)?\s*$/.test(text) && !/error|    at /.test(text.slice(-300))), { codes, words: words.text.slice(-300), json: json.text.slice(-300) });
  } finally {
    for (const screen of [words, json]) await screen.close();
  }
}

/** The window changes its size while a shell runs in the sandbox. */
export async function resized(instance: Instance, check: Checks): Promise<void> {
  const screen = await Screen.open(instance, [name, 'connect', '--shell'], { rows: 31, cols: 91 });
  try {
    screen.type('echo "first: $(stty size)."\n');
    const first = await screen.shows(/first: 31 91\./);
    screen.resize({ rows: 43, cols: 117 });
    screen.type('while [ "$(stty size)" = "31 91" ]; do sleep 0.1; done; echo "then: $(stty size), $(tput -T xterm cols) columns."; exit 9\n');
    const then = await screen.shows(/then: 43 117, 117 columns\./);
    const code = await screen.ends();
    check.that('connect: a window that is resized is resized inside, too', first && then && code === 9, { first, then, code, text: screen.text });
  } finally {
    await screen.close();
  }
  const refused = await instance.cli([name, 'connect', '--json']);
  check.that('connect --json, without a terminal: a wrong use, told as JSON', refused.code === 2 && (JSON.parse(refused.err || refused.out) as { error: { code: string } }).error.code === 'NEMO_E_USAGE', refused);
}
