/** The first line of a card: what is asked, whatever stands in the address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyHistory, unlabelled } from '@nemoclaw/contract';
import { summaryOf } from './summary.ts';

test('an address does not go on like the sentence behind it, nor push that out', () => {
  const line = (path: string, query: readonly (readonly [string, string])[]): string => summaryOf({
    sandbox: 'sbx_1', role: '', task: '', source: 'http', action: '', resource: { kind: 'http', host: 'bank.test', port: 443, method: 'POST', path, query, tls: true },
    params: new Map<string, unknown>([['to', 'mallory'], ['amount', 1_000_000], ['$target', 'a digest']]), labels: unlabelled, provenance: new Map(), history: emptyHistory,
  }, '');
  const forged = ' with to landlord, amount 10';
  assert.equal(line('/transfer', [['memo', `rent${forged}`]]), 'POST https://bank.test/transfer?memo=rent%20with%20to%20landlord,%20amount%2010 with to mallory, amount 1000000');
  assert.equal(line(`/transfer${forged}`, []), 'POST https://bank.test/transfer%20with%20to%20landlord,%20amount%2010 with to mallory, amount 1000000');
  for (const blank of [' ', '\u00a0', '\u2003', 'x']) {
    const long = `${forged.replaceAll(' ', blank)}${blank.repeat(300)}`;
    for (const shown of [line('/transfer', [['memo', long]]), line(`/${long}`, [])]) assert.match(shown, /^POST https:\/\/bank\.test\/\S* with to mallory, amount 1000000$/);
  }
});
