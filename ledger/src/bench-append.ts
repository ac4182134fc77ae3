/** Measures the way into the record as a source sees it: over a real socket pair to a real writer process, redaction, chain and sync included. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LedgerEvent, Figure } from '@nemoclaw/contract';
import { LinkSink } from './link-sink.ts';

/** Runs a writer process on a folder and gives its link to `work`; resolves when the writer has ended. */
export async function withWriter<T>(dir: string, work: (link: Duplex) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./bench-writer.ts', import.meta.url)), dir], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const link = child.stdio[3] as unknown as Duplex;
  try {
    return await work(link);
  } finally {
    link.destroy();
    await ended;
  }
}

/** A source; `onRefused` is called where its buffer is full. */
export function sinkOf(onRefused: () => void): LinkSink {
  return new LinkSink({
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    ids: { next: (prefix) => `${prefix}_${randomBytes(8).toString('hex')}` },
    onAuditFailure: ({ refusing }) => void (refusing && onRefused()),
  });
}

/** `ledger.append` in µs (time `emit` takes, 5,000 events a second in bursts of ten), `ledger.commit` in ms (until durable, one at a time). */
export async function benchAppend(n = 20_000, commits = 500): Promise<Readonly<Record<'ledger.append' | 'ledger.commit', Figure>>> {
  const dir = mkdtempSync(join(tmpdir(), 'ledger-bench-'));
  try {
    return await withWriter(dir, (link) => measure(link, n, commits));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function measure(link: Duplex, n: number, commits: number): Promise<Readonly<Record<'ledger.append' | 'ledger.commit', Figure>>> {
  let refused = 0;
  const sink = sinkOf(() => (refused += 1));
  sink.attach(link);
  await sink.commit(sample(0));
  const append: number[] = [];
  for (let i = 0; i < n; i += 10) {
    for (let k = 0; k < 10; k += 1) {
      const event = sample(i + k);
      const t = process.hrtime.bigint();
      sink.emit(event);
      append.push(Number(process.hrtime.bigint() - t) / 1e3);
    }
    await sleep(2);
  }
  const commit: number[] = [];
  for (let i = 0; i < commits; i += 1) {
    const t = process.hrtime.bigint();
    await sink.commit(sample(i));
    commit.push(Number(process.hrtime.bigint() - t) / 1e6);
  }
  if (refused > 0) throw new Error(`the buffer was full ${refused} times: the figure would not count`);
  // The first tenth warms the compiler up on both sides.
  return { 'ledger.append': figure(append.slice(n / 10), 'us'), 'ledger.commit': figure(commit.slice(commits / 10), 'ms') };
}

export function figure(values: number[], unit: string): Figure {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number): number => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) * 1000) / 1000;
  return { p50: at(0.5), p99: at(0.99), unit, n: sorted.length };
}

/** A proxy's event of usual size. */
export function sample(i: number): LedgerEvent {
  return {
    time: 1_700_000_000_000 + i,
    class: 'httpActivity',
    activity: 3,
    severity: 1,
    sandbox: 'sbx_0f3c2a',
    layer: 'proxy',
    message: `GET https://crm.internal/customers/${i} was allowed`,
    verdict: 'allow',
    decision: { action: 'crm.read', rules: [{ id: 'egress.allow[3]', file: 'network.yaml', line: 17 }], reason: 'The rule allows GET on this host.', policyVersion: 4, decidedBy: 'table', micros: 3 },
    correlation: `req_${i}`,
    data: { method: 'GET', host: 'crm.internal', path: `/customers/${i}`, status: 200, bytesOut: 412, bytesIn: 2048, ms: 3.1 },
  };
}
