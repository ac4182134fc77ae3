/** Runs one task with the sandbox's agent, and closes it with the table of what happened. */
import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import { NemoError, type TaskTable } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { configOf, environmentOf } from '../sandboxes/bring-up.ts';
import { drive } from '../sandboxes/drive.ts';
import { saveRecord, type LiveSandbox } from '../sandboxes/live.ts';
import { agentCommand } from './agent-command.ts';
import type { Ended, Running } from './execs.ts';
import { saveTask, tableOf, type TaskRecord } from './task-store.ts';

export interface RunningTask {
  readonly id: string;
  readonly running: Running;
  /** After the agent's end: puts it on record and reads the table. */
  finish(): Promise<{ readonly code: number; readonly table: TaskTable }>;
}

/** Exit code of a shell: 128 + number for a signal, 1 where nobody knows. */
export function exitCode(ended: Ended): number {
  if (ended.code !== null) return ended.code;
  if (ended.signal === null) return 1;
  const number = (constants.signals as Readonly<Record<string, number>>)[ended.signal];
  return number === undefined ? 1 : 128 + number;
}

export function mustRun(live: LiveSandbox): void {
  const { name, state } = live.record.value;
  if (state !== 'running') throw new NemoError('NEMO_E_STATE', { what: `The sandbox ${name} is ${state}.`, fix: `Run \`nemoclaw ${name} start\`.` });
}

/** Starts the agent on `text`. One task at a time in a sandbox, since everything it does is recorded under the task. */
export async function startTask(house: House, live: LiveSandbox, text: string, uid: number): Promise<RunningTask> {
  return house.lock.run(`task/${live.record.value.id}`, async () => {
    mustRun(live);
    await drive(house, live, uid);
    const { id: sandbox, name, task: present } = live.record.value;
    if (present !== '') throw new NemoError('NEMO_E_STATE', { what: `The sandbox ${name} is at work on a task already.`, fix: 'Wait for its end, or use another sandbox.' });
    const before = await house.record.status();
    const task: TaskRecord = {
      id: house.ids.next('tsk'),
      sandbox,
      sandboxName: name,
      execId: house.ids.next('ex'),
      state: 'running',
      text: house.redact(text, 'record'),
      sha256: createHash('sha256').update(text).digest('hex'),
      startedAt: house.clock.now(),
      endedAt: null,
      code: null,
      by: uid,
      fromSequence: before.count,
    };
    const onRecord = house.audit
      .commit(gatewayEvent(task.startedAt, sandbox, `A task was given to ${name}.`, { activity: 3, correlation: task.id, data: { task: task.id, text: task.text, sha256: task.sha256, uid } }))
      .catch((cause: unknown) => {
        throw new NemoError('NEMO_E_RECORD', { what: 'The task was not started, because it could not be put on record.', cause });
      });
    onRecord.catch(() => undefined); // it is waited for below
    try {
      // The record syncs meanwhile: nothing of the agent runs before all three are done.
      await saveTask(house, task);
      await setTask(house, live, task.id);
      await onRecord;
      const running = await house.execs.start({ sandbox, execId: task.execId, argv: agentCommand(live.bundle.blueprint.agent, text), env: environmentOf(house, live), cwd: live.record.value.cwd, tty: null });
      // Headless agents read a pipe to its end before they begin; a task has no other input than its text.
      running.stdin.on('error', () => undefined);
      running.stdin.end();
      return { id: task.id, running, finish: () => finish(house, live, task, running) };
    } catch (error) {
      await setTask(house, live, '');
      await saveTask(house, { ...task, state: 'ended', endedAt: house.clock.now(), code: 127 });
      throw error;
    }
  });
}

/** The worker must know the task before the agent's first request: keys and events carry it. */
export async function setTask(house: House, live: LiveSandbox, task: string): Promise<void> {
  if (house.sandboxes.get(live.record.value.id) !== live) return;
  await saveRecord(house.store, live, { task });
  if (live.record.value.state === 'running') await house.workers.configure(live.record.value.worker, configOf(house, live));
}

/** The task's end, once its command has ended: freed, on record, with its table. */
export async function finish(house: House, live: LiveSandbox, task: TaskRecord, running: Running): Promise<{ code: number; table: TaskTable }> {
  const code = exitCode(await running.ended);
  const ended: TaskRecord = { ...task, state: 'ended', endedAt: house.clock.now(), code };
  const freed = setTask(house, live, '').catch(() => undefined); // a worker that is away learns it when it comes back
  const onRecord = async (): Promise<void> => {
    await saveTask(house, ended);
    await house.audit.commit(gatewayEvent(ended.endedAt ?? 0, task.sandbox, `The task of ${task.sandboxName} ended with ${code}.`, { activity: 4, correlation: task.id, data: { task: task.id, code } })).catch(() => undefined);
  };
  await Promise.all([freed, onRecord(), settle(house, live, task.sandbox)]);
  return { code, table: await tableOf(house, ended) };
}

/** What other processes know of the sandbox can be read on the record: each of them says so, and nobody guesses how long it takes. */
async function settle(house: House, live: LiveSandbox, sandbox: string): Promise<void> {
  const kernel = house.backend.flush(sandbox).then(
    (last) => house.record.settled(last),
    () => undefined, // openshelld is away: what it knows comes with the next one
  );
  await Promise.all([kernel, house.workers.flush(live.record.value.worker, sandbox)]);
}
