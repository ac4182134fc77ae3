/** Splits a GraphQL document into tokens, by the October 2021 specification §2.1; everything it does not name is refused. Pure. */

export interface Token {
  readonly kind: 'name' | 'mark' | 'number' | 'string' | 'end';
  /** The name, mark or number as written; '' for a string, whose content decides nothing. */
  readonly text: string;
}

/** A document that is not GraphQL, or more than is read. `message` is a plain sentence part. */
export class GraphqlProblem extends Error {}

const ignored = /(?:[\uFEFF\t\n\r ,]|#[^\n\r]*)+/y;
const name = /[A-Za-z_][A-Za-z0-9_]*/y;
const mark = /\.\.\.|[!$&()=:@[\]{}|]/y;
// A number must not run into a name or another dot (§2.9.1).
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.])/y;
const blockString = /"""(?:\\"""|(?!\\?""")[^\0-\x08\x0b\x0c\x0e-\x1f])*"""/y;
const plainString = /"(?:[^"\\\n\r\0-\x08\x0b\x0c\x0e-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\})*"/y;
const kinds = [['name', name], ['mark', mark], ['number', number]] as const;

/** At most this many tokens: a document of a megabyte of braces has no honest use. */
const most = 50_000;

/** The tokens of `source`, ended by `end`. Throws GraphqlProblem. */
export function tokenize(source: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  for (;;) {
    take(ignored);
    if (at >= source.length) break;
    if (out.length >= most) throw new GraphqlProblem('the GraphQL document is too long');
    out.push(next(source, at, take));
  }
  out.push({ kind: 'end', text: '' });
  return out;
}

function next(source: string, at: number, take: (pattern: RegExp) => string | undefined): Token {
  if (source[at] === '"') {
    // Three quotes always open a block string, so an empty string followed by a quote is none.
    const found = source.startsWith('"""', at) ? take(blockString) : take(plainString);
    if (found === undefined) throw new GraphqlProblem('the GraphQL document has a broken string');
    return { kind: 'string', text: '' };
  }
  for (const [kind, pattern] of kinds) {
    const text = take(pattern);
    if (text !== undefined) return { kind, text };
  }
  throw new GraphqlProblem('the GraphQL document has a character that does not belong there');
}
