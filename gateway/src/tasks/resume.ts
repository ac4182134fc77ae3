/** Tasks that ran when the last gateway ended: taken up again where their command lives, else marked as cut off. */
import { gatewayEvent } from '../backend.ts';
import type { House } from '../house.ts';
import { saveRecord } from '../sandboxes/live.ts';
import { keptOutput } from './kept-output.ts';
import { finish, setTask, type RunningTask } from './run.ts';
import { saveTask, unfinishedTasks, type TaskRecord } from './task-store.ts';

/** Of each stream, for who attaches later. */
const keptBytes = 256 * 1024;
/** ms that a command without its client has to end by itself. */
const orphanMs = 3000;

async function cutOff(house: House, task: TaskRecord): Promise<void> {
  await saveTask(house, { ...task, state: 'interrupted', endedAt: house.clock.now() });
  const live = house.sandboxes.get(task.sandbox);
  if (live?.record.value.task === task.id) await setTask(house, live, '').catch(() => undefined);
}

/** At the first inventory after a start. Commands that belong to no task end: whoever ran them lost them. */
export async function resumeTasks(house: House, sandboxes: readonly { readonly sandbox: string; readonly execs: readonly string[] }[]): Promise<void> {
  const running = new Set(sandboxes.flatMap(({ execs }) => execs));
  for (const task of await unfinishedTasks(house)) {
    const live = house.sandboxes.get(task.sandbox);
    const command = live && running.has(task.execId) ? await house.execs.takeUp(task.sandbox, task.execId) : undefined;
    if (live === undefined || command === undefined) {
      await cutOff(house, task);
      continue;
    }
    const kept = { ...command, stdout: keptOutput(command.stdout, keptBytes), stderr: command.stderr && keptOutput(command.stderr, keptBytes) };
    const finished = finish(house, live, task, kept);
    finished.catch(() => undefined);
    const resumed: RunningTask = { id: task.id, running: kept, finish: () => finished };
    house.resumed.set(task.id, resumed);
    void finished.finally(() => setTimeout(() => house.resumed.delete(task.id), orphanMs).unref()).catch(() => undefined);
    house.audit.emit(gatewayEvent(house.clock.now(), task.sandbox, `The task of ${task.sandboxName} goes on after a restart of the gateway.`, { activity: 3, correlation: task.id, data: { task: task.id } }));
  }
  // A task that is on the sandbox but not in the store is none.
  for (const live of house.sandboxes.all()) if (live.record.value.task !== '' && !house.resumed.has(live.record.value.task)) await saveRecord(house.store, live, { task: '' });
  house.execs.endLeft(orphanMs);
}
