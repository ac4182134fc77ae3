import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesOf, classOf, dash } from './characters.ts';
import { score } from './evaluate.ts';
import type { FindingType } from './finding.ts';
import { generateDocuments, makers } from './generate.ts';
import { Random } from './random.ts';
import { redact, redactForCard, shownOnCards } from './redact.ts';
import { pass } from './pass.ts';
import { Runs } from './runs.ts';
import { scan } from './scan.ts';

/** `type:value` of everything found. */
const found = (text: string): string[] => scan(text).map(({ type, start, end }) => `${type}:${text.slice(start, end)}`);

test('each type is found by its own form', () => {
  const cases: readonly (readonly [string, FindingType, string])[] = [
    ['mail <jörg.o@sub.example.co.uk>, thanks', 'email', 'rg.o@sub.example.co.uk'],
    ['write to a_b+c@example.org.', 'email', 'a_b+c@example.org'],
    ['card 4111 1111 1111 1111 exp', 'credit-card', '4111 1111 1111 1111'],
    ...['\u00a0', '\u2007', '\u202f', '\u2011', '\u2013'].map((mark) => [`paid with 4111${mark}1111${mark}1111${mark}1111 today`, 'credit-card', `4111${mark}1111${mark}1111${mark}1111`] as const),
    ['"pan":"378282246310005"', 'credit-card', '378282246310005'],
    ['==4088995790328921840==', 'credit-card', '4088995790328921840'],
    ['ssn 123-45-6789', 'us-ssn', '123-45-6789'],
    ['SSN: 123456789.', 'us-ssn', '123456789'],
    // What is cut where the words before it are no longer looked at is no word: "ring" would say that a phone number follows.
    [`a: String ${'.'.repeat(42)} 536-90-4399`, 'us-ssn', '536-90-4399'],
    ['to DE89 3704 0044 0532 0130 00 now', 'iban', 'DE89 3704 0044 0532 0130 00'],
    ['iban gb82west12345698765432', 'iban', 'gb82west12345698765432'],
    ['from 203.0.113.77:443', 'ip', '203.0.113.77'],
    ['from [2001:db8:85a3::8a2e:370:7334]', 'ip', '2001:db8:85a3::8a2e:370:7334'],
    ['call +44 (0)20 7946 0018 or', 'phone', '+44 (0)20 7946 0018'],
    ['(415) 555-2671x12', 'phone', '(415) 555-2671x12'],
    ['reach me at 0341 8387176', 'phone', '0341 8387176'],
    ['AWS AKIAIOSFODNN7EXAMPLE here', 'secret', 'AKIAIOSFODNN7EXAMPLE'],
    ['t=ghp_16C7e42F292c6912E7710c838347Ae178B4a', 'secret', 'ghp_16C7e42F292c6912E7710c838347Ae178B4a'],
    ['password = "correct horse 9"', 'secret', 'correct horse 9'],
    ['DB_PASSWORD=s3cr3t-value\nX=1', 'secret', 's3cr3t-value'],
    ['{"client_secret": "abcd-efgh"}', 'secret', 'abcd-efgh'],
    ['{\\"api_key\\": \\"abcd1234\\"}', 'secret', 'abcd1234'],
    ['Authorization: Bearer abc.def-ghi_123', 'secret', 'abc.def-ghi_123'],
    ['postgres://app:p4ss%21word@db.internal:5432/x', 'secret', 'p4ss%21word'],
    ["CREATE USER a IDENTIFIED BY 'hunter2hunter'", 'secret', 'hunter2hunter'],
    ["ALTER ROLE a WITH PASSWORD 's3cr3t-pw';", 'secret', 's3cr3t-pw'],
    ['curl -s -u admin:tr0ub4dor https://example.org', 'secret', 'tr0ub4dor'],
    ['curl -u admin:tr0ub4dor https://example.org', 'secret', 'tr0ub4dor'],
    ['curl -I x -u none; curl y | curl -s -u admin:tr0ub4dor x', 'secret', 'tr0ub4dor'],
    [`{"d":"${'a'.repeat(43)}"}${' '.repeat(2500)}{"d":"${'b'.repeat(43)}","kty":"OKP"}`, 'secret', 'b'.repeat(43)],
    ['{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}', 'secret', 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A'],
    [`sid SK${'0123456789abcdef'.repeat(2)}.`, 'secret', `SK${'0123456789abcdef'.repeat(2)}`],
    ['AccountKey=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3A9PQ==;', 'secret', 'Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZmdoaWprbG1ub3A9PQ=='],
    ['deploy_key: "q8ZsD3fLw0PbX7vNc2RtY5hJ"', 'secret', 'q8ZsD3fLw0PbX7vNc2RtY5hJ'],
    ['to https://hooks.slack.com/services/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', 'secret', 'hooks.slack.com/services/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'],
    ['x\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\ny', 'secret', '-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----'],
  ];
  for (const [text, type, value] of cases) assert.ok(found(text).includes(`${type}:${value}`), `${text} -> ${found(text).join(' | ')}`);
});

test('some four of a row of numbers with four digits pass as a card; cards behind each other are no such row', () => {
  const sure = (text: string): string[] => scan(text).filter(({ confidence }) => confidence >= 0.9).map(({ start, end }) => text.slice(start, end));
  const row = Array.from({ length: 300 }, (_, n) => String(4000 + (n * 37) % 1900)).join(' ');
  assert.ok(scan(row).some(({ type }) => type === 'credit-card'), 'on record');
  assert.deepEqual(sure(row), []);
  assert.deepEqual(sure('from 4111 1111 1111 1111 5500 0000 0000 0004 to'), ['4111 1111 1111 1111', '5500 0000 0000 0004']);
  assert.deepEqual(sure('on 4111 1111 1111 1111 2029'), ['4111 1111 1111 1111']);
});

test('where a sure detector and an unsure one see the same secret, it is sure', () => {
  const text = '{"key": "ghp_16C7e42F292c6912E7710c838347Ae178B4a"}';
  assert.deepEqual(scan(text).map(({ kind, confidence }) => [kind, confidence]), [['github', 0.98]]);
});

test('what only looks like something is left alone', () => {
  for (const text of [
    '4111 1111 1111 1112', // Luhn fails
    'boundary="===============4088995790328921840=="\r\n\r\n--===============4088995790328921840==\r\n', // as Python draws them
    'DE88 3704 0044 0532 0130 00', // mod 97 fails
    '000-12-3456 and 666-12-3456 and 912-34-5678 and 123-00-4567',
    '2024-03-11 10:31:22.123456',
    'commit 4c4f7e1d0b7c6a5e4d3c2b1a0f9e8d7c6b5a4938',
    'f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
    'version 10.2.14.3, v1.2.3.4',
    'std::vector<a::b> x = a ? b : c;',
    'user@localhost, @mention, a@b',
    'password: please choose one that is long',
    'password = os.environ["PW"]; token = next_token(s)',
    'const password: string; secret: ${SECRET}',
    'sk-learn-is-a-library-with-a-long-name',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    'The years 1914-1918, page 12345678, 1,234,567.89',
    'http://example.org:8080/a?b=c@d',
    'primary_key: "q8ZsD3fLw0PbX7vNc2RtY5hJ"',
    'sort_key = "all-lower-case-words-here-now"',
    '{"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}',
    `{"d":"${'a'.repeat(43)}"}${' '.repeat(2100)}{"kty":"OKP"}${' '.repeat(2100)}{"d":"${'b'.repeat(43)}"}`,
    'curl y; wget -u admin:tr0ub4dor x',
    `curl ${'y'.repeat(230)} -u admin:tr0ub4dor`,
    'a user is identified by name, or by "curl -u name"',
  ])
    assert.deepEqual(found(text), [], text);
});

test('values never seen before are found with the promised precision and recall', () => {
  for (const seed of [1, 77, 4711]) {
    for (const { type, precision, recall } of score(generateDocuments(seed, 1500))) {
      assert.ok(precision >= 0.97, `${type} precision ${precision}`);
      assert.ok(recall >= 0.98, `${type} recall ${recall}`);
    }
  }
});

test('a generated value inside any plain text is found, in strings and in bytes at the right offsets', () => {
  const plain = fc.array(fc.constantFrom('the', 'quick', 'größe', 'λόγος', '日本', 'and', 'so'), { maxLength: 6 }).map((w) => w.join(' '));
  const type = fc.constantFrom<keyof typeof makers>('email', 'credit-card', 'iban', 'ip', 'secret');
  fc.assert(
    fc.property(plain, plain, type, fc.nat(), (before, after, kind, seed) => {
      const value = makers[kind](new Random(seed));
      const text = `${before} ${value} ${after}`;
      const hit = scan(text).find((f) => f.type === kind);
      assert.equal(hit && text.slice(hit.start, hit.end), value);
      const bytes = Buffer.from(text);
      const inBytes = scan(bytes).find((f) => f.type === kind);
      assert.equal(inBytes && bytes.toString('utf8', inBytes.start, inBytes.end), value);
    }),
    { numRuns: 500 },
  );
});

test('a value that only shows once its neighbour is masked is masked too', () => {
  assert.equal(redact('4111111111111111)411111111111111118'), '[redacted:credit-card])[redacted:credit-card]');
});

test('a card says how much of a text each mask hides, and how much of a long one is not there', () => {
  const card = (text: string): string => redactForCard(text, [], shownOnCards.http);
  const wrapped = (inside: string): string => `-----BEGIN PRIVATE KEY-----\n${inside}\n-----END PRIVATE KEY-----`;
  assert.equal(card(`run ${wrapped('DROP TABLE users; '.repeat(100))} now`), 'run [redacted:secret, 1854 characters] now');
  // Masks that the caller wrote itself make what is hidden no shorter.
  const claimed = wrapped(`${'x'.repeat(500)}[redacted:secret, 1 characters]`);
  assert.equal(card(claimed), `[redacted:secret, ${claimed.length} characters]`);
  assert.equal(card('4111111111111111)411111111111111118'), '[redacted:credit-card, 16 characters])[redacted:credit-card, 18 characters]');
  const keys = 'token=q8Zr2LxT5vKp9WnB3mYc7HdF4sJgQ6eA1uRo0iXt8VbN5kMz2PwC7yLh9DfS3gJ4\n'.repeat(2000);
  assert.ok(card(`${keys}and delete everything`).endsWith(`… (${keys.length + 21 - 65_536} more characters, not shown)`));
  assert.equal(card('plain'), 'plain');
});

test('any text at all: no throw, findings in order, inside the text, without overlap; nothing sure is left after redacting', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('@', '://', 'a:b@', 'password=', '-----BEGIN PRIVATE KEY-----', 'DE89', '4111111111111111', '+1 (', '::', '1.2.3.4', 'eyJ', 'sk-', '"', '\\"', 'x12', ' '),
    fc.stringMatching(/^[0-9 .()/+-]{0,24}$/),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }).map((p) => p.join('')),
      (text) => {
        let last = 0;
        for (const { start, end, confidence } of scan(text)) {
          assert.ok(start >= last && end > start && end <= text.length && confidence > 0 && confidence <= 1);
          last = end;
        }
        assert.deepEqual(
          scan(redact(text)).filter(({ confidence }) => confidence >= 0.9),
          [],
        );
        // What a mask says is no finding itself, so that a card comes to its end.
        const card = redactForCard(text, [], new Set());
        assert.equal(redactForCard(card, [], new Set()), card);
      },
    ),
    { numRuns: 3000 },
  );
});

