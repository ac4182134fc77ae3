/** The metrics table: what it writes is what Prometheus reads, and all of it is documented. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readExposition } from './exposition-check.ts';
import { exposition, metrics, type MetricName, type Sample } from './metrics.ts';

const sample = (name: MetricName, value: number, word: string): Sample => ({ name, value, labels: Object.fromEntries(metrics[name].labels.map((label) => [label, word])) });

test('every metric can be written and read back, hostile labels too', () => {
  const hostile = 'a"b\\c\nd{},=#é';
  const samples = (Object.keys(metrics) as MetricName[]).flatMap((name) => (metrics[name].labels.length > 0 ? [sample(name, 1.5, 'plain'), sample(name, 12_345_678_901_234, hostile)] : [sample(name, 7, '')]));
  const read = readExposition(exposition(samples.toReversed()));
  assert.equal(read.samples.length, samples.length);
  for (const one of samples) {
    const found = read.samples.find((other) => other.name === one.name && other.value === one.value);
    assert.deepEqual(Object.fromEntries(found?.labels ?? []), one.labels, one.name);
    assert.equal(read.types.get(one.name), metrics[one.name].type);
    assert.equal(read.help.get(one.name), metrics[one.name].help);
  }
});

test('labels that are not of the table, and a series twice, are refused', () => {
  assert.throws(() => exposition([{ name: 'nemoclaw_record_up', labels: { a: 'b' }, value: 1 }]), RangeError);
  assert.throws(() => exposition([{ name: 'nemoclaw_seen', labels: {}, value: 1 }]), RangeError);
  assert.throws(() => exposition([sample('nemoclaw_seen', 1, 'x'), sample('nemoclaw_seen', 2, 'x')]), RangeError);
});

test('counters end in _total, gauges do not; every name begins with nemoclaw_', () => {
  for (const [name, { type }] of Object.entries(metrics)) {
    assert.match(name, /^nemoclaw_[a-z_]+$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
  }
});

test('docs/metrics.md has each metric with its type, labels and sentence, and no other', () => {
  const text = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(nemoclaw_[a-z_]+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$/gm)].map(([, name, type, labels, help]) => ({ name, type, labels: labels?.trim(), help: help?.trim() }));
  assert.deepEqual(rows, Object.entries(metrics).map(([name, m]) => ({ name, type: m.type, labels: m.labels.map((label) => `\`${label}\``).join(', '), help: m.help })));
});

test('the checker refuses what Prometheus refuses', () => {
  for (const bad of ['a 1', 'a{b=c} 1\n', 'a{b="c} 1\n', 'a{b="\\x"} 1\n', '1a 1\n', 'a one\n', 'a  1\n', 'a 1\na 1\n', '# TYPE a thing\n', 'a 1\n# TYPE a counter\n', '# TYPE a counter\n# TYPE a counter\n', 'a 1\nb 1\na{x="y"} 1\n', 'a{b="1",b="2"} 1\n', 'a{b="1"c="2"} 1\n']) assert.throws(() => readExposition(bad), Error, bad);
});
