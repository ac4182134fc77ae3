/** Requests on their way out: their heads, their bodies where these are held, and their bytes where they are passed on as they come. */
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { after, orThrow } from '../body/in-order.ts';
import { valueOf } from '../http/fields.ts';
import { isFramed, isInBase64 } from '../protocols/grpc.ts';
import { withoutPlaceholders } from '../credentials/credentials.ts';
import type { BodyReader, ByteTransform, HeadReader, OutgoingHook, Passing, PatientTransform, Reading } from '../hooks.ts';
import { documentType, isUnreadText, isWide } from './charsets.ts';
import { actionFor, hiddenOf, strictest, type Found, type InspectionSettings } from './findings.ts';
import type { Examined } from './examine.ts';
import { inspectAside, searchWindowAside } from './inspect-aside.ts';
import { inspectHead, pathPlace } from './inspect-head.ts';
import { namesBoundaries } from './multipart.ts';
import { searchWindow, type PassingWindow } from './search-window.ts';
import { soughtIn } from '../taint/taint.ts';
import { asked, askedAbout, blocked, inspectedBytes, recordFound, recordUninspected, settingsOf, unreadable } from './report.ts';

/** Bodies of these kinds are conversations: their end may wait for an answer, so that they cannot be held. */
const streamed = /^(?:application\/(?:grpc|x-ndjson|jsonl|octet-stream|x-git-|connect\+|vnd\.apache\.thrift)|text\/event-stream|video\/|audio\/)/;

const limitOf = (passing: Passing): number => inspectedBytes(passing.core);

/** URL and headers of every request. A value cannot be taken out of them without changing what is asked for, so `redact` blocks here. */
export const headInspection: HeadReader = {
  read: (passing) => {
    const settings = settingsOf(passing.core);
    passing.foundInPath = false;
    const hides = settings.scanForPII || !passing.core.secrets.empty ? hidesMessages(passing) : undefined;
    if (hides) throw hides;
    if (!settings.scanForPII) return undefined;
    if (hasUnreadText(passing)) throw unreadText(passing);
    const { target, query } = passing.checked;
    const { name } = passing.place;
    const host = passing.core.ports.judge.named(name) ? undefined : name;
    const found = inspectHead({ host, target, query, headers: headersOf(passing) }, passing.core.secrets.known, soughtIn(passing));
    passing.foundInPath = found.some(({ type, place }) => type !== 'tainted' && place.startsWith(pathPlace));
    const oversize = (passing.checked.length ?? 0) > limitOf(passing) ? oversizeIn(passing) : undefined;
    const worst = strictest(found, settings);
    if (!worst) return oversize;
    recordFound(passing, 'request', found, worst.action === 'redact' ? 'block' : worst.action);
    if (worst.action === 'block' || worst.action === 'redact') throw blocked(passing, worst.found);
    const hidden = hiddenOf(found, settings);
    return worst.action === 'escalate' ? { escalate: asked(passing, worst.found), hidden } : { ...oversize, hidden };
  },
};

/** Messages that are framed each by itself are looked at as they stand: not where something lies around all of them. */
function hidesMessages(passing: Passing): Error | undefined {
  const { hasBody, contentType, contentEncoding } = passing.checked;
  if (!hasBody) return undefined;
  if (isInBase64(contentType)) return unreadable(passing, 'inspection.scanForPII', 'the body is a stream in base64, which is not searched', 'Send it as application/grpc-web+proto.');
  return isFramed(contentType) && isEncoded(contentEncoding) ? unreadable(passing, 'inspection.scanForPII', 'the body is encoded around its messages', 'Encode each message, or nothing.') : undefined;
}

const unreadText = (passing: Passing): Error => unreadable(passing, 'inspection.scanForPII', 'the body is in a character encoding that cannot be searched', 'Send it in UTF-8.');

/** A text in a character encoding that nothing here reads, or that would have to be held for that and is not. */
function hasUnreadText({ checked }: Passing): boolean {
  if (!checked.hasBody) return false;
  return isUnreadText(checked.contentType) || (isWide(checked.contentType) && checked.length === undefined && streamed.test(checked.contentType));
}

const tooLarge = 'the body is encoded, and larger than what is inspected';

/** Of a body that is larger than what is inspected: read as it passes where it is plain, and where it is encoded, by the word of its rule, refused, asked about, or on record as not inspected. */
function oversizeIn(passing: Passing): Pick<Reading, 'escalate'> | undefined {
  const { checked, core } = passing;
  if (!checked.hasBody || !(isEncoded(checked.contentEncoding) || isWide(checked.contentType))) return undefined;
  const words = checked.paths.map((path) => core.ports.judge.terms(passing.resource(path))?.onOversize ?? 'deny');
  if (words.includes('deny')) throw unreadable(passing, 'inspection.maxBody', tooLarge, 'Send it without a content encoding, or in smaller pieces.');
  const asks = words.includes('escalate');
  recordUninspected(passing, asks ? 'escalate' : 'observe', tooLarge);
  return asks ? { escalate: askedAbout(passing, 'inspection.maxBody', `its body is not inspected: ${tooLarge}`) } : undefined;
}

/** A placeholder in its own header has been checked already. */
function headersOf({ core, checked }: Passing): readonly string[] {
  const { credentials } = core.config;
  return credentials.length === 0 ? checked.headers : checked.headers.map((value, i) => (i % 2 === 0 ? value : withoutPlaceholders(value, credentials)));
}

const isEncoded = (encoding: string): boolean => encoding !== '' && encoding !== 'identity';

