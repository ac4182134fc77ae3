/** Requests by a fixed seed: mostly well-formed in unusual ways, some damaged. */

/** A generator of numbers that is the same every time (mulberry32). */
export function numbersOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const segments = ['a', 'ok', 'a%20b', '%61', 'x;y=1', 'é'.replace('é', '%C3%A9'), '%E2%82%AC', "it's", 'a+b', 'a:b@c', '%2F', '', '.hidden', '..', '%2e%2e', 'a%00', '~u', '(1)', 'a,b', '%zz', 'A%2fB', '%25', '*', '$&', '='];
const queries = ['', '?', '?a=1', '?a=1&a=2', '?q=%20+%2B', '?/../x', '?x=http://denied.test/', '?%C3%A9=1', '?a[]=1', '?a=1#b', '??', '?a=%00', '?=', '?&&'];
const names = ['Accept', 'X-A', 'x-b', 'Cookie', 'User-Agent', 'X-Forwarded-For', 'If-None-Match', 'Range', 'Origin', 'Referer', 'X_C', 'Via', 'Upgrade-Insecure-Requests', 'Accept-Encoding', 'TE', 'Keep-Alive', 'X.Y', "X!#$%&'*+^`|~"];
const values = ['1', '*/*', 'a=b; c=d', '', '  spaced  ', '"quoted, text"', 'a,b , c', 'caf\xe9', 'x'.repeat(300), '\ttab\t', 'k=v;w', 'http://denied.test/', '127.0.0.1', 'a\x0bb', 'close', '{}', "';--"];

/** One request for `host`; unless it is damaged there, `tag` stands in a header of its own. */
export function requestOf(pick: (below: number) => number, host: string, tag: string): Buffer {
  const one = <T>(all: readonly T[]): T => all[pick(all.length)] as T;
  const method = one(['GET', 'GET', 'POST', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH']);
  const path = `/${Array.from({ length: pick(4) }, () => one(segments)).join('/')}${one(queries)}`;
  const target = pick(8) === 0 ? `http://${host}${path}` : path;
  const lines = [`${method} ${target} HTTP/1.1`, `${one(['Host', 'host', 'HOST'])}:${one([' ', '', '  ', '\t'])}${host}`];
  for (let i = pick(6); i > 0; i -= 1) lines.splice(1 + pick(lines.length), 0, `${one(names)}:${one([' ', '', '  '])}${one(values)}`);
  lines.push(`X-Tag: ${tag}`);
  const body = Array.from({ length: pick(60) }, () => String.fromCharCode(pick(4) === 0 ? pick(256) : 32 + pick(95))).join('');
  let rest = '';
  if (['POST', 'PUT', 'PATCH', 'DELETE'].includes(method) && pick(5) > 0) {
    if (pick(2) === 0) {
      lines.push(`Content-Length: ${pick(6) === 0 ? '0' : ''}${body.length}`);
      rest = body;
    } else {
      lines.push('Transfer-Encoding: chunked');
      for (let at = 0; at < body.length;) {
        const size = 1 + pick(body.length - at);
        rest += `${one(['', '0', '00'])}${size.toString(16)}${one(['', ';x', ';x=y', ';x="y"'])}\r\n${body.slice(at, at + size)}\r\n`;
        at += size;
      }
      rest += `0\r\n${one(['', '', 'X-T: 1\r\n'])}\r\n`;
    }
  }
  const bytes = Buffer.from(`${lines.join('\r\n')}\r\n\r\n${rest}`, 'latin1');
  return pick(3) === 0 ? damaged(pick, bytes) : bytes;
}

const evil = Buffer.from('\r\n\0 \t:;,%/\\?#@\x0b\x0c\x7f\xff\x80.-_+="');
/** One to three bytes changed, put in, taken out or doubled. */
export function damaged(pick: (below: number) => number, bytes: Buffer): Buffer {
  let out = bytes;
  for (let i = 1 + pick(3); i > 0; i -= 1) {
    const at = pick(out.length + 1);
    const byte = pick(2) === 0 ? Buffer.from([evil[pick(evil.length)] ?? 0]) : Buffer.from([pick(256)]);
    const way = pick(4);
    out = Buffer.concat([out.subarray(0, at), ...(way === 3 ? [out.subarray(Math.max(0, at - pick(20)), at)] : way === 2 ? [] : [byte]), out.subarray(way === 0 || way === 3 ? at : at + 1)]);
  }
  return out;
}
