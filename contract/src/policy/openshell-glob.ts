/**
 * Their path patterns as ours. Theirs: `*` and `**` stand for any run of characters, `/` too; `?` for one; `[…]` for one of a class.
 * Ours: `*` stays within a segment, `**` is a whole segment and stands for any number of segments.
 */

/** At most this many wildcards inside segments of a denial, since each doubles the patterns. */
const partsMax = 3;

/** A pattern of ours that matches nothing which theirs does not; undefined: there is none. */
export function allowedPath(given: string): string | undefined {
  // Theirs compares with the whole path, which begins with a slash.
  if (!/^[/*]/.test(given)) return undefined;
  const path = given.startsWith('/') ? given : `/${given}`;
  if (/[?[\]{}\\#\s]/.test(path)) return undefined;
  const segments = path.slice(1).split('/').map((segment) => {
    // Between two slashes theirs is at least an empty name: one segment of ours, then any.
    if (segment === '**') return '*/**';
    return segment.replaceAll(/\*+/g, '*');
  });
  return `/${segments.join('/')}`;
}

/** Patterns of ours that together match all that theirs matches, and with `wider` more than that. */
export function deniedPaths(given: string): { readonly paths: string[]; readonly wider: boolean } {
  const path = (given.startsWith('/') ? given : `/${given}`).replaceAll(/\[[^\]]*\]|[?[\]{}\\#\s]/g, '*').replaceAll(/\*+/g, '*');
  let out: string[][] = [[]];
  let parts = 0;
  for (const segment of path.slice(1).split('/')) {
    if (segment === '*') out = out.map((one) => [...one, '**']);
    else {
      const pieces = segment.split('*');
      parts += pieces.length - 1;
      if (parts > partsMax) return { paths: [...new Set(out.map((one) => `/${[...one, '**'].join('/')}`))], wider: true };
      // `a*b` may also be `a…/…/…b`.
      let ways: string[][] = [[pieces[0] ?? '']];
      for (const piece of pieces.slice(1)) ways = ways.flatMap((way) => [[...way.slice(0, -1), `${way.at(-1) ?? ''}*${piece}`], [...way.slice(0, -1), `${way.at(-1) ?? ''}*`, '**', `*${piece}`]]);
      out = out.flatMap((one) => ways.map((way) => [...one, ...way]));
    }
  }
  return { paths: [...new Set(out.map((one) => `/${one.join('/')}`))], wider: false };
}
