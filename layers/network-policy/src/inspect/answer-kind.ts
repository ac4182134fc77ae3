/** What the head and the first bytes of an answer say of whether its bytes can be searched at all. Pure. */

/** Character encodings in which what is searched for is written in its plain bytes. In others (EBCDIC, UTF-32, UTF-7) it would not be found, and some servers write what their client asks for. */
const searchable = /^(?:utf-?8|utf-?16(?:le|be)?|(?:us-)?ascii|iso[-_]?8859-?\d{1,2}(?:-[ei])?|latin-?\d{1,2}|windows-(?:\d{3,4}|31j)|cp125\d|cp93[26]|cp949|ms932|koi8-[ru]|gb2312|gbk|gb18030|big5(?:-hkscs)?|euc-?(?:jp|kr|tw)|ks_?c_?5601.{0,9}|shift[-_]?jis|x-sjis|tis-620|macintosh)$/;

/** Why an answer cannot be searched, undefined where it can. `valueOf`: all values of a field of its head, '' for none. */
export function unsearchable(contentType: string, valueOf: (name: string) => string): string | undefined {
  const charsets = [...contentType.toLowerCase().matchAll(/charset\s*=\s*["']?([^\s"';,]*)/g)].map(([, name = '']) => name);
  if (charsets.some((name) => name !== '' && !searchable.test(name))) return 'the answer is in a character encoding that is not searched';
  if (/^application\/grpc-web-text/i.test(contentType)) return 'the answer is a stream in base64, which is not searched';
  for (const name of ['grpc-encoding', 'connect-content-encoding']) if (!/^\s*(?:identity\s*)?$/i.test(valueOf(name))) return 'the messages of the answer are encoded although that was not asked for';
  return undefined;
}

/** Whether these are bytes of something else than text (https://mimesniff.spec.whatwg.org/#binary-data-byte). */
export function isBinary(bytes: Buffer): boolean {
  return bytes.some((byte) => byte <= 0x08 || byte === 0x0b || (byte >= 0x0e && byte <= 0x1a) || (byte >= 0x1c && byte <= 0x1f));
}

/** What has text before its first bytes of another kind, but begins so. */
export const beginsAsDocument = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 5) === '%PDF-';
