/**
 * The scanner with Hyperscan before it, where the host has libhyperscan and koffi: the library says where something could start, the scanner's own pass looks there
 * and nowhere else. The findings are those of `scan`; a test holds the two together. Neither is a dependency: without them everything works, at the scanner's own speed.
 */
import { createRequire } from 'node:module';
import { settle, type Finding } from './finding.ts';
import { patterns, safeBefore } from './hyperscan-patterns.ts';
import { pass, type Position } from './pass.ts';

export interface Hyperscan {
  /** As `scan(bytes)`. Inputs are at most 4 GiB. Throws where the library fails. */
  scan(bytes: Uint8Array): Finding[];
}

/** What is used of koffi (https://koffi.dev). */
interface Koffi {
  load(path: string): { func(signature: string): (...args: readonly unknown[]) => unknown };
  proto(signature: string): unknown;
}

const caselessFlag = 1;
/** A dot and a class match any byte, also a line end. */
const dotAllFlag = 2;
const blockMode = 1;

/**
 * Loads both, compiles the patterns (a few hundred ms). Undefined, with the reason told to `tell`, where one of them is not there or does not work.
 * `koffi`: a module name or path; `library`: a name for the dynamic loader, or a path.
 */
export function loadHyperscan(tell: (why: string) => void, koffi = 'koffi', library = 'libhs.so.5'): Hyperscan | undefined {
  try {
    return prepare(createRequire(import.meta.url)(koffi) as Koffi, library);
  } catch (error) {
    tell(`Hyperscan is not used: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'it does not load'}`);
    return undefined;
  }
}

function prepare(koffi: Koffi, library: string): Hyperscan {
  const hs = koffi.load(library);
  koffi.proto('int NemoclawMatch(uint id, uint64_t from, uint64_t to, uint flags, void *context)');
  const compile = hs.func('int hs_compile_multi(const char **expressions, const uint *flags, const uint *ids, uint count, uint mode, void *platform, _Out_ void **db, _Out_ void **error)');
  const allocate = hs.func('int hs_alloc_scratch(void *db, _Inout_ void **scratch)');
  const run = hs.func('int hs_scan(void *db, const uint8_t *data, uint length, uint flags, void *scratch, NemoclawMatch *matched, void *context)');
  const [db, failure, scratch]: [unknown[], unknown[], unknown[]] = [[null], [null], [null]];
  const flags = patterns.map(({ caseless }) => (caseless ? caselessFlag | dotAllFlag : dotAllFlag));
  const compiled = compile(patterns.map(({ expression }) => expression), flags, patterns.map((_, i) => i), patterns.length, blockMode, null, db, failure);
  if (compiled !== 0) throw new Error('the patterns do not compile');
  if (allocate(db[0], scratch) !== 0) throw new Error('no memory for the library');
  return {
    scan: (bytes) => {
      // The library takes no empty text.
      if (bytes.length === 0) return [];
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
      const out: Finding[] = [];
      const position: Position = { at: 0, word: -1 };
      const look = (id: number, _from: bigint | number, to: bigint | number): number => {
        const end = Number(to);
        if (end > position.at) goTo(text, position, end, patterns[id]?.fromScheme === true, out);
        return 0;
      };
      if (run(db[0], bytes, bytes.byteLength, 0, scratch[0], look, null) !== 0) throw new Error('the library failed on this text');
      return settle(out);
    },
  };
}

/** Has the pass look at what ends at `end`, from the last place before it where it can start anew. */
function goTo(text: string, position: Position, end: number, fromScheme: boolean, out: Finding[]): void {
  let start = fromScheme ? text.lastIndexOf('//', end) - 1 : end - 1;
  while (start > position.at && !safeBefore.has(text.charCodeAt(start - 1))) start -= 1;
  if (start > position.at) {
    position.at = start;
    position.word = -1;
  }
  pass(text, position, end, out);
}
