/** The table of a task: one row for what was seen, verdicts and reasons in their own columns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OcsfRecord } from '../backend.ts';
import { taskTable } from './table.ts';

const record = (verdict: string, message: string, reason: string): OcsfRecord =>
  ({ time: 1, message, unmapped: { verdict, layer: 'proxy', decision: { reason, rules: [{ id: 'egress.allow[0]', file: 'network.yaml', line: 5 }] } } }) as unknown as OcsfRecord;

test('a row names what was seen; equal ones are counted, nothing else is repeated', () => {
  const { rows, totals } = taskTable(
    [
      record('allow', 'GET https://a.example/x: allowed', 'a.example is allowed.'),
      record('allow', 'GET https://a.example/x: allowed', 'a.example is allowed.'),
      record('deny', 'DNS question for b.example: b.example is not among the allowed hosts.', 'b.example is not among the allowed hosts.'),
      record('deny', 'open /etc/shadow refused', ''),
      record('escalate', 'waits', ''),
    ],
    [],
    false,
  );
  assert.deepEqual(
    rows.map(({ verdict, what, count, at }) => [verdict, what, count, at]),
    [
      ['Allowed', 'GET https://a.example/x', 2, 'network.yaml:5'],
      ['Denied', 'DNS question for b.example', 1, 'network.yaml:5'],
      ['Denied', 'open /etc/shadow refused', 1, 'network.yaml:5'],
    ],
  );
  assert.deepEqual([totals.Allowed, totals.Denied, totals.Waiting], [2, 2, 0]);
});
