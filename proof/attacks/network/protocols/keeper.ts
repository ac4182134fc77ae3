/** A sandbox with credentials and inspection: what is bound to one place gets to no other, what may not leave does not, and a bomb harms nobody. */
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import type { Checks } from '../../../harness/checks.ts';
import { fine, openCanary, type Arrived, type Canary } from '../canary.ts';
import { doors, enter, openPolicyDesk } from '../desk.ts';
import { converse } from '../http.ts';
import type { Desk } from '../../../../layers/network-policy/src/testing/testing-egress.ts';
import { bombs } from './bombs-table.ts';
import { otherPlaceholder, otherReal, placeholder, real, secretRows } from './secrets-table.ts';

const steps = [gunzipSync, brotliDecompressSync, inflateSync, zstdDecompressSync];

/** Everything that somebody who tries hard finds in these bytes. */
function readings(bytes: Buffer, deep = 2): string[] {
  const text = bytes.toString('latin1');
  const runs = [...text.matchAll(/[A-Za-z0-9+/_-]{16,}/g)].flatMap(([run]) => [0, 1, 2, 3].flatMap((from) => [Buffer.from(run.slice(from), 'base64').toString('latin1')]).concat(Buffer.from(run, 'hex').toString('latin1')));
  const out = [text, text.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), text.replaceAll('\0', ''), text.replaceAll(/\r\n[0-9a-f]+\r\n/gi, ''), ...runs];
  const body = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4);
  if (deep > 0) for (const step of steps) {
    try {
      out.push(...readings(Buffer.concat([Buffer.from('\r\n\r\n'), step(body, { maxOutputLength: 1 << 20 })]), deep - 1));
    } catch {
      // It is not encoded so.
    }
  }
  return out;
}
const shows = (bytes: Buffer, secret: string): boolean => readings(bytes).some((text) => text.includes(secret));

async function secrets(check: Checks, desk: Desk, canary: Canary): Promise<void> {
  const plainly = canary.answer;
  check.that('control: whoever tries finds it in each answer', secretRows.filter(({ answers, name }) => answers && !name.includes('gzip in gzip')).every(({ answers }) => answers && shows(answers, real)), secretRows.filter(({ answers }) => answers && !shows(answers, real)).map(({ name }) => name));
  for (const row of secretRows) {
    const wrong: unknown[] = [];
    for (const door of doors) {
      const from = canary.requests.length;
      const heard = canary.bytes().length;
      canary.answer = row.answers ? () => row.answers?.toString('latin1') ?? '' : plainly;
      const socket = await enter(desk, door, row.host, canary.port);
      const answer = socket ? await converse(socket, row.bytes, row.answers?.includes('103 Early') ? 2 : 1) : 'no way in';
      const arrived = canary.requests.slice(from);
      const keyed = arrived.flatMap(({ headers }) => headers.filter((header) => header.includes(real)));
      const bytes = Buffer.from(canary.bytes().slice(heard), 'latin1');
      const count = bytes.toString('latin1').split(real).length - 1;
      const right =
        row.expect === 'stopped' ? arrived.length === 0 && bytes.length === 0 && /^HTTP\/1\.1 4/.test(answer)
        : row.expect === 'cut' ? arrived.length === 0 && !bytes.includes(real.slice(0, 4)) && /^HTTP\/1\.1 4/.test(answer)
        : row.expect === 'real' ? arrived.length === 1 && count === 1 && keyed.length === 1 && /^x-api-key: /i.test(keyed[0] ?? '')
        : arrived.length === 1 && count === 0 && !shows(bytes, real);
      const kept = !shows(Buffer.from(answer, 'latin1'), real) && !shows(Buffer.from(answer, 'latin1'), otherReal) && !bytes.includes(otherReal);
      if (!right || !kept) wrong.push({ door, kept, arrived: arrived.map(({ line, headers }) => [line, headers]), bytes: bytes.length, answer: answer.slice(0, 400) });
    }
    check.that(`${row.name}: ${row.expect === 'stopped' ? 'nothing arrives' : row.expect === 'cut' ? 'nothing of it arrives' : row.expect === 'real' ? 'the value arrives in its place, and comes back nowhere' : 'no value arrives'}`, wrong.length === 0, wrong);
  }
  canary.answer = plainly;
}

