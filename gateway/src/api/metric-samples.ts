/** The values of the metrics table as they are now. */
import { approvalStates, callClass, callClasses, noCalls, plus, sandboxStates, seenVerdicts, type CallClass, type SeenCounts, type SeenView } from '@nemoclaw/contract';
import type { MetricName, Sample } from '@nemoclaw/ledger';
import type { House } from '../house.ts';
import { seenViews } from './seen-views.ts';

export async function metricSamples(house: House): Promise<Sample[]> {
  const [views, record] = await Promise.all([seenViews(house), house.record.status()]);
  const one = (name: MetricName, value: number, labels: Readonly<Record<string, string>> = {}): Sample => ({ name, labels, value });
  const states = house.sandboxes.all().map((live) => live.record.value.state);
  return [
    one('nemoclaw_build_info', 1, { version: house.settings.version }),
    one('nemoclaw_start_time_seconds', house.startedAt / 1000),
    ...sandboxStates.map((state) => one('nemoclaw_sandboxes', states.filter((is) => is === state).length, { state })),
    ...views.flatMap((view) => ofSandbox(view, one)),
    ...approvalStates.map((state) => one('nemoclaw_approvals', house.desk.list(state).length, { state })),
    ...Object.entries(record.decisions ?? {}).map(([decision, count]) => {
      const [layer = '', verdict = ''] = decision.split(' ');
      return one('nemoclaw_decisions_total', count, { layer, verdict });
    }),
    one('nemoclaw_record_up', record.up ? 1 : 0),
    one('nemoclaw_record_events', record.count),
  ];
}

function ofSandbox({ sandbox, report, waiting }: SeenView, one: (name: MetricName, value: number, labels: Readonly<Record<string, string>>) => Sample): Sample[] {
  const out = [one('nemoclaw_seen', report ? 1 : 0, { sandbox }), one('nemoclaw_waiting', waiting, { sandbox })];
  if (!report) return out;
  const classes = new Map<CallClass, SeenCounts>(callClasses.map((name) => [name, noCalls]));
  for (const [call, counts] of Object.entries(report.counts)) {
    const name = callClass(call);
    classes.set(name, plus(classes.get(name) ?? noCalls, counts));
  }
  for (const [name, counts] of classes) seenVerdicts.forEach((verdict, i) => out.push(one('nemoclaw_syscalls_total', counts[i] ?? 0, { sandbox, class: name, verdict })));
  out.push(one('nemoclaw_tasks_ended_total', report.ended, { sandbox }));
  out.push(one('nemoclaw_events_not_told_total', report.withheld, { sandbox, why: 'share' }), one('nemoclaw_events_not_told_total', report.ringFull, { sandbox, why: 'ring' }));
  return out;
}
