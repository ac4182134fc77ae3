/** Every metric NemoClaw gives, in one table, and the text that Prometheus reads (exposition format 0.0.4). */

export interface Metric {
  readonly type: 'counter' | 'gauge';
  /** One plain sentence. */
  readonly help: string;
  readonly labels: readonly string[];
}

/** Names, types and labels are a promise to whoever watches; docs/metrics.md says the same. */
export const metrics = {
  nemoclaw_build_info: { type: 'gauge', help: 'Always 1; the version stands in the label.', labels: ['version'] },
  nemoclaw_start_time_seconds: { type: 'gauge', help: 'When the gateway was started, in seconds since 1970.', labels: [] },
  nemoclaw_sandboxes: { type: 'gauge', help: 'Sandboxes by state.', labels: ['state'] },
  nemoclaw_seen: { type: 'gauge', help: '1 if the system calls of the sandbox are counted, 0 if not.', labels: ['sandbox'] },
  nemoclaw_syscalls_total: { type: 'counter', help: 'System calls of a sandbox that came to their end, by class of the call and by what became of it.', labels: ['sandbox', 'class', 'verdict'] },
  nemoclaw_tasks_ended_total: { type: 'counter', help: 'Processes and threads of a sandbox that ended.', labels: ['sandbox'] },
  nemoclaw_events_not_told_total: { type: 'counter', help: 'Calls that were counted but have no event of their own: share (more than a sandbox may tell) or ring (the buffer was full).', labels: ['sandbox', 'why'] },
  nemoclaw_waiting: { type: 'gauge', help: 'Calls and requests of a sandbox that wait for a person.', labels: ['sandbox'] },
  nemoclaw_approvals: { type: 'gauge', help: 'Approvals known to the gateway, by state.', labels: ['state'] },
  nemoclaw_decisions_total: { type: 'counter', help: 'Decisions on record since the ledger was started, by layer and verdict.', labels: ['layer', 'verdict'] },
  nemoclaw_record_up: { type: 'gauge', help: '1 if the record can be written, 0 if not.', labels: [] },
  nemoclaw_record_events: { type: 'gauge', help: 'Events on record.', labels: [] },
} as const satisfies Readonly<Record<string, Metric>>;
export type MetricName = keyof typeof metrics;

export interface Sample {
  readonly name: MetricName;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The content type of `exposition`. */
export const expositionType = 'text/plain; version=0.0.4; charset=utf-8';

/** The whole text. Samples of one metric stand together, whatever order they came in. Throws RangeError for labels that are not those of the table, and for a series that comes twice. */
export function exposition(samples: readonly Sample[]): string {
  const lines: string[] = [];
  for (const [name, metric] of Object.entries(metrics)) {
    const own = samples.filter((sample) => sample.name === name);
    if (own.length === 0) continue;
    lines.push(`# HELP ${name} ${metric.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${metric.type}`);
    const seen = new Set<string>();
    for (const sample of own) {
      const line = series(sample, metric.labels);
      if (seen.has(line)) throw new RangeError(`${line} is given twice`);
      seen.add(line);
      lines.push(`${line} ${number(sample.value)}`);
    }
  }
  return lines.map((line) => `${line}\n`).join('');
}

function series(sample: Sample, labels: readonly string[]): string {
  if (Object.keys(sample.labels).sort().join() !== [...labels].sort().join()) throw new RangeError(`${sample.name} has the labels ${labels.join(', ') || 'none'}`);
  if (labels.length === 0) return sample.name;
  const text = labels.map((label) => `${label}="${(sample.labels[label] ?? '').replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`);
  return `${sample.name}{${text.join(',')}}`;
}

function number(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value === Number.POSITIVE_INFINITY ? '+Inf' : value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}
