/** With Hyperscan in the thread that inspects long bodies: what the data plane says of a whole body is what it says without. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileKnown } from '@nemoclaw/detect';
import { examine, type Examination } from './examine.ts';
import { inspectAside, prepareInspection } from './inspect-aside.ts';

const found = spawnSync(process.execPath, [join(import.meta.dirname, '../../../../detect/src/hyperscan-setup.ts')], { encoding: 'utf8' });
const skip = found.stdout === '' ? `NOT TESTED, no Hyperscan on this machine: ${found.stderr}` : false;

const settings = { scanForPII: true, actions: { 'credit-card': 'redact', email: 'redact', phone: 'redact', default: 'redact' } } as const;
const known = compileKnown(['a-value-of-the-sandbox']);
const filler = 'The answer is in the handbook, section four; ask the people on the second floor if it is not clear. '.repeat(300);
const values = ['a.person@example.com', '4111 1111 1111 1111', '4111‑1111‑1111‑1111', 'password = "hunter2-and-more"', 'ghp_abcdefghij0123456789abcdefghij012345', 'DE89 3704 0044 0532 0130 00', 'a-value-of-the-sandbox', '+49 30 901820', 'http://user:pass-w0rd@host/', '078-05-1120', '2001:db8::7:1'];
const prose = values.map((value) => `${filler}\n${value}\n`).join('');
const boundary = '--cut';
const bodies: readonly (readonly [string, Buffer])[] = [
  ['text/plain', Buffer.from(filler)],
  ['text/plain', Buffer.from(prose)],
  ['text/plain; charset=utf-16le', Buffer.from(prose, 'utf16le')],
  ['text/plain', Buffer.from(`${prose} café`, 'latin1')],
  ['text/plain', Buffer.from(`${prose}ж😀 ‑ ${prose}`)],
  ['application/json', Buffer.from(JSON.stringify(values.map((value, id) => ({ id, text: `${filler}"${value}"` }))))],
  ['application/json', Buffer.from(JSON.stringify(Array.from({ length: 800 }, (_, id) => ({ id, mail: `user${id}@example.com`, card: '4111 1111 1111 1111' }))))],
  ['application/x-www-form-urlencoded', Buffer.from(new URLSearchParams(Object.fromEntries(values.map((value, i) => [`f${i}`, `${filler} ${value}`]))).toString())],
  ['text/plain', Buffer.from(`${filler} ${Buffer.from(prose).toString('base64')} ${filler}`)],
  ['application/json', Buffer.from(JSON.stringify(values.map((value, id) => ({ id, text: filler, data: Buffer.from(value).toString('base64') }))))],
  ['text/plain', Buffer.from(encodeURIComponent(prose))],
  [`multipart/form-data; boundary=${boundary}`, Buffer.from(values.map((value) => `--${boundary}\r\ncontent-disposition: form-data; name=a\r\n\r\n${filler} ${value}\r\n`).join('').concat(`--${boundary}--\r\n`))],
];

async function sameAsWithout(): Promise<void> {
  for (const [contentType, bytes] of bodies) {
    const what: Examination = { bytes, contentType, known, settings };
    const [aside, here] = [await inspectAside('a', what), examine(what)];
    assert.ok(bytes.length > 16 * 1024, contentType);
    assert.deepEqual(aside.found, here.found, contentType);
    assert.deepEqual(aside.rewritten && Buffer.from(aside.rewritten).toString('latin1'), here.rewritten && Buffer.from(here.rewritten).toString('latin1'), contentType);
  }
}

test('whole bodies: the same findings and the same bytes with Hyperscan as without; a thread that breaks is followed by one without', { skip, timeout: 120_000 }, async () => {
  const told: string[] = [];
  prepareInspection((scanner) => told.push(scanner), found.stdout);
  await sameAsWithout();
  assert.deepEqual(told, ['hyperscan']);
  // What cannot be handed over to the thread has it given up.
  const unfit = { bytes: Buffer.alloc(20_000), contentType: (() => '') as unknown as string, known, settings };
  await assert.rejects(Promise.resolve(inspectAside('a', unfit)));
  assert.deepEqual(told, ['hyperscan', 'typescript']);
  await sameAsWithout();
  assert.deepEqual(told, ['hyperscan', 'typescript']);
});
