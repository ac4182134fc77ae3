import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ocsfClass, type LedgerEvent, type OcsfClassName } from '@nemoclaw/contract';
import { checkLine, noHead, seal } from './chain.ts';
import { controls } from './ocsf.ts';
import { event } from './test-kit.ts';

const start = { chain: 'chain_1', count: 0, head: noHead, typeUid: 0 };
const source = { name: 'worker:1', run: 'r', seq: 1 };
const of = (e: LedgerEvent, state = start): Record<string, unknown> => JSON.parse(seal(e, state, source, 7).line) as Record<string, unknown>;

test('type_uid is class times 100 plus activity, the category is the class by thousands', () => {
  for (const name of Object.keys(ocsfClass) as OcsfClassName[]) {
    const record = of(event('x', { class: name, activity: 4 }));
    assert.equal(record['type_uid'], ocsfClass[name] * 100 + 4);
    assert.equal(record['category_uid'], Math.floor(ocsfClass[name] / 1000));
    assert.ok(String(record['class_name']).length > 3);
  }
});

test('each verdict has its action and disposition, and only monitor mode is not applied', () => {
  const expected = { allow: [1, 1], deny: [2, 2], escalate: [4, 14], approved: [1, 8], rejected: [2, 25], observe: [3, 17] } as const;
  for (const [verdict, [action, disposition]] of Object.entries(expected)) {
    const record = of(event('x', { verdict: verdict as keyof typeof controls, correlation: 'c1' }));
    assert.deepEqual([record['action_id'], record['disposition_id']], [action, disposition]);
    assert.equal((record['policy'] as { is_applied: boolean }).is_applied, verdict !== 'observe');
    assert.equal((record['metadata'] as { correlation_uid: string }).correlation_uid, 'c1');
    assert.deepEqual((record['metadata'] as { profiles: string[] }).profiles, ['record_integrity', 'security_control']);
  }
});

test('a record has the record_integrity shape: genesis without, every other with its predecessor', () => {
  const first = seal(event('one'), start, source, 7);
  assert.equal((JSON.parse(first.line) as { attestation: object }).attestation.hasOwnProperty('prev_event'), false);
  const second = of(event('two'), { chain: 'chain_1', count: 1, head: first.fingerprint, typeUid: first.typeUid }) as {
    attestation: { prev_event: unknown; chain_uid: string; fingerprint: { algorithm_id: number } };
  };
  assert.deepEqual(second.attestation.prev_event, { uid: 'chain_1:1', type_uid: first.typeUid, fingerprint: { algorithm: 'SHA-256', algorithm_id: 3, value: first.fingerprint } });
  assert.equal(second.attestation.chain_uid, 'chain_1');
  assert.equal(second.attestation.fingerprint.algorithm_id, 3);
});

test('what is sealed checks out, whatever words are in it', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('"attestation":{"chain_uid":"chain_1"', ',"fingerprint":{"algorithm":"SHA-256","algorithm_id":3,"value":"x"}', '\\', '\u2028'),
  );
  fc.assert(
    fc.property(text, text, fc.dictionary(text, text), (message, sandbox, data) => {
      const sealed = seal(event(message.toWellFormed(), { sandbox: sandbox.toWellFormed(), data }), { ...start, count: 4, head: 'a'.repeat(64), typeUid: 1 }, source, 7);
      const checked = checkLine(sealed.line);
      assert.equal(checked.fingerprint, sealed.fingerprint);
      assert.equal(checked.sequence, 5);
      assert.equal(checked.previous, 'a'.repeat(64));
    }),
  );
});
