/** The framing of uploads to AWS (`content-encoding: aws-chunked`, chunks without signatures): taken off for whoever reads the body, and put on again for what is sent. */
import { refusal } from '../core.ts';
import { Stopped } from '../hooks.ts';
import type { ByteTransform, Passing } from '../hooks.ts';
import { valuesOf } from '../http/fields.ts';
import { searchedTrailers } from '../inspect/request-trailers.ts';

/** What the reader tells, and asks. */
export interface Told {
  /** What is thrown where the framing is none that every reader reads alike. */
  refused(why: string): Error;
  /** The checksum behind the data (name, value), before anything behind it is sent. May throw. */
  trailer(fields: readonly string[]): void;
}

/** Bytes that a line of the framing may have: a size, or the checksum behind the data. */
const mostLine = 128;
/** Bytes of a chunk that is written: S3 refuses less than 8 KiB in any but the last. */
const writtenChunk = 64 * 1024;
const nothing = Buffer.alloc(0);

/** Reads the framing in any pieces. Sizes are plain, nothing stands beside them, and behind the data is one checksum at most (AWS, "Signature calculations … including trailing headers"). */
export class AwsChunkReader implements ByteTransform {
  readonly #declared: readonly string[];
  readonly #told: Told;
  #trailer: readonly string[] = [];
  #expects: 'size' | 'end of data' | 'trailer' | 'nothing' = 'size';
  #left = 0;
  #line = '';
  #total = 0;

  /** `headers` of the request: name, value, … */
  constructor(headers: readonly string[], told: Told) {
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
      case 'size':
        if (line.includes(';')) throw this.#told.refused('its chunks are signed one by one, or have extensions');
        if (!/^(?:0|[1-9a-f][0-9a-f]{0,7})$/i.test(line)) throw this.#told.refused('a chunk of its aws-chunked framing has no size');
        this.#left = Number.parseInt(line, 16);
        this.#expects = this.#left > 0 ? 'end of data' : 'trailer';
        return;
      case 'end of data':
        if (line !== '') throw this.#told.refused('a chunk of its aws-chunked framing is longer than its size');
        this.#expects = 'size';
        return;
      case 'trailer': {
        if (line === '') {
          this.#told.trailer(this.#trailer);
          this.#expects = 'nothing';
          return;
        }
        const [, name = '', value = ''] = /^(x-amz-checksum-[a-z0-9]{1,16}):([A-Za-z0-9+/]{4,88}={0,2})$/.exec(line) ?? [];
        if (name === '' || this.#trailer.length > 0) throw this.#told.refused('behind its data stands something other than one checksum');
        this.#trailer = [name, value];
        return;
      }
      default: throw this.#told.refused('its aws-chunked framing goes on behind its end');
    }
  }
}

/** Frames anew what `reader` unframed, with its checksum; no chunk has a signature that would say otherwise. */
export class AwsChunkWriter implements ByteTransform {
  readonly #reader: AwsChunkReader;
  #kept: Buffer[] = [];
  #size = 0;

  constructor(reader: AwsChunkReader) {
    this.#reader = reader;
  }

  next(data: Buffer): Buffer {
    if (data.length > 0) this.#kept.push(data);
    this.#size += data.length;
    return this.#size >= writtenChunk ? this.#chunk() : nothing;
  }

  end(): Buffer {
    const [name, value] = this.#reader.trailer;
    const end = name === undefined ? '0\r\n\r\n' : `0\r\n${name}:${value}\r\n\r\n`;
    return Buffer.concat([this.#size > 0 ? this.#chunk() : nothing, Buffer.from(end, 'latin1')]);
  }

  #chunk(): Buffer {
    const framed = Buffer.concat([Buffer.from(`${this.#size.toString(16)}\r\n`, 'latin1'), ...this.#kept, Buffer.from('\r\n', 'latin1')]);
    this.#kept = [];
    this.#size = 0;
    return framed;
  }
}

/** What reads the framing of this request, and refuses what it cannot. */
export function awsChunkReader(passing: Passing): AwsChunkReader {
  const { checked, core } = passing;
  return new AwsChunkReader(checked.headers, {
    refused: (why) => new Stopped(refusal(core.config.version, 'proxy.body-encoding', `It cannot be checked: ${why}.`, 'Send it in aws-chunked framing without signatures of its chunks, or whole.'), why),
    trailer: (fields) => { searchedTrailers(passing, fields); },
  });
}

/** The data of a body that is held: without the framing of uploads to AWS, where it has one. Throws Stopped. */
export function unframed(passing: Passing, body: Buffer): Buffer {
  if (passing.checked.awsChunked !== true) return body;
  const reader = awsChunkReader(passing);
  const data = reader.next(body);
  reader.end();
  return data;
}
