/** AWS Signature Version 4: reads the signature a program made with a placeholder, and makes the real one for the request as it will be sent. Pure. */
import { createHash, createHmac } from 'node:crypto';
import { dropField, valuesOf } from '../http/fields.ts';

/** The secret key and what belongs to it; `region` and `service`, where given, are the only ones it signs for. */
export interface SigningKey {
  readonly secret: string;
  readonly accessKeyId: string;
  readonly sessionToken?: string;
  readonly region?: string;
  readonly service?: string;
}

export interface SignedRequest {
  readonly method: string;
  /** Origin-form, as it is sent. */
  readonly target: string;
  /** Name, value, …, with `host` and the program's `authorization`; changed in place. */
  readonly headers: string[];
  /** SHA-256 hex of the body; undefined where it is not known. */
  readonly bodyHash: string | undefined;
  /** Its body is read in `aws-chunked` framing. */
  readonly framed?: boolean;
}

export interface Claim {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
}

const claimed = /^AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9]{8,128})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9.-]{1,64})\/aws4_request, *SignedHeaders=([a-z0-9;_-]{1,2048}), *Signature=[0-9a-f]{64}$/;

/** What an Authorization header claims; undefined where it is none of this version (a signature by elliptic curve, one in the URL). */
export function readClaim(authorization: string): Claim | undefined {
  const [, accessKeyId = '', date = '', region = '', service = '', signed = ''] = claimed.exec(authorization) ?? [];
  return accessKeyId === '' ? undefined : { accessKeyId, date, region, service, signedHeaders: signed.split(';') };
}

/** Written or changed on the way, so that they are never signed. */
const unsigned = new Set(['accept-encoding', 'authorization', 'connection', 'content-length', 'expect', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'user-agent', 'x-amzn-trace-id']);
/** What stands for the hash of a body that no signature covers: whole, or in chunks with a checksum behind them. */
const unhashed: ReadonlySet<string> = new Set(['UNSIGNED-PAYLOAD', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER']);
/** What in a body in chunks has a signature of its own. */
export type SignedParts = 'nothing' | 'chunks' | 'chunks and checksum';
const signedParts: ReadonlyMap<string, SignedParts> = new Map([['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'chunks'], ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', 'chunks and checksum']]);
const emptyHash = createHash('sha256').digest('hex');

/** Signs the chunks of one body in their order, each over the signature before it (AWS, "Transferring payload in multiple chunks"). */
export class ChunkSigner {
  readonly #key: Buffer;
  readonly #scope: string;
  #previous: string;

  /** `scope`: date and scope of the request as lines; `seed`: its signature. */
  constructor(key: Buffer, scope: string, seed: string) {
    this.#key = key;
    this.#scope = scope;
    this.#previous = seed;
  }

  /** The signature (hex) of the next chunk; the last has no data. */
  chunk(data: readonly Buffer[]): string {
    const hash = createHash('sha256');
    for (const piece of data) hash.update(piece);
    return this.#next('AWS4-HMAC-SHA256-PAYLOAD', emptyHash, hash.digest('hex'));
  }

  /** The signature (hex) of the checksum behind the last chunk. */
  checksum(name: string, value: string): string {
    return this.#next('AWS4-HMAC-SHA256-TRAILER', hashOf(Buffer.from(`${name}:${value}\n`, 'latin1')));
  }

  #next(algorithm: string, ...hashes: readonly string[]): string {
    this.#previous = hmac(this.#key, [algorithm, this.#scope, this.#previous, ...hashes].join('\n')).toString('hex');
    return this.#previous;
  }
}

/** Signs `request` anew. A text says why it is not signed: then it must not be sent. A signer: what its body has to be framed with. */
export function signAnew(request: SignedRequest, claim: Claim, key: SigningKey): string | ChunkSigner | undefined {
  const { headers } = request;
  if ((key.region !== undefined && key.region !== claim.region) || (key.service !== undefined && key.service !== claim.service)) return 'the signature is for another region or service than the key';
  const dates = valuesOf(headers, 'x-amz-date');
  const date = dates[0] ?? '';
  if (dates.length !== 1 || !/^\d{8}T\d{6}Z$/.test(date) || !date.startsWith(claim.date)) return 'the signature and x-amz-date do not fit';
  const hashes = valuesOf(headers, 'x-amz-content-sha256');
  if (hashes.length > 1 || !claim.signedHeaders.includes('host')) return 'the signature is not well-formed';
  let payload = hashes[0];
  const inChunks = signedParts.has(payload ?? '');
  if (payload !== undefined && !/^[0-9a-f]{64}$/.test(payload) && !unhashed.has(payload) && !inChunks) return 'its x-amz-content-sha256 is none that is signed anew, such as one by elliptic curve (SigV4A) or of events';
  if (inChunks && (request.framed !== true || valuesOf(headers, 'x-amz-decoded-content-length').length !== 1)) return 'a body whose chunks are signed needs one x-amz-decoded-content-length';
  if (request.bodyHash !== undefined && !unhashed.has(payload ?? '') && !inChunks) payload = request.bodyHash;
  if (payload === undefined) return 'the body is not known, so it cannot be signed';
  if (hashes.length === 1) setHeader(headers, 'x-amz-content-sha256', payload);
  dropField(headers, 'x-amz-security-token');
  if (key.sessionToken !== undefined) headers.push('x-amz-security-token', key.sessionToken);

  const wanted = new Set(claim.signedHeaders);
  const names = [...new Set(headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase()))].filter((name) => !unsigned.has(name) && (wanted.has(name) || name === 'host' || name === 'content-type' || name.startsWith('x-amz-'))).toSorted();
  const scope = `${claim.date}/${claim.region}/${claim.service}/aws4_request`;
  const canonical = [
    request.method, canonicalPath(request.target, claim.service), canonicalQuery(request.target),
    ...names.map((name) => `${name}:${valuesOf(headers, name).map((value) => value.trim().replace(/ +/g, ' ')).join(',')}`), '', names.join(';'), payload,
  ].join('\n');
  // Fields are read and sent with one character for each byte; all else in it is ASCII.
  const toSign = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical, 'latin1').digest('hex')].join('\n');
  let signing: Buffer = Buffer.from(`AWS4${key.secret}`, 'utf8');
  for (const part of [claim.date, claim.region, claim.service, 'aws4_request']) signing = hmac(signing, part);
  const signature = hmac(signing, toSign).toString('hex');
  setHeader(headers, 'authorization', `AWS4-HMAC-SHA256 Credential=${key.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`);
  return inChunks ? new ChunkSigner(signing, `${date}\n${scope}`, signature) : undefined;
}

