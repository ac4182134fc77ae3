/** `npm run bench -- [--only NAME…] [--quick | --full] [--json FILE]`: every figure, with its peers in the same run; `--quick` repeats less and leaves out most of the proxy's table. Table on stderr, JSON to FILE or stdout. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { provideBwrap } from './bubblewrap.ts';
import { table, type Figure } from './figure.ts';
import { groups, type Bench } from './groups.ts';
import { buildPrograms } from './programs.ts';
import { isTableCell, proxyTable } from './proxy-table.ts';
import { provideSrt } from './srt.ts';
import { World } from './world.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: 'string', multiple: true }, json: { type: 'string' }, full: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } } });
const only = [...(values.only ?? []), ...positionals];
const isWanted = (name: string): boolean => only.length === 0 || only.some((word) => name === word || name.startsWith(`${word}.`));
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const unknown = only.filter((word) => !groups.some((group) => group.names.some((name) => name === word || name.startsWith(`${word}.`))));
if (unknown.length > 0) {
  say(`error: no such figure: ${unknown.join(', ')}\n  there are: ${groups.flatMap((group) => group.names).filter((name) => !isTableCell(name)).join(', ')}`);
  process.exit(2);
}
if (process.getuid?.() !== 0) {
  say('error: the benchmarks make sandboxes, which needs root\n  fix: run them as root or with sudo');
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), 'nc-bench-'));
let world: Promise<World> | undefined;
let ending: Promise<void> | undefined;
const clean = (): Promise<void> => {
  ending ??= (async () => {
    await world?.then((made) => made.close(), () => undefined);
    rmSync(folder, { recursive: true, force: true });
  })();
  return ending;
};
const ends: (() => void)[] = [];
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const end of ends) end();
    void clean().then(() => process.exit(130));
  });
}

const figures: Record<string, Figure> = {};
const errors: string[] = [];
const load = (): string => loadavg().map((one) => one.toFixed(1)).join(' ');
const note = (): void => {
  if ((loadavg()[0] ?? 0) > availableParallelism() * 0.75) say('note: others use this machine too; the figures say more about that than about NemoClaw');
};
say(`load before: ${load()}`);
note();
try {
  const hasBwrap = await provideBwrap(say);
  if (!hasBwrap) errors.push('bubblewrap is not here: there is nothing to compare with');
  const hasSrt = await provideSrt(say);
  if (!hasSrt) errors.push('srt is not here: some figures have one peer less');
  const programs = await buildPrograms(folder);
  const bench: Bench = {
    programs,
    hasBwrap,
    hasSrt,
    by: (quick, usual, full) => (values.quick ? quick : values.full ? full : usual),
    wants: isWanted,
    say,
    onEnd: (end) => void ends.push(end),
    world: () => {
      if (world === undefined) say('  starting a private instance');
      return (world ??= World.start(programs));
    },
  };
  for (const group of groups) {
    if (ending !== undefined) break;
    const names = (values.quick ? (group.quick ?? group.names) : group.names).filter(isWanted);
    if (names.length === 0) continue;
    say(`... ${names.filter((name) => !isTableCell(name)).join(', ') || 'cells of proxy.table'}`);
    const start = performance.now();
    try {
      const made = await group.run(bench);
      for (const name of names) {
        const figure = made[name];
        if (figure && Number.isFinite(figure.p50) && Number.isFinite(figure.p99)) figures[name] = figure;
        else errors.push(`${name} was not measured`);
      }
    } catch (error) {
      errors.push(`${names.join(', ')}: ${error instanceof Error ? error.message : String(error)}`);
      say(`FAILED ${errors.at(-1)}`);
    }
    say(`ok  ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
} finally {
  await clean();
}

const cells = proxyTable(figures);
if (cells !== undefined) say(`\n${cells}`);
say(`\n${table(Object.fromEntries(Object.entries(figures).filter(([name]) => !isTableCell(name))))}\n\nload after: ${load()}`);
for (const error of errors) say(`error: ${error}`);
const json = `${JSON.stringify(figures, undefined, 2)}\n`;
if (values.json === undefined) process.stdout.write(json);
else writeFileSync(values.json, json);
process.exit(errors.length === 0 ? 0 : 1);
