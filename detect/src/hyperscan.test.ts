/** With Hyperscan before it the scanner says what it says without. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { generateDocuments, makers } from './generate.ts';
import { findHyperscan } from './hyperscan-setup.ts';
import { fastestScan, loadHyperscan } from './hyperscan.ts';
import { Random } from './random.ts';
import { scan } from './scan.ts';

let reason = '';
const tell = (why: string): void => void (reason = why);
const library = findHyperscan(tell);
// Asked about every text, however short; as the data plane asks it, about long ones.
const hyperscan = library === undefined ? undefined : loadHyperscan(tell, library, 1);
const skip = hyperscan ? false : `NOT TESTED, no Hyperscan on this machine: ${reason}`;

test('the same findings with Hyperscan as without it', { skip }, () => {
  const same = (text: string): void => {
    for (const input of [text, Buffer.from(text)]) assert.deepEqual(hyperscan?.(input), scan(input), text.length < 500 ? text : undefined);
  };
  const long = '\nNothing is written here that anybody would look for, and it goes on for a while. '.repeat(20);
  for (const seed of [3, 9]) for (const between of ['\n ', long, `${long}“‑”`]) same(generateDocuments(seed, 3000).map(({ text }) => text).join(between));
  // Only the marks between the digits say where to look.
  for (const mark of ['\u00a0', '\u2007', '\u202f', '\u2011', '\u2013']) {
    const text = `${long}4111${mark}1111${mark}1111${mark}1111${long}`;
    same(text);
    assert.equal(hyperscan?.(text).length, 1, mark);
  }
  const packages = join(import.meta.dirname, '../../node_modules');
  for (const folder of ['zod', 'undici', 'typescript']) {
    const files = readdirSync(join(packages, folder), { recursive: true, encoding: 'utf8' }).filter((name) => /\.(?:[cm]?js|md|d\.ts)$/.test(name)).slice(0, 60);
    for (const file of files) same(readFileSync(join(packages, folder, file), 'latin1').slice(0, 300_000));
  }
  const value = fc.tuple(fc.constantFrom<keyof typeof makers>('email', 'credit-card', 'us-ssn', 'iban', 'ip', 'phone', 'secret'), fc.nat()).map(([kind, seed]) => makers[kind](new Random(seed)));
  const piece = fc.constantFrom(
    ' ', '\n', '"', ',', ';', ' the ', 'password', 'PASSWORD ', 'key', ': ', '=', '"d":"', '{"kty":"OKP"}', 'curl -u a:', "identified by '", '://u;v:w@', 'http://', '-----BEGIN PRIVATE KEY-----', '-----END PRIVATE KEY-----',
    'Authorization: Bearer ', 'fe80::1:2', '1.2.3.4', '12', '4111 ', 'DE89', 'x', 'ghp_', 'é', '‑', '–', '\u00a0', '\u2007', '\u202f', '‱', 'ж', '😀', '\u0130', '@', 'a@b.co', '-', '+49 ', '(', ')', 'token_', "'", '\\"', 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
  );
  fc.assert(fc.property(fc.array(fc.oneof(piece, value, fc.stringMatching(/^[0-9 .()/+\u00a0\u2007\u202f\u2011\u2013-]{0,24}$/)), { maxLength: 30 }), (parts) => same(parts.join(''))), { numRuns: 3000 });
});

test('a value in a text of nothing but beginnings is found, and known values are', { skip }, () => {
  const begins = 'password=1 4111 1111 http://a:b '.repeat(20_000);
  for (const text of [`${begins} mail a.person@example.com`, `mail a.person@example.com ${begins}`, begins]) assert.deepEqual(hyperscan?.(text), scan(text));
  for (const user of ['a,key', 'a;token', 'a,4111 1111 1111 1111', '{a},10.0.0.1:1']) {
    const text = `${'x '.repeat(5000)}https://${user.replaceAll(' ', '')}:pass-w0rd@host/`;
    assert.deepEqual(hyperscan?.(text), scan(text), user);
    assert.ok(scan(text).some(({ kind }) => kind === 'url-userinfo') || user.startsWith('{'), user);
  }
  const known = ['the-value-nobody-may-see'];
  const text = `${'x '.repeat(5000)}the-value-nobody-may-see`;
  assert.deepEqual(hyperscan?.(text, { known }), scan(text, { known }));
  assert.equal(hyperscan?.(text, { known }).length, 1);
});

test('a library that is not there, is another one, finds nothing or fails: the scanner does it all, and who asks is told once', () => {
  const folder = mkdtempSync(join(tmpdir(), 'not-hyperscan-'));
  try {
    const made = (name: string, first: number, later: number): string => {
      const source = join(folder, `${name}.c`);
      writeFileSync(source, `static int asked; int hs_compile_multi(void) { return 0; } int hs_alloc_scratch(void) { return 0; } int hs_scan(void) { return asked++ ? ${later} : ${first}; }`);
      execFileSync('gcc', ['-shared', '-fPIC', '-o', join(folder, name), source]);
      return join(folder, name);
    };
    const text = `${'words and words '.repeat(1000)} a.person@example.com`;
    for (const [name, use] of [['nowhere', 'no-such-library.so.5'], ['another', 'libc.so.6'], ['finds nothing', made('blind.so', 0, 0)], ['fails', made('failing.so', -3, -1)]] as const) {
      const told: string[] = [];
      const search = fastestScan((scanner, why) => told.push(why === '' ? scanner : `${scanner}, told why`), use);
      for (let times = 0; times < 3; times += 1) assert.deepEqual(search(text), scan(text), name);
      assert.deepEqual(told, name === 'fails' ? ['hyperscan', 'typescript, told why'] : ['typescript, told why'], name);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
