/** The table of the proxy beside other ways through, for people: a block for each kind of connection, a row for each size and number of connections, a column for each way. */
import type { Figures } from './figure.ts';

/** Figures of the table say so by their name: `proxy.table.http1.kept.1k.32`, `….rate`, `….cpu`. */
const ofTable = /^proxy\.table\.(http[12])\.(kept|new)\.(1k|100k|1m)\.(\d+)(?:\.(rate|cpu))?$/;
export const isTableCell = (name: string): boolean => ofTable.test(name);

const own = 'searched';
const order = ['direct', 'passthrough', 'intercepted', own];
const bytes: Readonly<Record<string, number>> = { '1k': 1024, '100k': 100 * 1024, '1m': 1 << 20 };
const titles: Readonly<Record<string, string>> = { 'http1 kept': 'HTTP/1.1, kept connections', 'http1 new': 'HTTP/1.1, a new connection for each request', 'http2 kept': 'HTTP/2, kept connections', 'http2 new': 'HTTP/2, a new connection for each request' };

const short = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);

/** Each cell: `p50/p99 ms  requests per second (MB/s from 100 KB on)  µs of CPU time of the proxy`. Undefined where no cell was measured. */
export function proxyTable(figures: Figures): string | undefined {
  const blocks = new Map<string, string[][]>();
  const of = (name: string, way: string): { readonly p50: number; readonly p99: number } | undefined => (way === own ? figures[name] : figures[name]?.peers?.[way]);
  const names = Object.keys(figures).filter((name) => isTableCell(name) && !/\.(?:rate|cpu)$/.test(name));
  if (names.length === 0) return undefined;
  const others = new Set(names.flatMap((name) => Object.keys(figures[name]?.peers ?? {})));
  const ways = [...order.filter((way) => way === own || others.has(way)), ...[...others].filter((way) => !order.includes(way))];
  for (const name of names) {
    const [, version = '', connection = '', size = '', count = ''] = ofTable.exec(name) ?? [];
    const cell = (way: string): string => {
      const time = of(name, way);
      const rate = of(`${name}.rate`, way)?.p50;
      const cpu = of(`${name}.cpu`, way)?.p50;
      if (!time || rate === undefined) return '-';
      const speed = size === '1k' ? `${rate.toFixed(0)}/s` : `${((rate * (bytes[size] ?? 0)) / 1e6).toFixed(0)} MB/s`;
      return `${short(time.p50)}/${short(time.p99)} ${speed}${cpu === undefined ? '' : ` ${cpu.toFixed(0)}µs`}`;
    };
    const title = titles[`${version} ${connection}`] ?? version;
    const rows = blocks.get(title) ?? [['', ...ways]];
    rows.push([`${size} × ${count}`, ...ways.map(cell)]);
    blocks.set(title, rows);
  }
  const all = [...blocks.values()].flat();
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd();
  return [...blocks].map(([title, rows]) => `${title}: p50/p99 ms, rate, CPU time of the proxy per request\n${rows.map(line).join('\n')}`).join('\n\n');
}
