/** With Hyperscan before it the scanner says what it says without. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { generateDocuments, makers } from './generate.ts';
import { fetchHyperscan } from './hyperscan-setup.ts';
import { loadHyperscan } from './hyperscan.ts';
import { Random } from './random.ts';
import { scan } from './scan.ts';

let reason = '';
const hyperscan = fetchHyperscan((why) => (reason = why));

test('the same findings with Hyperscan as without it', { skip: hyperscan ? false : `NOT TESTED, no Hyperscan on this machine: ${reason}` }, () => {
  const same = (text: string): void => {
    const bytes = Buffer.from(text);
    assert.deepEqual(hyperscan?.scan(bytes), scan(bytes), text.length < 500 ? text : undefined);
  };
  for (const seed of [3, 9]) same(generateDocuments(seed, 3000).map(({ text }) => text).join('\n '));
  const packages = join(import.meta.dirname, '../../node_modules');
  for (const folder of ['zod', 'undici', 'typescript']) {
    const files = readdirSync(join(packages, folder), { recursive: true, encoding: 'utf8' }).filter((name) => /\.(?:[cm]?js|md|d\.ts)$/.test(name)).slice(0, 60);
    for (const file of files) same(readFileSync(join(packages, folder, file), 'latin1').slice(0, 300_000));
  }
  const value = fc.tuple(fc.constantFrom<keyof typeof makers>('email', 'credit-card', 'us-ssn', 'iban', 'ip', 'phone', 'secret'), fc.nat()).map(([kind, seed]) => makers[kind](new Random(seed)));
  const piece = fc.constantFrom(
    ' ', '\n', '"', ',', ';', ' the ', 'password', 'PASSWORD ', 'key', ': ', '=', '"d":"', '{"kty":"OKP"}', 'curl -u a:', "identified by '", '://u;v:w@', 'http://', '-----BEGIN PRIVATE KEY-----', '-----END PRIVATE KEY-----',
    'Authorization: Bearer ', 'fe80::1:2', '1.2.3.4', '12', '4111 ', 'DE89', 'x', 'ghp_', 'é', '@', 'a@b.co', '-', '+49 ', '(', ')', 'token_', "'", '\\"', 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
  );
  fc.assert(fc.property(fc.array(fc.oneof(piece, value, fc.stringMatching(/^[0-9 .()/+-]{0,24}$/)), { maxLength: 30 }), (parts) => same(parts.join(''))), { numRuns: 3000 });
});

test('without the library or koffi there is none, and the reason is told', () => {
  let told = '';
  assert.equal(loadHyperscan((why) => (told = why), 'no-such-package-as-this'), undefined);
  assert.match(told, /^Hyperscan is not used: /);
});
