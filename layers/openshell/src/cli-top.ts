/** `openshell top`: the live table of a running instance, read from its socket. */
import { request } from 'node:http';
import { NemoError, ratesBetween, topRows, type SeenView } from '@nemoclaw/contract';
import { readWords, usage } from './cli-words.ts';

/** Busiest calls shown below each sandbox. */
const callsEach = 5;

/** What the gateway at `socketPath` has counted. Throws NEMO_E_NO_DAEMON, NEMO_E_PEER. */
function readSeen(socketPath: string): Promise<SeenView[]> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, code: 'NEMO_E_NO_DAEMON' | 'NEMO_E_PEER' = 'NEMO_E_NO_DAEMON'): void => reject(new NemoError(code, { what: `The counts cannot be read at ${socketPath}.`, why }));
    const asked = request({ socketPath, path: '/v1/seen', agent: false, headers: { host: 'nemoclaw' } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('error', (error) => fail(error.message));
      answer.on('end', () => {
        try {
          const parsed: unknown = JSON.parse(text);
          if (answer.statusCode === 200 && Array.isArray(parsed)) resolve(parsed as SeenView[]);
          else fail(`It answered ${answer.statusCode}.`, answer.statusCode === 403 ? 'NEMO_E_PEER' : 'NEMO_E_NO_DAEMON');
        } catch {
          fail('It answered no JSON.');
        }
      });
    });
    asked.on('error', (error: Error & { code?: string }) => fail(error.message, error.code === 'EACCES' ? 'NEMO_E_PEER' : 'NEMO_E_NO_DAEMON'));
    asked.end();
  });
}

/** Columns as wide as their widest cell. */
export function lines(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heading, ...rows];
  const widths = heading.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  return all.map((row) => row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ').trimEnd()).join('\n');
}

/** On a terminal until it is stopped, elsewhere once; `--times` says otherwise. */
export async function top(args: readonly string[]): Promise<number> {
  const { flags, values, rest } = readWords('top', args, ['--json'], ['--socket', '--every', '--times']);
  if (rest.length > 0) throw usage(`top takes no ${String(rest[0])}.`);
  const socket = values.get('--socket') ?? `${process.env['NEMOCLAW_ROOT'] ?? ''}/run/nemoclaw/gateway.sock`;
  const terminal = process.stdout.isTTY && !flags.has('--json');
  const seconds = Number(values.get('--every') ?? '2');
  const times = Number(values.get('--times') ?? (terminal ? Infinity : 1));
  if (!(seconds >= 0.1 && seconds <= 3600)) throw usage('--every needs a number of seconds, 0.1 to 3600.');
  if (!(times >= 1)) throw usage('--times needs a number, from 1.');
  let before = await readSeen(socket);
  for (let look = 0; look < times; look += 1) {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const now = await readSeen(socket);
    const rates = ratesBetween(before, now);
    before = now;
    const { heading, rows } = topRows(rates, callsEach);
    if (flags.has('--json')) process.stdout.write(`${JSON.stringify({ sandboxes: rates })}\n`);
    else process.stdout.write(`${terminal && times > 1 ? '\u001b[H\u001b[J' : ''}${lines(heading, rows)}\n`);
  }
  return 0;
}
