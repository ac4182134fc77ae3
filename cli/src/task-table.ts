/** What happened in a task: one row for what was seen, with verdict, rule and the layer that decided. */
import type { TaskTable } from '@nemoclaw/contract';
import type { CliContext } from './context.ts';
import { table } from './table.ts';
import { mark } from './verdict-mark.ts';

/** The table as text, agent-supplied text escaped again here: what is shown is decided where it is shown. */
export async function taskTableText(context: CliContext, { rows, totals, incomplete }: TaskTable): Promise<string> {
  const { safeLine } = await import('@nemoclaw/contract');
  const lines: string[] = [];
  if (rows.length > 0) {
    lines.push(
      table(
        context,
        ['VERDICT', 'LAYER', 'WHAT', 'RULE'],
        rows.map((row) => [
          mark(context, row.verdict).trimStart(),
          row.layer,
          `${row.count > 1 ? `${row.count}× ` : ''}${safeLine(row.what, 160)}`,
          row.rule === '' ? '-' : `${safeLine(row.rule, 80)}${row.at === '' ? '' : ` (${safeLine(row.at, 80)})`}`,
        ]),
      ),
    );
  }
  const counted = Object.entries(totals).filter(([, count]) => count > 0);
  lines.push(counted.length === 0 ? 'Nothing was decided in this task.' : `Total: ${counted.map(([verdict, count]) => `${count} ${verdict}`).join(', ')}`);
  if (incomplete) lines.push('The record could not be read whole: this table may lack rows.');
  return lines.join('\n');
}
