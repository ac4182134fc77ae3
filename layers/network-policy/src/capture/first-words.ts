/** What a client's first bytes are, however they are cut: TLS, a request of HTTP, something else, or too little to tell. Pure. */

/** `more`: it may still become a request line. */
export type FirstWords = 'tls' | 'http' | 'other' | 'more';

/** The first byte of a TLS record that carries a ClientHello (RFC 8446 §5.1). */
export const tlsHandshake = 0x16;
/** A line as long as this is for the reader of HTTP, which refuses it. */
const longestLine = 8 * 1024;

// CONNECT is a word of NATS too, and in HTTP is nothing without its version.
const knownMethod = /^(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE)\s/;
const version = /^\S+\s.*\sHTTP\/\d/is;
// A method, and a target that begins as an origin, absolute or asterisk form does (RFC 9112 §3).
const beginning = /^[!#$%&'*+.^_`|~\w-]*(?:\s+(?:[/*a-z][^\0-\x08\x0e-\x1f\x7f]*)?)?$/is;

/** `ended`: nothing comes behind them. Careless servers skip white space before a request, and take any word for a method. */
export function firstWords(bytes: Buffer, ended = false): FirstWords {
  if (bytes[0] === tlsHandshake) return 'tls';
  const text = bytes.toString('latin1', 0, longestLine).trimStart();
  const end = text.indexOf('\n');
  const line = end < 0 ? text : text.slice(0, end);
  if (knownMethod.test(line) || version.test(line)) return 'http';
  if (end >= 0 || ended || !beginning.test(line)) return 'other';
  return bytes.length >= longestLine ? 'http' : 'more';
}
