/** What a PostgreSQL client says in one message, value by value, as the server will read it (PostgreSQL documentation, "Message Formats" and "COPY": binary format). */
import { apart } from '../inspect/encoded-runs.ts';
import { Pieces } from '../body/pieces.ts';
import { unnamed } from '../inspect/protobuf-view.ts';

/** What is said at a place ('the query', 'a copied row'), in pieces that belong together. */
export interface Spoken {
  readonly place: string;
  readonly text: Buffer[];
}

/** Reads one after the other; throws RangeError behind the end. */
class Fields {
  readonly body: Buffer;
  #at = 0;
  constructor(body: Buffer) {
    this.body = body;
  }

  int16(): number {
    return this.body.readUInt16BE((this.#at += 2) - 2);
  }
  int32(): number {
    return this.body.readInt32BE((this.#at += 4) - 4);
  }
  bytes(length: number): Buffer {
    const from = this.#at;
    this.#at += length;
    if (length < 0 || this.#at > this.body.length) throw new RangeError('cut');
    return this.body.subarray(from, this.#at);
  }
  text(): Buffer {
    const end = this.body.indexOf(0, this.#at);
    if (end < 0) throw new RangeError('cut');
    const text = this.body.subarray(this.#at, end);
    this.#at = end + 1;
    return text;
  }
  get rest(): number {
    return this.body.length - this.#at;
  }
}

type Say = (place: string, value: Buffer) => void;

/** Bytes up to which values are looked at together: there can be tens of thousands. */
const short = 64;
/** Between values, so that none says what the next is. */
const between = Buffer.from(apart);

/** Short ones together, each long one by itself. */
function sayAll(all: readonly Buffer[], place: string, say: Say): void {
  say(place, Buffer.concat(all.filter((value) => value.length <= short).flatMap((value) => [value, between])));
  for (const value of all) if (value.length > short) say(place, value);
}

/** Values with their formats, of Bind and FunctionCall. */
function values(fields: Fields, place: string, say: Say): void {
  const all: Buffer[] = [];
  const formats = Array.from({ length: fields.int16() }, () => fields.int16());
  const count = fields.int16();
  for (let i = 0; i < count; i += 1) {
    const length = fields.int32();
    if (length === -1) continue;
    const value = fields.bytes(length);
    all.push(value);
    if ((formats.length === 1 ? formats[0] : formats[i]) === 1) all.push(...inBinary(value));
  }
  sayAll(all, place, say);
}

const readers: ReadonlyMap<string, (fields: Fields, say: Say) => void> = new Map<string, (fields: Fields, say: Say) => void>([
  ['Q', (fields, say) => say('the query', fields.text())],
  ['P', (fields, say) => {
    say('a name of the query', fields.text());
    say('the query', fields.text());
    fields.bytes(fields.int16() * 4);
  }],
  ['B', (fields, say) => {
    for (let i = 0; i < 2; i += 1) say('a name of the query', fields.text());
    values(fields, 'a parameter of the query', say);
    fields.bytes(fields.int16() * 2);
  }],
  ['F', (fields, say) => {
    fields.int32();
    values(fields, 'an argument of a function', say);
    fields.int16();
  }],
  ['E', (fields, say) => {
    say('a name of the query', fields.text());
    fields.int32();
  }],
  ...['D', 'C'].map((type) => [type, (fields: Fields, say: Say): void => {
    fields.bytes(1);
    say('a name of the query', fields.text());
  }] as const),
  ['f', (fields, say) => say('the end of a copy', fields.text())],
  ...['H', 'S', 'X', 'c'].map((type) => [type, () => undefined] as const),
]);

/** The values of a message of this type but CopyData; undefined where it is none that a client sends behind its login, or holds something else. */
export function valuesOfMessage(type: string, body: Buffer): readonly Spoken[] | undefined {
  const fields = new Fields(body);
  const spoken: Spoken[] = [];
  const read = readers.get(type);
  if (!read) return undefined;
  try {
    read(fields, (place, value) => { if (value.length > 0) spoken.push({ place, text: [value] }); });
  } catch {
    return undefined;
  }
  return fields.rest === 0 ? spoken : undefined;
}

/** What bytes say that are sent as the server keeps them: a bigint, or a numeric without a fraction. */
function inBinary(value: Buffer): readonly Buffer[] {
  const told = value.length === 8 ? `${unnamed}${value.readBigInt64BE()}` : wholeNumeric(value);
  return told === undefined ? [] : [Buffer.from(told)];
}

/** Base-10000 digits behind their count, the weight of the first, a sign and a scale (src/backend/utils/adt/numeric.c, numeric_recv). */
function wholeNumeric(value: Buffer): string | undefined {
  if (value.length < 10 || value.length > 32 || value.length !== 8 + value.readUInt16BE(0) * 2) return undefined;
  const weight = value.readInt16BE(2);
  if (weight < 0 || weight > 8) return undefined;
  let digits = '';
  for (let i = 0; i <= weight; i += 1) digits += String(8 + i * 2 < value.length ? value.readUInt16BE(8 + i * 2) : 0).padStart(4, '0');
  return digits.replace(/^0+/, '');
}

const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
/** Bytes of a field that is waited for. */
const longestField = 1 << 20;
const waitedFor = (size: number): number => (size > longestField ? Infinity : size);

/** Follows a copy in binary through its messages, however it is cut into them: each field once its end is here. What is no such copy says nothing here. */
export class BinaryCopy {
  readonly #kept = new Pieces();
  /** Bytes with which there is something to read. */
  #need = signature.length;
  #state: 'signature' | 'header' | 'row' | 'none' = 'signature';
  #fields = 0;

  /** Bytes of a field that is not here whole. */
  get kept(): number {
    return this.#kept.size;
  }

  next(body: Buffer): readonly Spoken[] {
    if (this.#state === 'none') return [];
    this.#kept.add(body);
    if (this.#kept.size < this.#need) return [];
    const bytes = this.#kept.whole();
    this.#kept.take();
    const told: Buffer[] = [];
    let at = 0;
    while (this.#needs(bytes, at) <= bytes.length - at) at += this.#read(bytes, at, told);
    this.#need = this.#needs(bytes, at);
    // What is not waited for is not kept, nor what comes behind it.
    if (this.#need === Infinity) this.#state = 'none';
    else this.#kept.add(Buffer.from(bytes.subarray(at)));
    const spoken: Spoken[] = [];
    sayAll(told, 'a copied field', (place, value) => { if (value.length > 0) spoken.push({ place, text: [value] }); });
    return spoken;
  }

  /** Bytes of what stands at `at`, or of what says how many these are; without end where nothing more is read. */
  #needs(bytes: Buffer, at: number): number {
    const here = bytes.length - at;
    switch (this.#state) {
      case 'signature': return signature.length;
      // Flags, and an extension with its length.
      case 'header': return here < 8 ? 8 : waitedFor(8 + bytes.readUInt32BE(at + 4));
      case 'row': {
        if (this.#fields === 0) return 2;
        return here < 4 ? 4 : waitedFor(4 + Math.max(0, bytes.readInt32BE(at)));
      }
      default: return Infinity;
    }
  }

  /** What stands there, which is here whole; its bytes. */
  #read(bytes: Buffer, at: number, told: Buffer[]): number {
    const size = this.#needs(bytes, at);
    if (this.#state === 'signature') this.#state = bytes.subarray(at, at + size).equals(signature) ? 'header' : 'none';
    else if (this.#state === 'header') this.#state = 'row';
    // -1 is the end.
    else if (this.#fields === 0) this.#fields = Math.max(0, bytes.readInt16BE(at));
    else {
      this.#fields -= 1;
      const value = bytes.subarray(at + 4, at + size);
      if (value.length > 0) told.push(value, ...inBinary(value));
    }
    return size;
  }
}