test('what is looked at is a small multiple of the text, whatever repeats in it', () => {
  for (const unit of ['sk-', 'sk--', 'sk-ant-', 'eyJ.', 'eyJ-', '.eyJ', 'eyJa.eyJ', 'SG.', 'ghp_', 'token:', 'key=', 'auth:', ':pwd', 'authorization: basic ', 'sk-token=', '4111111111111111,', '"4111111111111111", ', '4111 1111 1111 1111 ', 'id 4111111111111111 ']) {
    const text = unit.repeat(Math.ceil(200_000 / unit.length));
    const runs = new Runs();
    pass(text, bytesOf(text), { at: 0, word: -1 }, text.length, [], runs);
    assert.ok(runs.steps > 0 && runs.steps <= 4 * text.length, `${unit}: ${runs.steps}`);
  }
});

test('the bytes that a text is gone through by are of the classes of its characters', () => {
  const units = Array.from({ length: 65_536 }, (_, c) => c);
  const bytes = bytesOf(String.fromCharCode(...units.slice(0, 32_768)) + String.fromCharCode(...units.slice(32_768)));
  assert.deepEqual(units.filter((c) => classOf[bytes[c] ?? 0] !== classOf[c]), [0x2011, 0x2013]);
  for (const c of [0x2011, 0x2013]) assert.equal(classOf[bytes[c] ?? 0], dash);
});

test('long hostile inputs cost time in proportion to their length', () => {
  // Each would take minutes with a scanner that looks back or ahead without a bound; the test runner's own limit is the judge.
  for (const unit of ['a@', '1-', '(', ':', '://a:', 'password=', '"', 'eyJ', 'DE89 ', '-----BEGIN ', '-----BEGIN PRIVATE KEY-----', 'sk-', 'eyJ.', '::', 'token:', 'a:a:', '1.1.', 'x="', '4111111111111111,', '4111-1111-', 'curl -u ', `"k":"${'a'.repeat(22)}",`, '1234567,']) {
    const text = unit.repeat(Math.ceil(400_000 / unit.length));
    assert.ok(Array.isArray(scan(text)));
  }
});
