/** The character encodings that a body says it is in, and which of them can be searched. Pure. */

/** Character encodings in which what is searched for is written in its plain bytes, and UTF-16. In others (EBCDIC, UTF-32, UTF-7) it would not be found, and some servers write what their client asks for. */
const searchable = /^(?:utf[-_]?8(?:mb[34])?|utf-?16(?:le|be)?|binary|(?:us-?)?ascii|ansi_x3\.4-19(?:68|86)|iso[-_]?8859-?\d{1,2}(?:-[ei])?|latin-?\d{1,2}|windows-(?:\d{3,4}|31j)|cp125\d|cp93[26]|cp949|ms932|koi8-[ru]|gb2312|gbk|gb18030|big5(?:-hkscs)?|euc-?(?:jp|kr|tw)|ks_?c_?5601.{0,9}|shift[-_]?jis|x-sjis|tis-620|macintosh)$/;

/** All that a content type in lower case names, each once. */
export const charsetsOf = (contentType: string): readonly string[] => !contentType.includes('charset') ? [] : [...new Set([...contentType.matchAll(/charset\s*=\s*["']?([^\s"';,]*)/g)].flatMap(([, name = '']) => (name === '' ? [] : [name])))];

export const isSearchable = (charset: string): boolean => searchable.test(charset);

/** Whether a whole body of this content type (in lower case) can be read: in one charset, which is searched as it is, is UTF-32, or is one that this Node.js decodes. */
function isReadable(contentType: string): boolean {
  const [charset, ...others] = charsetsOf(contentType);
  return others.length === 0 && (charset === undefined || isSearchable(charset) || /^utf-?32(?:le|be)?$/.test(charset) || isDecoded(charset));
}

function isDecoded(charset: string): boolean {
  try {
    return new TextDecoder(charset).encoding !== '';
  } catch {
    return false;
  }
}

/** Types whose readers read text. */
export const documentType = /^(?:application\/(?:[a-z0-9.+-]*(?:json|xml)|x-www-form-urlencoded|graphql|yaml|x-yaml)|multipart\/|message\/(?:rfc822|global)|text\/)/;

/** Whether it is in a character encoding that nothing here reads: whatever its type, who reads it as that gets another text. */
export const isUnreadText = (contentType: string): boolean => !isReadable(contentType);

/** Whether it is XML that says itself that it is in such an encoding; in EBCDIC nothing else begins so (XML 1.0, appendix F). */
export function isUnreadXml(bytes: Buffer): boolean {
  if (bytes.length >= 4 && bytes.readUInt32BE(0) === 0x4c6fa794) return true;
  const name = /^(?:\xef\xbb\xbf)?\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([^"']{1,40})/.exec(bytes.toString('latin1', 0, 300))?.[1];
  return name !== undefined && isUnreadText(`charset=${name.toLowerCase()}`);
}

/** Whether its text shows only where all of it is read as UTF-16 or UTF-32. */
export const isWide = (contentType: string): boolean => charsetsOf(contentType).some((charset) => /^(?:utf-?(?:16|32)|ucs-?[24]|unicode|iso-10646|csunicode|csucs)/.test(charset));
