/** The framing of uploads to AWS (`content-encoding: aws-chunked`): taken off for whoever reads the body, and put on again for what is sent. */
import { refusal } from '../core.ts';
import { partsToSign } from '../credentials/sigv4.ts';
import type { ChunkSigner, SignedParts } from '../credentials/sigv4.ts';
import { Stopped } from '../hooks.ts';
import type { ByteTransform, Passing } from '../hooks.ts';
import { valuesOf } from '../http/fields.ts';
import { endThrough } from './outgoing-body.ts';
import { searchedTrailers } from '../inspect/request-trailers.ts';

/** What the reader tells, and asks. */
export interface Told {
  /** What is thrown where the framing is none that every reader reads alike. */
  refused(why: string): Error;
  /** The checksum behind the data (name, value), before anything behind it is sent. May throw. */
  trailer(fields: readonly string[]): void;
}

/** Bytes that a line of the framing may have: a size with a signature, or the checksum behind the data. */
const mostLine = 128;
/** Bytes of a chunk that is written: S3 refuses less than 8 KiB in any but the last. */
const writtenChunk = 64 * 1024;
const nothing = Buffer.alloc(0);

/** Reads the framing in any pieces. Beside the sizes stands nothing but signatures where there have to be some (nobody asks whether they are right: they are made anew), and behind the data is one checksum at most (AWS, "Signature calculations … including trailing headers"). */
export class AwsChunkReader implements ByteTransform {
  readonly #declared: readonly string[];
  readonly #told: Told;
  readonly #signed: SignedParts;
  #trailer: readonly string[] = [];
  #expects: 'size' | 'end of data' | 'trailer' | 'its signature' | 'end' | 'nothing' = 'size';
  #left = 0;
  #line = '';
  #total = 0;

  /** `headers` of the request: name, value, … */
  constructor(headers: readonly string[], told: Told, signed: SignedParts = 'nothing') {
    this.#signed = signed;
    this.#declared = valuesOf(headers, 'x-amz-decoded-content-length');
    this.#told = told;
  }

  /** Name and value of the checksum, once the end was read; empty where there is none. */
  get trailer(): readonly string[] {
    return this.#trailer;
  }

