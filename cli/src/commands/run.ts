/** `nemoclaw <name> run "task"`: gives the agent a task, shows what it says, ends with what was allowed, denied and approved. */
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { runSession, type Ended, type SessionOptions } from '../exec-session.ts';
import { AnsweredFailure, Failure, Quit } from '../failure.ts';
import { forPeople } from '../quiet-output.ts';
import { wrapped } from '../table.ts';
import { taskTableText } from '../task-table.ts';

/** A restarted gateway is back within a second or two. */
const attempts = 40;
const pauseMs = 250;

export async function run(this: CliContext, flags: CommonFlags, task: string): Promise<void> {
  if (task.trim() === '') throw new Failure('NEMO_E_USAGE', { what: 'The task is empty.', fix: `Say what to do: nemoclaw ${this.sandbox} run "Answer the open tickets"` });
  const { world } = this;
  let taskId = '';
  const session = {
    kind: 'run',
    // with --json stdout holds the result only
    stdout: await forPeople(flags.json ? world.stderr : world.stdout),
    stderr: await forPeople(world.stderr),
    terminal: false,
    input: false,
    onNotice: (text: string) => note(this, wrapped(`nemoclaw: ${text}`, world.stderr.isTTY ? world.stderr.columns : undefined, '          ')),
    onStarted: (frame: { readonly taskId: string }) => {
      note(this, `nemoclaw: task ${frame.taskId} ${taskId === '' ? 'started' : 'goes on'}`);
      taskId = frame.taskId;
    },
  } as const;
  const ended = await runSession(this, { ...session, start: { task } }).catch((broken: unknown) => {
    if (taskId === '' || !(broken instanceof Failure) || broken.code !== 'NEMO_E_NO_DAEMON') throw broken;
    return again(this, session, taskId, broken);
  });
  if (ended.t !== 'done') throw new Failure('NEMO_E_INTERNAL', { what: 'The task ended without a result.' });
  if (flags.json) sayJson(this, { task: ended.taskId, code: ended.code, table: ended.table });
  else say(this, `\n${await taskTableText(this, ended.table)}`);
  if (ended.code !== 0) {
    note(this, `nemoclaw: the agent ended with code ${ended.code}`);
    throw new Quit(1);
  }
}

/** The gateway was restarted: it takes the task up again, and so do we, for as long as that takes. */
async function again(context: CliContext, session: Omit<SessionOptions, 'start'>, attach: string, broken: Failure): Promise<Ended> {
  for (let left = attempts; left > 0; left -= 1) {
    await context.world.sleep(pauseMs);
    try {
      return await runSession(context, { ...session, start: { attach } });
    } catch (error) {
      const away = error instanceof Failure && error.code === 'NEMO_E_NO_DAEMON';
      const notYet = error instanceof AnsweredFailure && error.body.code === 'NEMO_E_NOT_FOUND';
      if (!away && !notYet) throw error;
    }
  }
  throw broken;
}
