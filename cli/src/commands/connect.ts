/** `nemoclaw <name> connect`: the agent's own terminal interface, or a shell. */
import { constants } from 'node:os';
import type { CommonFlags } from '../command.ts';
import { note, type CliContext } from '../context.ts';
import { exitCodeOf, runSession } from '../exec-session.ts';
import { Failure, Quit } from '../failure.ts';

export async function run(this: CliContext, flags: CommonFlags & { readonly shell?: boolean }): Promise<void> {
  const { world } = this;
  if (!world.stdin.isTTY || !world.stdout.isTTY) throw new Failure('NEMO_E_USAGE', { what: '`connect` needs a terminal.', fix: `Use \`nemoclaw ${this.sandbox} exec -- …\` in scripts.` });
  const tty = { rows: world.stdout.rows || 24, cols: world.stdout.columns || 80 };
  const term = { TERM: world.env['TERM'] ?? 'xterm-256color' };
  const ended = await runSession(this, {
    kind: 'exec',
    start: flags.shell ? { argv: ['/bin/bash', '-i'], env: term, tty } : { agent: true, env: term, tty },
    stdout: world.stdout,
    stderr: world.stderr,
    terminal: true,
    input: true,
    // \r\n: the terminal is raw while this is shown
    onNotice: (text) => world.stderr.write(`\r\nnemoclaw: ${text}\r\n`),
  });
  note(this, `Left ${this.sandbox}; it goes on running.`);
  const code = ended.t === 'exit' ? exitCodeOf(ended, constants.signals) : ended.code;
  if (code !== 0) throw new Quit(code);
}