/** An origin that sends back what it was sent, as much of it as is asked for. */
function inParts({ headers }: Arrived): string {
  const page = headers.join('\n');
  const [, from, to] = /^(?:request-)?range: *bytes=(\d+)-(\d+)$/im.exec(page) ?? [];
  if (from === undefined || to === undefined) return `HTTP/1.1 200 OK\r\ncontent-length: ${page.length}\r\n\r\n${page}`;
  const part = page.slice(Number(from), Number(to) + 1);
  return `HTTP/1.1 206 Partial Content\r\ncontent-range: bytes ${from}-${to}/${page.length}\r\ncontent-length: ${part.length}\r\n\r\n${part}`;
}

async function parts(check: Checks, desk: Desk, canary: Canary): Promise<void> {
  const plainly = canary.answer;
  const bodyOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4);
  const pieces = (name: string): readonly string[] => Array.from({ length: 40 }, (_, i) => `${name}: bytes=${i * 10}-${i * 10 + 9}`);
  const asked = pieces('Range').map((range) => bodyOf(inParts({ line: '', host: '', body: '', headers: [`x-api-key: ${real}`, range] })));
  check.that('control: the parts of what is echoed show it', asked.join('').includes(real), asked);
  canary.answer = inParts;
  for (const name of ['Range', 'Request-Range']) {
    const answers: string[] = [];
    for (const range of pieces(name)) {
      const socket = await enter(desk, 'captured', 'keys.test', canary.port);
      answers.push(socket ? bodyOf(await converse(socket, Buffer.from(`GET /v1/x HTTP/1.1\r\nHost: keys.test\r\nX-Api-Key: ${placeholder}\r\n${range}\r\n\r\n`), 1)) : 'no way in');
    }
    check.that(`a credential that comes back in parts that ${name} asks for: no part is`, new Set(answers).size === 1 && !answers.join('').includes(real) && !answers[0]?.includes(real.slice(0, 8)), answers.slice(0, 3));
  }
  canary.answer = () => `HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/32\r\ncontent-length: 10\r\n\r\n${real.slice(0, 10)}`;
  const socket = await enter(desk, 'captured', 'keys.test', canary.port);
  const unasked = socket ? await converse(socket, Buffer.from(`GET /v1/x HTTP/1.1\r\nHost: keys.test\r\nX-Api-Key: ${placeholder}\r\n\r\n`), 1) : real;
  check.that('a part of an answer that nobody asked for is not delivered', /^HTTP\/1\.1 502/.test(unasked) && !unasked.includes(real.slice(0, 10)), unasked);
  canary.answer = plainly;
}

async function explosions(check: Checks, desk: Desk, canary: Canary): Promise<void> {
  for (const { name, bytes, expect } of bombs) {
    const from = canary.requests.length;
    const made = bytes();
    const socket = await enter(desk, 'captured', 'scan.test', canary.port);
    const answer = socket ? await converse(socket, made, 1, false, 60_000) : 'no way in';
    const arrived = canary.requests.length - from;
    const told = expect === 'passes' ? answer.endsWith('canary') && arrived === 1 : arrived === 0 && (answer === '' || /^HTTP\/1\.1 4/.test(answer));
    const after = await enter(desk, 'captured', 'scan.test', canary.port);
    const next = after ? await converse(after, Buffer.from('GET /after HTTP/1.1\r\nHost: scan.test\r\n\r\n'), 1, false, 60_000) : '';
    check.that(`bomb, ${name}: ${expect}, and the next request is served`, told && next.endsWith('canary'), { answer: answer.slice(0, 300), arrived, next: next.slice(0, 100) });
  }
}

export async function keeperAttacks(check: Checks): Promise<void> {
  const canary = await openCanary();
  const hosts = ['keys.test', 'other.test', 'scan.test'];
  const desk = await openPolicyDesk({
    network: `networkPolicy:\n  name: keeper\n  egress:\n    allow:\n${hosts.map((host) => `      - { domain: ${host}, ports: [${canary.port}], methods: [GET, POST] }\n`).join('')}  inspection: { scanForPII: true }\n`,
    pins: hosts.map((host) => ({ host })), ports: [canary.port], intercepted: hosts,
    more: { credentials: [{ placeholder, value: real, host: 'keys.test', header: 'x-api-key', pathPrefix: '/v1' }, { placeholder: otherPlaceholder, value: otherReal, host: 'other.test', header: 'x-api-key', pathPrefix: '' }] },
  });
  canary.answer = () => fine();
  try {
    check.section('the way out: credentials out of their place, and what hides a value');
    await secrets(check, desk, canary);
    await parts(check, desk, canary);
    check.section('the way out: bombs');
    await explosions(check, desk, canary);
  } finally {
    await desk.close();
    await canary.close();
  }
}
