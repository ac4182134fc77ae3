/** Reads the head of a plain HTTP/1.1 request: a common method, a path, no body to come, nothing to agree on first. Strict by what it knows; whatever else there is, is not plain. Pure. */
import { fieldLines, readFields } from './field-lines.ts';

export interface PlainRequest {
  readonly method: string;
  /** Path and query, as they came. */
  readonly url: string;
  /** Name, value, name, value…, as they came; no white space around values. */
  readonly rawHeaders: readonly string[];
  /** Where the next request begins. */
  readonly end: number;
}

/** Bytes of a head, and fields in it, at most. */
const longest = 16 * 1024;
const mostFields = 128;

const shape = new RegExp(String.raw`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21-\x7e]*) HTTP/1\.1${fieldLines}$`);
/** What frames a body, wants an answer before one, or changes what the connection is. */
const besides = /\r\n(?:content-length|transfer-encoding|trailer|expect|upgrade|http2-settings):|\r\nconnection:(?![\t ]*keep-alive[\t ]*(?:\r\n|$))/i;

/** The request whose head is the beginning of `bytes`; undefined where that is no plain one, or not whole. */
export function readPlainRequest(bytes: Buffer): PlainRequest | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0 || end > longest) return undefined;
  const [, method, url, lines] = shape.exec(bytes.toString('latin1', 0, end)) ?? [];
  if (method === undefined || url === undefined || lines === undefined || besides.test(lines)) return undefined;
  const rawHeaders = readFields(lines);
  return rawHeaders.length > 2 * mostFields ? undefined : { method, url, rawHeaders, end: end + 4 };
}
