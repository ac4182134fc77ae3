/** The parts of a multipart body (RFC 2046, RFC 7578), as ranges of bytes. */

export interface Part {
  readonly name: string;
  readonly filename: string;
  readonly contentType: string;
  readonly encoding: string;
  /** The content, without the line end before the next boundary. */
  readonly from: number;
  readonly to: number;
  /** Its header block. */
  readonly headFrom: number;
}

export interface Multipart {
  readonly parts: readonly Part[];
  /** What is in no part: before the first boundary, behind the last, and on the boundaries' lines. Some readers see it. */
  readonly rest: readonly Buffer[];
}

const mostParts = 1000;

/** Whether a content type says two things: readers differ in which boundary they take. */
export function namesBoundaries(contentType: string): boolean {
  return (contentType.match(/\bboundary\b[\s\d*]*=/gi)?.length ?? 0) > 1;
}

/** Undefined where the body is not what its type says, or has more than 1000 parts. `contentType`: the header's value, in its own case. */
export function readMultipart(body: Buffer, contentType: string): Multipart | undefined {
  const match = /;\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(contentType);
  const boundary = match?.[1] ?? match?.[2];
  if (boundary === undefined) return undefined;
  const mark = Buffer.from(`--${boundary}`, 'latin1');
  const parts: Part[] = [];
  // Within a line it is none (RFC 2046, 5.1.1).
  const nextMark = (from: number): number => {
    let found = body.indexOf(mark, from);
    while (found > 0 && body[found - 1] !== 10) found = body.indexOf(mark, found + 1);
    return found;
  };
  let at = nextMark(0);
  if (at < 0) return undefined;
  const rest: Buffer[] = [];
  // Without the lines that are a boundary and nothing else (Python's are numbers): a mark that begins a longer line may be a piece of a value.
  const alone = [mark.toString('latin1'), `${mark.toString('latin1')}--`];
  const sinceLast = (to?: number): Buffer => {
    const lines = body.toString('latin1', parts.at(-1)?.to ?? 0, to).split('\n');
    return Buffer.from(lines.filter((line) => !alone.includes(line.trimEnd())).join('\n'), 'latin1');
  };
  for (;;) {
    const after = at + mark.length;
    if (body[after] === 45 && body[after + 1] === 45) return { parts, rest: [...rest, sinceLast()] };
    if (parts.length >= mostParts) return undefined;
    const lineEnd = body.indexOf('\n', after);
    const next = nextMark(after);
    if (lineEnd < 0 || next < 0) return undefined;
    const part = readPart(body, lineEnd + 1, next);
    if (!part) return undefined;
    rest.push(sinceLast(lineEnd));
    parts.push(part);
    at = next;
  }
}

function readPart(body: Buffer, from: number, next: number): Part | undefined {
  // Some readers take lines without CR, too (Go's mime/multipart).
  const blank = /^\r?\n|\r?\n\r?\n/.exec(body.toString('latin1', from, next));
  if (!blank) return undefined;
  const head = body.toString('utf8', from, from + blank.index).replace(/\r?\n[ \t]+/g, ' ');
  const start = from + blank.index + blank[0].length;
  // Said twice, it is both: readers differ in which they take.
  const field = (name: string): string => [...head.matchAll(new RegExp(`^${name}[ \\t]*:[ \\t]*(.*)$`, 'gim'))].map(([, value = '']) => value.trim()).join(', ');
  const disposition = field('content-disposition');
  const parameter = (name: string): string => {
    const found = new RegExp(`;\\s*${name}\\*?\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;]+))`, 'i').exec(disposition);
    return found?.[1] ?? found?.[2] ?? '';
  };
  const to = body[next - 1] === 10 ? (body[next - 2] === 13 ? next - 2 : next - 1) : next;
  if (to < start) return undefined;
  return { name: parameter('name'), filename: parameter('filename'), contentType: field('content-type').toLowerCase(), encoding: field('content-transfer-encoding').toLowerCase(), from: start, to, headFrom: from };
}
