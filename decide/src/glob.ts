/** Precompiled URL path patterns and value wildcards; linear in pattern times input, so no input can stall a decision. */

type Segment = { readonly kind: 'any' } | { readonly kind: 'text'; readonly text: string } | { readonly kind: 'glob'; readonly text: string } | { readonly kind: 'name'; readonly name: string };

export interface PathPattern {
  readonly text: string;
  readonly segments: readonly Segment[];
  /** Every segment is literal or a named parameter. */
  readonly exact: boolean;
}

/** `/v1/*` (within a segment), `/v1/**` (any number of segments, also none), `/t/{id}` (one segment, captured). */
export function compilePath(text: string): PathPattern {
  const segments = text.slice(1).split('/').map((s): Segment => {
    if (s === '**') return { kind: 'any' };
    if (s.startsWith('{') && s.endsWith('}')) return { kind: 'name', name: s.slice(1, -1) };
    return s.includes('*') ? { kind: 'glob', text: s } : { kind: 'text', text: s };
  });
  return { text, segments, exact: segments.every((s) => s.kind === 'text' || s.kind === 'name') };
}

/** Segments as they are, for rules that allow. */
export function strictSegments(path: string): string[] {
  return path.startsWith('/') ? path.slice(1).split('/') : [path];
}

/** Segments as a careless server may read them (case, doubled and trailing slashes, `;` parameters), for rules that take away. */
export function looseSegments(path: string): string[] {
  const out: string[] = [];
  for (const part of path.split('/')) {
    const cut = part.indexOf(';');
    const text = (cut < 0 ? part : part.slice(0, cut)).toLowerCase();
    if (text !== '') out.push(text);
  }
  return out;
}

/** A pattern for `looseSegments`. */
export function loosen(pattern: PathPattern): PathPattern {
  const segments = pattern.segments
    .filter((s) => s.kind !== 'text' || s.text !== '')
    .map((s): Segment => (s.kind === 'text' || s.kind === 'glob' ? { kind: s.kind, text: s.text.toLowerCase() } : s));
  return { ...pattern, segments };
}

/** Whether `segments` match, whole. */
export function matchPath(pattern: PathPattern, segments: readonly string[]): boolean {
  let p = 0;
  let s = 0;
  let starP = -1;
  let starS = 0;
  while (s < segments.length) {
    const want = pattern.segments[p];
    if (want?.kind === 'any') {
      starP = p;
      starS = s;
      p += 1;
    } else if (want !== undefined && matchSegment(want, segments[s] ?? '')) {
      p += 1;
      s += 1;
    } else if (starP >= 0) {
      starS += 1;
      s = starS;
      p = starP + 1;
    } else return false;
  }
  while (pattern.segments[p]?.kind === 'any') p += 1;
  return p === pattern.segments.length;
}

/** Named parameters of a path that matches (captured from the segments as they are); empty for patterns with `**`. */
export function captures(pattern: PathPattern, segments: readonly string[]): [string, string][] {
  if (pattern.segments.length !== segments.length) return [];
  return pattern.segments.flatMap((s, i) => (s.kind === 'name' ? [[s.name, segments[i] ?? ''] as [string, string]] : []));
}

function matchSegment(want: Segment, given: string): boolean {
  if (want.kind === 'text') return want.text === given;
  if (want.kind === 'name') return given !== '';
  return want.kind === 'glob' && matchText(want.text, given);
}

/** `*` stands for any run of characters. */
export function matchText(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let starP = -1;
  let starT = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      starP = p;
      starT = t;
      p += 1;
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p += 1;
      t += 1;
    } else if (starP >= 0) {
      starT += 1;
      t = starT;
      p = starP + 1;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
