/** `npm run evaluate [-- --data DIR] [--json FILE]`: accuracy of the detectors, on generated values never seen before, or on a labelled set. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { evaluate } from '@nemoclaw/detect';

const { values } = parseArgs({ options: { data: { type: 'string' }, json: { type: 'string' } } });
const all = evaluate(values.data).find((score) => score.type === 'all');
if (all === undefined) throw new Error('the evaluation gave no total');
if (values.json !== undefined) {
  const n = all.truePositives + all.falseNegatives;
  const figure = (p50: number): object => ({ p50, unit: 'ratio', n });
  writeFileSync(values.json, `${JSON.stringify({ 'pii.precision': figure(all.precision), 'pii.recall': figure(all.recall) }, null, 2)}\n`);
}
