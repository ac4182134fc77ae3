/** `nemoclaw <name> exec -- cmd…`: one command under the agent's own confinement. */
import { constants } from 'node:os';
import type { CommonFlags } from '../command.ts';
import { note, sayJson, type CliContext, type Output } from '../context.ts';
import { exitCodeOf, runSession } from '../exec-session.ts';
import { Quit } from '../failure.ts';

export async function run(this: CliContext, flags: CommonFlags, ...argv: string[]): Promise<void> {
  const { world } = this;
  const terminal = !flags.json && world.stdin.isTTY === true && world.stdout.isTTY === true;
  const collected = { stdout: collector(), stderr: collector() };
  const ended = await runSession(this, {
    kind: 'exec',
    start: { argv, tty: terminal ? { rows: world.stdout.rows || 24, cols: world.stdout.columns || 80 } : null },
    stdout: flags.json ? collected.stdout.output : world.stdout,
    stderr: flags.json ? collected.stderr.output : world.stderr,
    terminal,
    input: true,
    onNotice: (text) => note(this, `nemoclaw: ${text}`),
  });
  if (ended.t === 'done') throw new Quit(ended.code);
  const code = exitCodeOf(ended, constants.signals);
  if (flags.json) sayJson(this, { code: ended.code, signal: ended.signal, stdout: collected.stdout.text(), stderr: collected.stderr.text() });
  if (code !== 0) throw new Quit(code);
}

function collector(): { output: Output; text: () => string } {
  const chunks: Uint8Array[] = [];
  return { output: { write: (data) => chunks.push(typeof data === 'string' ? Buffer.from(data) : data) }, text: () => Buffer.concat(chunks).toString('utf8') };
}
