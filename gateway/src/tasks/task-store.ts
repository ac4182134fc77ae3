/** Tasks as they are kept, and what became of those that a restart cut off. */
import { taskViewSchema, type TaskView } from '@nemoclaw/contract';
import { z } from 'zod';
import type { House } from '../house.ts';
import { sequenceOf } from '../links/ledger-link.ts';
import { keys } from '../sandboxes/record.ts';
import { taskTable } from './table.ts';

/** What the API shows of a task, without the table, which is read from the record each time. */
const taskRecordSchema = taskViewSchema.omit({ table: true }).extend({
  sandboxName: z.string(),
  /** Its command; '' for tasks from before commands were kept. */
  execId: z.string().default(''),
  /** Sequence of the record's last event before the task. */
  fromSequence: z.number(),
});
export type TaskRecord = z.infer<typeof taskRecordSchema>;

/** Events that come this long after the end still belong to the task: counted refusals are reported once a second. */
const lateMs = 1500;
const pageSize = 1000;
/** Beyond this the table says that it is incomplete. */
const maxRecords = 50_000;

export async function saveTask(house: House, task: TaskRecord): Promise<void> {
  const key = keys.task(task.sandbox, task.id);
  const before = await house.store.get(key);
  await house.store.put(key, task, before?.revision ?? 0);
}

export async function findTask(house: House, id: string): Promise<TaskRecord | undefined> {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) return undefined;
  for (const entry of await house.store.list('sandbox/')) {
    if (!entry.key.endsWith(`/task/${id}`)) continue;
    const parsed = taskRecordSchema.safeParse(entry.value);
    if (parsed.success) return parsed.data;
  }
  return undefined;
}

/** Tasks that ran when the last gateway ended. */
export async function unfinishedTasks(house: House): Promise<TaskRecord[]> {
  const found: TaskRecord[] = [];
  for (const entry of await house.store.list('sandbox/')) {
    if (entry.key.split('/')[2] !== 'task') continue;
    const parsed = taskRecordSchema.safeParse(entry.value);
    if (parsed.success && parsed.data.state === 'running') found.push(parsed.data);
  }
  return found;
}

/** The table of a task from the record as it is now. */
export async function tableOf(house: House, task: TaskRecord): Promise<TaskView['table']> {
  const approvals = house.desk.list().filter((approval) => approval.task === task.id);
  const until = task.endedAt === null ? Number.POSITIVE_INFINITY : task.endedAt + lateMs;
  const records = [];
  let after = task.fromSequence;
  try {
    // what the sandbox does meanwhile is not waited for; a page may be shorter than asked for
    const { up, count: end } = await house.record.status();
    if (!up) throw new Error('the ledger is not reachable');
    for (;;) {
      const page = await house.record.tail({ sandbox: task.sandbox, after, limit: pageSize });
      records.push(...page.filter((record) => Number(record['time'] ?? 0) <= until));
      const last = page.at(-1);
      if (!last || sequenceOf(last) >= end || records.length >= maxRecords) return taskTable(records, approvals, records.length >= maxRecords);
      after = sequenceOf(last);
    }
  } catch {
    return taskTable(records, approvals, true);
  }
}

export async function taskView(house: House, task: TaskRecord): Promise<TaskView> {
  const { id, state, text, sha256, startedAt, endedAt, code, by } = task;
  return { id, sandbox: task.sandboxName, state, text, sha256, startedAt, endedAt, code, by, table: await tableOf(house, task) };
}
