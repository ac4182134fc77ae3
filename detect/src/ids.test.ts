/** Cards' numbers among all the other long numbers of everyday traffic. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCardRange, luhn } from './checks.ts';
import { idShapes } from './generate-ids.ts';
import { Random } from './random.ts';
import { scan } from './scan.ts';

/** Classes that are blocked where the policy says nothing, if they are this sure. */
const blocked = new Set(['credit-card', 'us-ssn', 'iban', 'secret']);
const sure = 0.9;
const cards = (text: string): number[] => scan(text).filter(({ type }) => type === 'credit-card').map(({ confidence }) => confidence);

test('of ten thousand ids of a shape, one in a thousand at most is taken for what would be blocked', () => {
  for (const [shape, make] of Object.entries(idShapes)) {
    const random = new Random(20_261);
    let taken = 0;
    for (let n = 0; n < 10_000; n += 1) if (scan(make(random)).some(({ type, confidence }) => blocked.has(type) && confidence >= sure)) taken += 1;
    assert.ok(taken <= 10, `${shape}: ${taken} of 10,000`);
  }
});

test('a number that nothing names is taken for a card by network, length and Luhn digit alone: three in a hundred of those of 16 digits', () => {
  const random = new Random(7);
  let taken = 0;
  for (let n = 0; n < 10_000; n += 1) if (cards(`it was ${random.digits(16)} again`).some((confidence) => confidence >= sure)) taken += 1;
  assert.ok(taken > 200 && taken < 400, `${taken} of 10,000`);
});

test('a card number is sure wherever nothing labels it as another', () => {
  for (const text of [
    '4111111111111111', 'use 4111111111111111 please', '{"n":4111111111111111}', '{"account":"4111111111111111"}', '["4111111111111111"]', 'https://x.test/4111111111111111', 'https://x.test/?c=4111111111111111',
    // What labels another field, line or segment, or stands further off, is not its label.
    '{"id":7,"n":"4111111111111111"}', '{"amount":12.5,"currency":"EUR","n":"4111111111111111"}', 'order 4471\n4111111111111111', 'order_id=4471&n=4111111111111111', 'order 12, paid by 4111111111111111',
    'the order that came last week: 4111111111111111', '{"ids":[1,2],"n":4111111111111111}', 'Jane Doe/4111111111111111/1227', 'GET /x/4111111111111111', '/collect/4111111111111111', 'https://items.test/4111111111111111', 'paid 4111111111111111', '{"valid":"4111111111111111"}',
    // No other number is written as cards are printed.
    'order 4111 1111 1111 1111', '{"id":"4111-1111-1111-1111"}', '/tasks/3782-822463-10005/x', 'ids (4111 1111 1111 1111)',
    // A word for a card outweighs what is no nearer.
    '{"card":"4111111111111111"}', '{"creditCard":"4111111111111111"}', '{"order_id":7,"card_number":4111111111111111}', '/orders/visa/4111111111111111', '{"cc_num":"4111111111111111"}', 'order by card 4111111111111111', '{"pan":["4111111111111111"]}',
  ])
    assert.ok(cards(text).some((confidence) => confidence >= sure), `${text}: ${cards(text).join()}`);
});

test('a card number that is labelled as another is found, and not sure', () => {
  for (const text of [
    '{"id":4111111111111111}', '{"userId":"4111111111111111"}', 'trace_id=4111111111111111', '/api/tasks/4111111111111111', 'https://x.test/a/tasks/4111111111111111/', '{"ids":[12,"4111111111111111"]}', 'id IN (12, 4111111111111111)',
    'Order 4111111111111111', 'tracking number: 4111111111111111', '<id>4111111111111111</id>',
  ])
    assert.deepEqual(cards(text), [0.4], text);
});

test('what a list is labelled as counts for its numbers up to 1,024 characters behind its bracket, each as if nothing had been asked of another', () => {
  const numbers = (n: number): string => Array<string>(n).fill('4111111111111111').join(',');
  for (const [open, inside] of [['{"ids":[', 0.4], ['{"cards":[', 0.99], ['n(', 0.93]] as const) {
    const found = cards(`${numbers(70)},${open}${numbers(70)}],${numbers(70)}`);
    assert.deepEqual(found, Array.from({ length: 210 }, (_, i) => (i >= 70 && i < 131 ? inside : 0.93)), open);
  }
});

test('the ranges of the networks with their lengths; others only beside a word for cards', () => {
  const tested = {
    visa: '4111111111111111', 'visa, 19': '4111111111111111110', mastercard: '5555555555554444', 'mastercard, 2': '2223003122003222', amex: '378282246310005', diners: '30569309025904', discover: '6011111111111117', jcb: '3566002020360505',
    unionpay: '6200000000000005', maestro: '6759649826438453', rupay: '8200000000000001', mir: '2200000000000004', troy: '9792000000000003',
  };
  for (const [network, digits] of Object.entries(tested)) {
    assert.ok(luhn(digits) && isCardRange(digits), network);
    assert.deepEqual(cards(`use ${digits} now`), [0.93], network);
  }
  for (const digits of ['411111111111116', '55555555555544441', '3782822463100054', '1234567812345670', '2721000000000004', '9400111899223100']) assert.ok(!isCardRange(digits), digits);
  assert.deepEqual([cards('use 4222222222222 now'), cards('visa 4222222222222'), cards('use 1234567812345670 now'), cards('card 1234567812345670')], [[], [0.99], [], [0.99]]);
});
