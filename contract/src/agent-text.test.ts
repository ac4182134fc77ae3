/** Text from an agent cannot play tricks on the person who reads it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { safeBlock, safeLine } from './agent-text.ts';

test('control, bidi, zero-width, tag and filler characters are shown, plain text stays', () => {
  for (const bad of ['\u001b[2J', 'a\rb', 'x\u202Egnp.exe', 'pay\u200Bpal', 'a\u2066b\u2069', '\u{E0041}', '\uFEFF', '\u3164', 'a\u00A0b', '\u0085', '\u2028', '\uD800', '\u00AD', 'a\nb', 'e\u0301\u0301\u0301\u0301\u0301\u0301'])
    assert.match(safeLine(bad), /\\u\{[0-9a-f]+\}/, JSON.stringify(bad));
  for (const good of ['Delete 214 records', 'Grüße, 你好, привет', 'naïve café', '“quoted” — 5 €', '👍', 'नमस्ते'])
    assert.equal(safeLine(good), good);
});

test('escaping twice changes nothing and long text says what is missing', () => {
  const once = safeLine('a\u202Eb\u0000');
  assert.equal(safeLine(once), once);
  assert.equal(safeLine('x'.repeat(12), 10), `${'x'.repeat(10)}… (2 more)`);
  assert.equal(safeBlock('a\u0007\nb'), 'a\\u{7}\nb');
});
