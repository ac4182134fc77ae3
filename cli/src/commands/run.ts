/** `nemoclaw <name> run "task"`: gives the agent a task, shows what it says, ends with what was allowed, denied and approved. */
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { runSession } from '../exec-session.ts';
import { Failure, Quit } from '../failure.ts';
import { forPeople } from '../quiet-output.ts';
import { wrapped } from '../table.ts';
import { taskTableText } from '../task-table.ts';

export async function run(this: CliContext, flags: CommonFlags, task: string): Promise<void> {
  if (task.trim() === '') throw new Failure('NEMO_E_USAGE', { what: 'The task is empty.', fix: `Say what to do: nemoclaw ${this.sandbox} run "Answer the open tickets"` });
  const { world } = this;
  const ended = await runSession(this, {
    kind: 'run',
    start: { task },
    // with --json stdout holds the result only
    stdout: await forPeople(flags.json ? world.stderr : world.stdout),
    stderr: await forPeople(world.stderr),
    terminal: false,
    input: false,
    onNotice: (text) => note(this, wrapped(`nemoclaw: ${text}`, world.stderr.isTTY ? world.stderr.columns : undefined, '          ')),
    onStarted: (frame) => note(this, `nemoclaw: task ${frame.taskId} started`),
  });
  if (ended.t !== 'done') throw new Failure('NEMO_E_INTERNAL', { what: 'The task ended without a result.' });
  if (flags.json) sayJson(this, { task: ended.taskId, code: ended.code, table: ended.table });
  else say(this, `\n${await taskTableText(this, ended.table)}`);
  if (ended.code !== 0) {
    note(this, `nemoclaw: the agent ended with code ${ended.code}`);
    throw new Quit(1);
  }
}
