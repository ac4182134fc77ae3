/** `verify-main --ledger DIR --checkpoints DIR [--json]`: says whether a record is whole; exit 0 whole, 1 not, 2 usage. */
import { parseArgs } from 'node:util';
import { verifyLedger, type Report } from './verify.ts';

function main(args: string[]): number {
  let values: { ledger?: string; checkpoints?: string; json?: boolean };
  try {
    values = parseArgs({ args, options: { ledger: { type: 'string' }, checkpoints: { type: 'string' }, json: { type: 'boolean' } } }).values;
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
  if (values.ledger === undefined || values.checkpoints === undefined) return usage('--ledger and --checkpoints are needed');
  const started = process.hrtime.bigint();
  const onProgress = (done: number, total: number): void => {
    if (process.hrtime.bigint() - started > 1_000_000_000n) process.stderr.write(`checked ${done} of ${total} files\n`);
  };
  let report: Report;
  try {
    report = verifyLedger({ dir: values.ledger, checkpoints: values.checkpoints, onProgress });
  } catch (error) {
    process.stderr.write(`error: the record cannot be read\n  why: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
  process.stdout.write(values.json === true ? `${JSON.stringify(report)}\n` : render(report));
  return report.ok ? 0 : 1;
}

function usage(why: string): number {
  process.stderr.write(`error: ${why}\nusage: verify-main --ledger DIR --checkpoints DIR [--json]\n`);
  return 2;
}

function render(report: Report): string {
  const lines = report.findings.map((f) => `${f.kind}: ${f.file}:${f.line}: sequence ${f.sequence}: ${f.what}`);
  if (report.more > 0) lines.push(`and ${report.more} more`);
  const { signed, lastCount } = report.checkpoints;
  lines.push(`${report.ok ? 'whole' : 'NOT whole'}: ${report.records} records in ${report.segments} files, ${signed} checkpoints up to record ${lastCount}, ${report.unsigned} records not yet signed`);
  if (report.unfinished > 0) lines.push(`note: ${report.unfinished} bytes after the last whole record (being written, or left by a crash)`);
  return `${lines.join('\n')}\n`;
}

process.exitCode = main(process.argv.slice(2));
