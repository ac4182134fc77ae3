/** Tables: aligned columns with a heading for a person, tab-separated values for a pipe. */
import { wantsColour, type CliContext } from './context.ts';

/** `rows` hold plain text; a cell is shown as it is, so agent-supplied text must be made safe before. */
export function table(context: CliContext, heading: readonly string[], rows: readonly (readonly string[])[]): string {
  if (!context.world.stdout.isTTY) return rows.map((row) => row.map((cell) => cell.replaceAll('\t', ' ')).join('\t')).join('\n');
  const all = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ''))));
  const lines = all.map((row) =>
    row
      .map((cell, column) => (column === heading.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd(),
  );
  const first = lines[0] ?? '';
  return [wantsColour(context) ? `\u001b[2m${first}\u001b[0m` : first, ...lines.slice(1)].join('\n');
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
