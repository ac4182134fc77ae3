/** Runs of characters of one alphabet, each measured once: whoever asks again from further inside is told what is known of the rest. */
import { isAlnum, isDigit } from './characters.ts';

/** Characters of the body of some format. */
export interface Alphabet {
  /** 1 for each that belongs to it, by its ASCII code. */
  readonly has: Uint8Array;
  /** Place in the table of runs. */
  readonly id: number;
}

const alphabets = new Map<string, Alphabet>();

/** The alphabet of letters, digits and `extra`; `upper`: capital letters and digits only; `hex`: small hexadecimal digits only. The same object for the same alphabet. */
export function alphabet(extra: string, upper: boolean, hex: boolean): Alphabet {
  const key = hex ? 'hex' : upper ? 'upper' : `extra ${[...extra].toSorted().join('')}`;
  const known = alphabets.get(key);
  if (known) return known;
  const has = new Uint8Array(128);
  for (let c = 0; c < 128; c += 1) {
    const fits = hex ? isDigit(c) || (c >= 97 && c < 103) : upper ? isDigit(c) || (c >= 65 && c < 91) : isAlnum(c) || extra.includes(String.fromCharCode(c));
    if (fits) has[c] = 1;
  }
  const made = { has, id: alphabets.size };
  alphabets.set(key, made);
  return made;
}

/** What is known of one run, of which any part from `from` on may be asked for. */
export interface Run {
  from: number;
  /** Measured up to here. */
  end: number;
  /** Where its last digit and its last letter stand; -1 for none. */
  digit: number;
  letter: number;
  /** Where the last six equal characters begin; `sameSolid`: the last that end before `solid`. */
  same: number;
  sameSolid: number;
  /** How many equal ones it ends with. */
  equal: number;
  /** Behind its last character that is none of `.-=`. */
  solid: number;
  /** The last three dots before `solid`, and those behind it. */
  dots: readonly number[];
  loose: number[];
}

const none: readonly number[] = [];

export class Runs {
  readonly #runs: (Run | undefined)[] = [];
  /** Characters that were looked at: never many more than the text has, whatever it holds. */
  steps = 0;
  /** Up to here, from where the last `curl` stands, no option of it names a user. */
  noOption = 0;
  #bareFrom = -1;
  #bareEnd = -1;
  #listAt = -1;
  #beforeList = -1;
  #keyType = -1;

  /** Where the last character before `at` stands that is none of a list of numbers, or one that is `reach` characters before `at` or more. */
  beforeList(text: string, at: number, reach: number): number {
    const known = at < this.#listAt ? -1 : this.#listAt;
    let p = at - 1;
    while (p >= known && at - p < reach && isListed(text.charCodeAt(p))) p -= 1;
    this.steps += at - p;
    if (p < known) p = this.#beforeList;
    this.#listAt = at;
    this.#beforeList = p;
    return p;
  }

  /** Where a value without quotes ends that begins at `from`, or 514 characters further. */
  bare(text: string, from: number): number {
    const known = from >= this.#bareFrom && from <= this.#bareEnd;
    if (!known) this.#bareFrom = from;
    const begin = known ? this.#bareEnd : from;
    let p = begin;
    for (; p < text.length && p - from <= 513; p += 1) {
      const c = text.charCodeAt(p);
      if (c <= 32 || c === 34 || c === 39 || c === 38 || c === 44 || c === 59 || c === 96 || c === 125 || c === 60 || c === 62) break;
    }
    this.steps += p - begin + 1;
    this.#bareEnd = p;
    return p;
  }

  /** Where the name of a JSON Web Key's type stands at `from` or next behind it, or Infinity. Positions are asked for in rising order. */
  keyType(text: string, from: number): number {
    if (this.#keyType < from) {
      const at = text.indexOf('"kty"', from);
      this.#keyType = at < 0 ? Infinity : at;
    }
    return this.#keyType;
  }

  /** The run of `letters` that `from` stands in, measured up to `limit` at most. Positions are asked for in rising order. */
  measure(text: string, from: number, limit: number, { has, id }: Alphabet): Run {
    let run = this.#runs[id];
    if (!run || from < run.from || from > run.end) {
      run = { from, end: from, digit: -1, letter: -1, same: -1, sameSolid: -1, equal: 0, solid: from, dots: none, loose: [] };
      this.#runs[id] = run;
    }
    let p = run.end;
    for (; p < limit; p += 1) {
      const c = text.charCodeAt(p);
      if (c > 127 || has[c] !== 1) break;
      if (isDigit(c)) run.digit = p;
      else if (isAlnum(c)) run.letter = p;
      run.equal = p > run.from && text.charCodeAt(p - 1) === c ? run.equal + 1 : 1;
      if (run.equal >= 6) run.same = p - 5;
      if (c === 46) {
        if (run.loose.length === 3) run.loose.shift();
        run.loose.push(p);
      } else if (c !== 45 && c !== 61) {
        run.solid = p + 1;
        run.sameSolid = run.same;
        if (run.loose.length > 0) run.dots = [...run.dots, ...run.loose.splice(0)].slice(-3);
      }
    }
    this.steps += p - run.end + 1;
    run.end = p;
    return run;
  }
}

function isListed(c: number): boolean {
  return isDigit(c) || c === 44 || c === 34 || c === 39 || c === 32 || c === 10;
}
