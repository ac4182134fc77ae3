/** Tables: aligned columns with a heading, as wide as the terminal, for a person; tab-separated values for a pipe. */
import { wantsColour, type CliContext } from './context.ts';

/**
 * `rows` hold plain text; a cell is shown as it is, so agent-supplied text must be made safe before. A pipe gets every cell whole.
 * A terminal gets no column in which nothing is said, and its widest columns are cut (`…`) until a line fits.
 */
export function table(context: CliContext, heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const { isTTY, columns } = context.world.stdout;
  if (!isTTY) return rows.map((row) => row.map((cell) => cell.replaceAll('\t', ' ')).join('\t')).join('\n');
  const said = heading.map((_, column) => column === 0 || rows.some((row) => !['', '-'].includes(row[column] ?? '')));
  const all = [heading, ...rows].map((row) => heading.map((_, column) => row[column] ?? '').filter((_, column) => said[column]));
  const widths = fitted(
    (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => width(row[column] ?? '')))),
    columns,
  );
  const lines = all.map((row) =>
    row
      .map((cell, column) => padded(cell, widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const first = lines[0] ?? '';
  return [wantsColour(context) ? `\u001b[2m${first}\u001b[0m` : first, ...lines.slice(1)].join('\n');
}

/** Narrower than this no column becomes: less of a text says nothing. */
const narrowest = 16;

/** Widths of the columns with two spaces between them, the widest made narrower until they fit into `columns`. */
function fitted(widths: readonly number[], columns: number | undefined): number[] {
  const left = [...widths];
  let over = columns ? left.reduce((sum, one) => sum + one + 2, -2) - columns : 0;
  for (; over > 0; over -= 1) {
    const widest = left.indexOf(Math.max(...left));
    if ((left[widest] ?? 0) <= narrowest) break;
    left[widest] = (left[widest] ?? 0) - 1;
  }
  return left;
}

/** Texts with colour codes are ours and short; they are never cut. */
function padded(cell: string, to: number): string {
  const is = width(cell);
  if (is <= to) return cell + ' '.repeat(to - is);
  return cell.includes('\u001b') ? cell : `${[...cell].slice(0, to - 1).join('')}…`;
}

/** `text` in lines of at most `columns`, broken at spaces where there is one; lines after the first begin with `indent`. Without `columns`, as it is. */
export function wrapped(text: string, columns: number | undefined, indent: string): string {
  if (!columns || columns < indent.length + 20) return text;
  const lines: string[] = [];
  let rest = [...text];
  while (rest.length > columns) {
    const space = rest.lastIndexOf(' ', columns);
    const at = space > indent.length ? space : columns;
    lines.push(rest.slice(0, at).join(''));
    rest = [...indent, ...rest.slice(space === at ? at + 1 : at)];
  }
  return [...lines, rest.join('')].join('\n');
}

/** Columns a text takes: code points without colour codes, which is right for what the product itself writes. */
function width(text: string): number {
  return [...text.replaceAll(/\u001b\[\d+m/g, '')].length;
}

/** `3 minutes ago` in the shortest form: 5s, 3m, 2h, 4d. */
export function age(now: number, then: number): string {
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}

/** Time until `then`, as m:ss or h:mm:ss; `over` if it has passed. */
export function remaining(now: number, then: number): string {
  const seconds = Math.round((then - now) / 1000);
  if (seconds <= 0) return 'over';
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  const two = (n: number): string => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
