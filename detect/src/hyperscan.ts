/**
 * The scanner with Hyperscan before it, where the host has the library and the package that calls it: the library says where something could start, the scanner's own pass
 * looks there and nowhere else. The findings are those of `scan`, which tests hold it to; where the library is not there or fails, `scan` itself does it all.
 */
import { createRequire } from 'node:module';
import type { ScannerName } from '@nemoclaw/contract';
import type { Finding } from './finding.ts';
import { isSafeBefore, patterns } from './hyperscan-patterns.ts';
import { pass, type Position } from './pass.ts';
import { Runs } from './runs.ts';
import { lookEverywhere, scan, scanBy, type Look, type Scan } from './scan.ts';

/** What is used of koffi (https://koffi.dev). */
interface Koffi {
  load(path: string): { func: ((signature: string) => NativeCall) & ((name: string, result: string, parameters: readonly unknown[]) => NativeCall) };
  proto(result: string, parameters: readonly string[]): unknown;
  pointer(to: unknown): unknown;
}

type NativeCall = (...args: readonly unknown[]) => unknown;

/** As the dynamic loader finds it: Debian's libhyperscan5. */
export const hyperscanLibrary = 'libhs.so.5';
const koffiPackage = `@koromix/koffi-linux-${process.arch}`;

// Of hs.h: flags of an expression (a dot and a class match any byte, also a line end), the mode, and what `hs_scan` says when it was told to stop.
const caselessFlag = 1;
const dotAllFlag = 2;
const blockMode = 1;
const stopped = -3;

/** Characters of a text for which the library costs more than it saves. */
const shortest = 2048;
/** With more places than this, and one for every so many characters, the scanner alone is the faster one: each costs about a microsecond. */
const fewPlaces = 64;
const charactersAPlace = 256;

/**
 * Loads both and compiles the patterns (some 100 ms). Undefined, with the reason told to `tell`, where one of them is not there or does not work.
 * The scanner throws where the library fails. `library`: a name for the dynamic loader, or a path. `least`: characters of a text from which on the library is asked.
 */
export function loadHyperscan(tell: (why: string) => void, library: string = hyperscanLibrary, least = shortest): Scan | undefined {
  try {
    const look = prepare(createRequire(import.meta.url)(koffiPackage) as Koffi, library, least);
    const found: Scan = (input, options) => scanBy(look, input, options);
    const sample = `${'some words and then '.repeat(shortest / 20)}, mail a.person@example.com, card 4111 1111 1111 1111\n{"password": "hunter22"}`;
    if (JSON.stringify(found(sample)) !== JSON.stringify(scan(sample))) throw new Error('it does not find what it should');
    return found;
  } catch (error) {
    tell(reasonOf(error));
    return undefined;
  }
}

/** Which scanner is in use, and why not the other one ('' for Hyperscan). */
export type ToldScanner = (scanner: ScannerName, why: string) => void;

/** `scan`, with Hyperscan before it from now on and until it fails, if it ever does: nothing is left unsearched by that. `tell` hears which one it is, at once and when that changes. Never throws. */
export function fastestScan(tell: ToldScanner, library?: string): Scan {
  let ahead = loadHyperscan((why) => tell('typescript', why), library);
  if (ahead) tell('hyperscan', '');
  return (input, options) => {
    try {
      if (ahead) return ahead(input, options);
    } catch (error) {
      ahead = undefined;
      tell('typescript', reasonOf(error));
    }
    return scan(input, options);
  };
}

const reasonOf = (error: unknown): string => (error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'it does not work');

function prepare(koffi: Koffi, library: string, least: number): Look {
  const hs = koffi.load(library);
  const onMatch = koffi.pointer(koffi.proto('int', ['uint', 'uint64_t', 'uint64_t', 'uint', 'void *']));
  const compile = hs.func('int hs_compile_multi(const char **expressions, const uint *flags, const uint *ids, uint count, uint mode, void *platform, _Out_ void **db, _Out_ void **error)');
  const allocate = hs.func('int hs_alloc_scratch(void *db, _Inout_ void **scratch)');
  const run = hs.func('hs_scan', 'int', ['void *', 'const uint8_t *', 'uint', 'uint', 'void *', onMatch, 'void *']);
  const [db, failure, scratch]: [unknown[], unknown[], unknown[]] = [[null], [null], [null]];
  const flags = patterns.map(({ caseless }) => (caseless ? caselessFlag | dotAllFlag : dotAllFlag));
  const compiled = compile(patterns.map(({ expression }) => expression), flags, patterns.map((_, i) => i), patterns.length, blockMode, null, db, failure);
  if (compiled !== 0) throw new Error('the patterns do not compile');
  if (allocate(db[0], scratch) !== 0) throw new Error('no memory for the library');

  /** Where something could end that begins as a pattern does, in order; undefined where that is nearly everywhere. */
  const placesIn = (text: string, bytes: Uint8Array): readonly Place[] | undefined => {
    const places: Place[] = [];
    const most = fewPlaces + text.length / charactersAPlace;
    // It only takes down: what is done with it is done when the library is left.
    const matched = (id: number, _from: bigint | number, to: bigint | number): number => {
      const end = Number(to);
      places.push({ end, from: patterns[id]?.fromScheme === true ? text.lastIndexOf('//', end) - 1 : end - 1 });
      return places.length > most ? 1 : 0;
    };
    const said = run(db[0], bytes, bytes.length, 0, scratch[0], matched, null);
    if (said === stopped) return undefined;
    if (said !== 0) throw new Error(`the library failed on a text (${String(said)})`);
    // By where they begin: a place inside the user name of a URL must not lead past the beginning of the URL.
    return places.sort((a, b) => a.from - b.from || a.end - b.end);
  };
  return (text, bytes, out) => {
    const places = text.length < least ? undefined : placesIn(text, bytes);
    if (!places) return lookEverywhere(text, bytes, out);
    const [position, runs]: [Position, Runs] = [{ at: 0, word: -1 }, new Runs()];
    for (const place of places) if (place.end > position.at) goTo(text, bytes, position, place, runs, out);
  };
}

interface Place {
  /** Its anchor. */
  readonly from: number;
  readonly end: number;
}

/** Has the pass look at what ends at `end`, from the last place before it where it can start anew. */
function goTo(text: string, bytes: Uint8Array, position: Position, { from, end }: Place, runs: Runs, out: Finding[]): void {
  let start = from;
  while (start > position.at && isSafeBefore[text.charCodeAt(start - 1)] === 0) start -= 1;
  if (start > position.at) {
    position.at = start;
    position.word = -1;
  }
  pass(text, bytes, position, end, out, runs);
}