/** What in the body has to be signed anew, as the headers say. */
export function partsToSign(headers: readonly string[]): SignedParts {
  return signedParts.get(valuesOf(headers, 'x-amz-content-sha256')[0] ?? '') ?? 'nothing';
}

/** Whether the body has to be read before this request can be signed. */
export function needsBodyHash(headers: readonly string[]): boolean {
  return valuesOf(headers, 'x-amz-content-sha256').length === 0;
}

export function hashOf(body: Buffer | undefined): string {
  return body === undefined ? emptyHash : createHash('sha256').update(body).digest('hex');
}

/** S3 and what answers in its way (Object Lambda, Outposts) encode once, however it is sent; all other services encode what is sent once more, without empty segments. */
function canonicalPath(target: string, service: string): string {
  const path = target.split('?', 1)[0] ?? '/';
  if (/^s3(?:-|$)/.test(service)) return path.split('/').map((part) => encode(decodeURIComponent(part))).join('/');
  return path.replace(/\/{2,}/g, '/').split('/').map(encode).join('/');
}

function canonicalQuery(target: string): string {
  const mark = target.indexOf('?');
  if (mark < 0) return '';
  const decode = (text: string): string => encode(decodeURIComponent(text.replaceAll('+', '%20')));
  const pairs = target.slice(mark + 1).split('&').filter((pair) => pair !== '').map((pair): readonly [string, string] => {
    const equals = pair.indexOf('=');
    return equals < 0 ? [decode(pair), ''] : [decode(pair.slice(0, equals)), decode(pair.slice(equals + 1))];
  });
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return pairs.toSorted((a, b) => order(a[0], b[0]) || order(a[1], b[1])).map(([name, value]) => `${name}=${value}`).join('&');
}

/** RFC 3986: everything but the unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function setHeader(headers: string[], name: string, value: string): void {
  for (let i = 0; i + 1 < headers.length; i += 2) if (headers[i]?.toLowerCase() === name) headers[i + 1] = value;
}
function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}
