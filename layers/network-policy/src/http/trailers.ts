/** Which fields may stand after a body: none that frames, routes, authenticates or describes the message (RFC 9110 §6.5.1). Pure. */
const forbidden = new Set([
  'transfer-encoding', 'content-length', 'host', 'trailer', 'te', 'connection', 'keep-alive', 'proxy-connection', 'upgrade', 'http2-settings', 'expect', 'max-forwards', 'range', 'cache-control',
  'authorization', 'proxy-authorization', 'proxy-authenticate', 'www-authenticate', 'cookie', 'set-cookie', 'content-encoding', 'content-type', 'content-range', 'location', 'age', 'date', 'vary',
]);
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const value = /^[\x20-\x7e\t\x80-\xff]*$/;

/** `raw`: name, value, name, value…; what may not stand there is left out. `map` is applied to each value. */
export function safeTrailers(raw: readonly string[], map: (text: string) => string = (text) => text): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const text = raw[i + 1] ?? '';
    if (token.test(name) && !forbidden.has(name.toLowerCase()) && value.test(text)) out.push(name, map(text));
  }
  return out;
}