/** Bodies that are documents, or encoded, or short: held, read as their readers will read them, blocked, rewritten, asked about or put on record. */
export const bodyInspection: BodyReader = {
  inspects: true,
  larger: oversizeIn,
  needs: (passing) => {
    const { core, checked } = passing;
    if (!settingsOf(core).scanForPII) return false;
    if (isEncoded(checked.contentEncoding)) return (checked.length ?? 0) <= limitOf(passing);
    // Its messages may be compressed each by itself; they are undone and read as they pass.
    if (isFramed(checked.contentType)) return false;
    const limit = limitOf(passing);
    if (checked.length === undefined) return documentType.test(checked.contentType) && !streamed.test(checked.contentType);
    if (checked.length > limit) return false;
    // Where much is held already, what has no structure to look into is read as it passes.
    return documentType.test(checked.contentType) || core.buffered + checked.length <= core.ports.limits.bufferedBytes / 2;
  },
  read: (passing, readable) => {
    const settings = settingsOf(passing.core);
    if (!settings.scanForPII) return undefined;
    if (namesBoundaries(contentTypeOf(passing))) throw unreadable(passing, 'inspection.scanForPII', 'its content type names more than one boundary', 'Name one boundary.');
    const { actions, scanForPII } = settings;
    const examined = inspectAside(passing.core.ports.sandbox, { bytes: readable, contentType: contentTypeOf(passing), known: passing.core.secrets.known, tainted: soughtIn(passing), settings: { scanForPII, ...(actions ? { actions } : {}) } });
    return examined instanceof Promise ? examined.then((result) => act(passing, settings, result)) : act(passing, settings, examined);
  },
};

/** Blocks, rewrites, asks or records. */
function act(passing: Passing, settings: InspectionSettings, { found, rewritten, unread }: Examined): Reading | undefined {
  if (unread) throw unreadText(passing);
  const worst = strictest(found, settings);
  if (!worst) return undefined;
  recordFound(passing, 'request', found, worst.action);
  if (worst.action === 'block') throw blocked(passing, worst.found);
  const escalate = { hidden: hiddenOf(found, settings), ...(worst.action === 'escalate' ? { escalate: asked(passing, worst.found) } : {}) };
  const first = found.find((one) => actionFor(one, settings) === 'redact');
  if (!first) return escalate;
  const body = rewritten && passing.checked.awsChunked !== true && encode(Buffer.from(rewritten.buffer, rewritten.byteOffset, rewritten.byteLength), passing.checked.contentEncoding);
  // What cannot be taken out does not leave.
  if (!body) throw blocked(passing, first);
  return { ...escalate, body };
}

/** In its own case: the boundary of a multipart body has one. */
const contentTypeOf = ({ checked }: Passing): string => valueOf(checked.headers, 'content-type');

/** The body in this content encoding; undefined where it is more than one, or none that is known. */
export function encode(body: Buffer, encoding: string): Buffer | undefined {
  switch (encoding) {
    case '': case 'identity': return body;
    case 'gzip': case 'x-gzip': return gzipSync(body, { level: 1 });
    case 'deflate': return deflateSync(body, { level: 1 });
    // By itself it would take the thread for seconds.
    case 'br': return brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } });
    case 'zstd': return zstdCompressSync(body);
    default: return undefined;
  }
}

/** Bytes that a finding may reach back over what has been passed on already. */
const carried = 2048;

/**
 * Bodies that are passed on as they come: each piece is judged together with the end of what went before, and goes on at once if nothing is in it. A value that comes in
 * two pieces is seen when its end comes, which then does not leave. Nothing can be rewritten or asked about here any more: both block.
 */
export const streamInspection: OutgoingHook = {
  open: (passing): ByteTransform | undefined => {
    const looking = lookingAt(passing);
    return looking && { next: (chunk) => looking.judged(searchWindow(looking.window(chunk, false)), chunk), end: () => Buffer.alloc(0) };
  },
  openMessage: (passing, whole): PatientTransform | undefined => {
    const looking = lookingAt(passing);
    const unread = (): Error => unreadable(passing, 'inspection.scanForPII', 'the message could not be inspected', 'Send it again later, or in smaller messages.');
    const { sandbox } = passing.core.ports;
    return looking && { next: (chunk) => after(orThrow(searchWindowAside(sandbox, looking.window(chunk, whole)), unread), (found) => looking.judged(found, chunk)), end: () => Buffer.alloc(0) };
  },
  // Beside a text stand the tag and the length of the next field: only its reader sees where it ends. Where much is held already they are read as they pass.
  wholeMessages: (passing) => settingsOf(passing.core).scanForPII && (soughtIn(passing) !== undefined || passing.core.buffered <= passing.core.ports.limits.bufferedBytes / 2),
};

/** How a body, or a message of one, is looked at piece by piece; undefined where it is not. */
function lookingAt(passing: Passing): { window(chunk: Buffer, message: boolean): PassingWindow; judged(found: readonly Found[], chunk: Buffer): Buffer } | undefined {
  const { core } = passing;
  const settings = settingsOf(core);
  if (!settings.scanForPII) return undefined;
  // Its encoding hides it; the policy said that it may pass so.
  if (isEncoded(passing.checked.contentEncoding)) return undefined;
  let tail: Buffer = Buffer.alloc(0);
  let told = false;
  return {
    window: (chunk, message) => {
      const bytes = tail.length > 0 ? Buffer.concat([tail, chunk]) : chunk;
      tail = Buffer.from(bytes.subarray(Math.max(0, bytes.length - carried)));
      return { bytes, fresh: chunk.length, known: core.secrets.known, tainted: soughtIn(passing), message };
    },
    judged: (found, chunk) => {
      const worst = strictest(found, settings);
      if (!worst) return chunk;
      const blocks = worst.action !== 'log';
      if (blocks || !told) recordFound(passing, 'request', found, blocks ? 'block' : 'log');
      told = true;
      if (blocks) throw blocked(passing, worst.found);
      return chunk;
    },
  };
}
