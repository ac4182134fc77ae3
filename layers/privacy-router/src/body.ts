/** Reads a request body: bounded in size and depth, strictly UTF-8 JSON. */
import type { IncomingMessage } from 'node:http';
import { malformed, RequestRefused } from './refused.ts';

/** The whole body. Rejects with RequestRefused 413 over `max` bytes, or an Error if the client went away. */
export function readBody(req: IncomingMessage, max: number): Promise<Buffer> {
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > max) return Promise.reject(tooLarge(max));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    req.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > max) {
        req.removeAllListeners('data');
        req.pause();
        reject(tooLarge(max));
      } else chunks.push(chunk);
    });
    req.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    req.on('error', reject);
    req.on('close', () => reject(new Error('the client went away')));
  });
}

function tooLarge(max: number): RequestRefused {
  return new RequestRefused({ status: 413, code: 'too_large', rule: 'router.body', message: `The request is larger than ${max} bytes.`, hint: 'Shorten the conversation.' });
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Below this size even the deepest body costs little memory, and the allow-list, which knows its depth, comes next. */
const measuredFrom = 256 * 1024;

/** Parses JSON; a large body must not be deeper than `maxDepth`, which is measured before it is parsed. Throws RequestRefused 400. */
export function parseJson(bytes: Buffer, maxDepth: number): unknown {
  if (bytes.length > measuredFrom && !isWithinDepth(bytes, maxDepth)) throw malformed(`The request is nested deeper than ${maxDepth} levels.`);
  try {
    return JSON.parse(strict.decode(bytes));
  } catch {
    throw malformed('The request is not valid JSON in UTF-8.');
  }
}

const quote = 0x22;
const backslash = 0x5c;

/** False if brackets and braces outside strings nest deeper than `max`. Strings are skipped by native search. */
export function isWithinDepth(bytes: Buffer, max: number): boolean {
  let depth = 0;
  const size = bytes.length;
  for (let i = 0; i < size; i++) {
    const byte = bytes[i];
    if (byte === quote) {
      i = endOfString(bytes, i);
      if (i < 0) return true;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > max) return false;
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return true;
}

/** Index of the quote that ends the string opened at `open`; -1 if there is none (the parser will say so). */
function endOfString(bytes: Buffer, open: number): number {
  let at = open;
  for (;;) {
    at = bytes.indexOf(quote, at + 1);
    if (at < 0) return -1;
    let slashes = 0;
    while (bytes[at - 1 - slashes] === backslash) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
}
