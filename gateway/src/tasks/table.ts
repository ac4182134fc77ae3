/** The table a run ends with: what was allowed, denied and held, by which rule and layer, read from the record. */
import { safeLine, shownVerdicts, type ApprovalView, type ShownVerdict, type TaskTable } from '@nemoclaw/contract';
import type { OcsfRecord } from '../backend.ts';

type Row = TaskTable['rows'][number];

const shownState: Readonly<Record<ApprovalView['state'], ShownVerdict>> = {
  waiting: 'Waiting',
  approved: 'Approved',
  granted: 'Approved',
  rejected: 'Rejected',
  expired: 'Expired',
  withdrawn: 'Withdrawn',
};

/** An object of unknown shape as a lookup that never touches a prototype. */
function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** What was seen, without the verdict and its reason: a row says both in its other columns. */
function withoutVerdict(message: string, reason: string): string {
  for (const end of [`: ${reason}`, ': allowed', ': denied']) if (end.length > 2 && message.length > end.length && message.endsWith(end)) return message.slice(0, -end.length);
  return message;
}

/** One row for a record, or undefined if nothing was decided in it. Approvals have one row each, with their latest state. */
function rowOf(record: OcsfRecord, approvals: ReadonlyMap<string, ApprovalView>): (Row & { readonly key: string }) | undefined {
  const unmapped = at(record, 'unmapped');
  const verdict = text(at(unmapped, 'verdict'));
  const layer = text(at(unmapped, 'layer'));
  const data = at(unmapped, 'data');
  const decision = at(unmapped, 'decision');
  const rule = Array.isArray(at(decision, 'rules')) ? (at(decision, 'rules') as unknown[])[0] : at(data, 'rule');
  const file = text(at(rule, 'file'));
  const approval = approvals.get(text(at(data, 'approvalId')) || text(at(at(record, 'metadata'), 'correlation_uid')));
  const base = {
    time: number(at(record, 'time')),
    what: safeLine(withoutVerdict(text(at(record, 'message')), text(at(decision, 'reason')))),
    rule: safeLine(text(at(rule, 'id')), 200),
    at: file === '' ? '' : `${safeLine(file, 200)}:${number(at(rule, 'line'))}`,
    layer,
    count: Math.max(1, number(at(data, 'count'))),
  };
  if (approval && layer === 'approval') {
    return { ...base, what: approval.card.summary, verdict: shownState[approval.state], approvalId: approval.id, count: 1, key: `approval ${approval.id}` };
  }
  // The holder's own note of a held request says nothing that the approval's row does not say.
  if (verdict === 'escalate' || layer === 'approval') return undefined;
  if (verdict !== 'allow' && verdict !== 'deny') return undefined;
  const shown: ShownVerdict = verdict === 'allow' ? 'Allowed' : 'Denied';
  return { ...base, verdict: shown, approvalId: '', key: JSON.stringify([shown, layer, base.what, base.rule]) };
}

/** Rows in the order in which each first happened; equal ones are counted. `incomplete`: some of the record could not be read. */
export function taskTable(records: readonly OcsfRecord[], approvals: readonly ApprovalView[], incomplete: boolean): TaskTable {
  const byId = new Map(approvals.map((approval) => [approval.id, approval]));
  const rows = new Map<string, Row>();
  for (const record of records) {
    const found = rowOf(record, byId);
    if (!found) continue;
    const { key, ...row } = found;
    const same = rows.get(key);
    if (!same) rows.set(key, row);
    else if (row.approvalId === '') rows.set(key, { ...same, count: same.count + row.count });
  }
  const totals = Object.fromEntries(shownVerdicts.map((verdict) => [verdict, 0])) as Record<ShownVerdict, number>;
  for (const row of rows.values()) totals[row.verdict] += row.count;
  return { rows: [...rows.values()], totals, incomplete };
}