  next(bytes: Buffer): Buffer {
    const data: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const piece = bytes.subarray(at, at + this.#left);
        data.push(piece);
        this.#left -= piece.length;
        this.#total += piece.length;
        at += piece.length;
        continue;
      }
      const end = bytes.indexOf(10, at);
      const to = end < 0 ? bytes.length : end + 1;
      if (this.#line.length + to - at > mostLine) throw this.#told.refused('a line of its aws-chunked framing is too long');
      this.#line += bytes.toString('latin1', at, to);
      at = to;
      if (end < 0) continue;
      if (!this.#line.endsWith('\r\n')) throw this.#told.refused('a line of its aws-chunked framing does not end in CR and LF');
      this.#read(this.#line.slice(0, -2));
      this.#line = '';
    }
    return data.length === 1 ? (data[0] ?? nothing) : Buffer.concat(data);
  }

  end(): Buffer {
    if (this.#expects !== 'nothing' || this.#line !== '') throw this.#told.refused('its aws-chunked framing does not end where it should');
    if (this.#declared.some((length) => length !== String(this.#total))) throw this.#told.refused('x-amz-decoded-content-length is not the length of its data');
    return nothing;
  }

  #read(line: string): void {
    switch (this.#expects) {
      case 'size': {
        const [size = '', ...signature] = line.split(';');
        if (this.#signed === 'nothing' ? signature.length > 0 : signature.length !== 1 || !/^chunk-signature=[0-9a-f]{64}$/.test(signature[0] ?? '')) throw this.#told.refused('beside the size of a chunk stands something else than has to');
        if (!/^(?:0|[1-9a-f][0-9a-f]{0,7})$/i.test(size)) throw this.#told.refused('a chunk of its aws-chunked framing has no size');
        this.#left = Number.parseInt(size, 16);
        if (this.#left > 0) this.#expects = 'end of data';
        else this.#expects = this.#signed === 'chunks' ? 'end' : 'trailer';
        return;
      }
      case 'end of data':
        if (line !== '') throw this.#told.refused('a chunk of its aws-chunked framing is longer than its size');
        this.#expects = 'size';
        return;
      case 'trailer': {
        if (line === '' && this.#signed === 'nothing') {
          this.#expects = 'nothing';
          return;
        }
        const [, name = '', value = ''] = /^(x-amz-checksum-[a-z0-9]{1,16}):([A-Za-z0-9+/]{4,88}={0,2})$/.exec(line) ?? [];
        if (name === '') throw this.#told.refused('behind its data stands something other than one checksum');
        this.#trailer = [name, value];
        this.#expects = this.#signed === 'nothing' ? 'end' : 'its signature';
        return;
      }
      case 'its signature':
        if (!/^x-amz-trailer-signature:[0-9a-f]{64}$/.test(line)) throw this.#told.refused('behind its checksum stands no signature of it');
        this.#expects = 'end';
        return;
      case 'end':
        if (line !== '') throw this.#told.refused('behind its data stands something other than one checksum');
        this.#told.trailer(this.#trailer);
        this.#expects = 'nothing';
        return;
      default: throw this.#told.refused('its aws-chunked framing goes on behind its end');
    }
  }
}

/** Frames anew what `reader` unframed, with its checksum; `signer`: of every chunk, and of the checksum. */
export class AwsChunkWriter implements ByteTransform {
  readonly #reader: AwsChunkReader;
  readonly #signer: ChunkSigner | undefined;
  #kept: Buffer[] = [];
  #size = 0;

  constructor(reader: AwsChunkReader, signer?: ChunkSigner) {
    this.#reader = reader;
    this.#signer = signer;
  }

  next(data: Buffer): Buffer {
    if (data.length > 0) this.#kept.push(data);
    this.#size += data.length;
    return this.#size >= writtenChunk ? this.#chunk() : nothing;
  }

  end(): Buffer {
    const data = this.#size > 0 ? this.#chunk() : nothing;
    const lines = [this.#head()];
    const [name, value] = this.#reader.trailer;
    if (name !== undefined && value !== undefined) {
      lines.push(`${name}:${value}`);
      if (this.#signer) lines.push(`x-amz-trailer-signature:${this.#signer.checksum(name, value)}`);
    }
    return Buffer.concat([data, Buffer.from([...lines, '', ''].join('\r\n'), 'latin1')]);
  }

  #head(): string {
    const size = this.#size.toString(16);
    return this.#signer ? `${size};chunk-signature=${this.#signer.chunk(this.#kept)}` : size;
  }

  #chunk(): Buffer {
    const framed = Buffer.concat([Buffer.from(`${this.#head()}\r\n`, 'latin1'), ...this.#kept, Buffer.from('\r\n', 'latin1')]);
    this.#kept = [];
    this.#size = 0;
    return framed;
  }
}

/** What reads the framing of this request, and refuses what it cannot. */
export function awsChunkReader(passing: Passing): AwsChunkReader {
  const { checked, core } = passing;
  // Signatures that are not made anew would be a place where something could stand.
  const anew = core.config.credentials.some(({ sigv4, placeholder }) => sigv4 !== undefined && checked.headers.some((value) => value.includes(placeholder)));
  return new AwsChunkReader(checked.headers, {
    refused: (why) => new Stopped(refusal(core.config.version, 'proxy.body-encoding', `It cannot be checked: ${why}.`, 'Send it in aws-chunked framing as its headers say, its chunks signed only with a placeholder, or whole.'), why),
    trailer: (fields) => { searchedTrailers(passing, fields); },
  }, anew ? partsToSign(checked.headers) : 'nothing');
}

/** A body that is held, framed anew with its chunks signed. Throws Stopped. */
export function resigned(passing: Passing, body: Buffer, signer: ChunkSigner): Buffer {
  const reader = awsChunkReader(passing);
  const writer = new AwsChunkWriter(reader, signer);
  const begun = writer.next(reader.next(body));
  return Buffer.concat([begun, endThrough([reader, writer])]);
}

/** The data of a body that is held: without the framing of uploads to AWS, where it has one. Throws Stopped. */
export function unframed(passing: Passing, body: Buffer): Buffer {
  if (passing.checked.awsChunked !== true) return body;
  const reader = awsChunkReader(passing);
  const data = reader.next(body);
  reader.end();
  return data;
}
