/** For tests: a service that keeps objects as S3 does, behind an egress that signs for it, and uploads to it as the SDKs of AWS write them. */
import { openDesk, openUpstream, say, wholeAnswer } from './testing-egress.ts';

export interface Upload {
  readonly type?: string;
  /** '' for no such field. */
  readonly encoding?: string;
  /** What X-Amz-Content-SHA256 says. */
  readonly payload?: string;
  /** With a length, else in chunks of HTTP. */
  readonly sized?: boolean;
  /** A further field, in small letters, and its value. */
  readonly more?: readonly [name: string, value: string];
  /** Fields that are signed beside those that always are. */
  readonly signs?: readonly string[];
  readonly access?: string;
  readonly algorithm?: string;
}

export interface Stored {
  readonly headers: readonly string[];
  readonly target: string;
  readonly body: Buffer;
}

export interface Bucket extends AsyncDisposable {
  /** What arrived whole. */
  readonly seen: Stored[];
  /** The whole answer to an upload of `body`, whose data has this length. */
  put(body: Buffer, length: number, how?: Upload): Promise<string>;
}

export const placeholder = 'NEMO12345678';
export const noSignature: string = '0'.repeat(64);

/** `key`: what stands outside for the placeholder. */
export async function openBucket(key: { readonly secret: string; readonly accessKeyId: string }): Promise<Bucket> {
  const seen: Stored[] = [];
  const upstream = await openUpstream((req, res) => {
    const pieces: Buffer[] = [];
    req.on('error', () => undefined);
    req.on('data', (piece: Buffer) => pieces.push(piece));
    req.on('end', () => {
      seen.push({ headers: [...req.rawHeaders], target: req.url ?? '', body: Buffer.concat(pieces) });
      res.end('stored');
    });
  }, 's3.test');
  const desk = await openDesk({
    rules: [{ host: 's3.test', verdict: 'allow' }], pins: [{ host: 's3.test', caPem: upstream.caPem ?? '' }], ports: [upstream.port],
    credentials: [{ placeholder, value: key.secret, host: 's3.test', header: 'authorization', pathPrefix: '', port: upstream.port, sigv4: { accessKeyId: key.accessKeyId } }],
  });
  return {
    seen,
    put: async (body, length, { type = 'application/octet-stream', encoding = 'aws-chunked', payload = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', sized = true, more, signs = [], access = placeholder, algorithm = 'AWS4-HMAC-SHA256' } = {}) => {
      const signed = ['content-encoding', 'host', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-decoded-content-length', ...signs].toSorted().join(';');
      const head = [
        'PUT /bucket/key HTTP/1.1', `Host: s3.test:${upstream.port}`, 'User-Agent: Boto3/1.43.11', `Content-Type: ${type}`, ...(encoding === '' ? [] : [`Content-Encoding: ${encoding}`]), ...(more ? [more.join(': ')] : []),
        `X-Amz-Decoded-Content-Length: ${length}`, 'X-Amz-Date: 20261122T120000Z', `X-Amz-Content-SHA256: ${payload}`, `Authorization: ${algorithm} Credential=${access}/20261122/us-east-1/s3/aws4_request, SignedHeaders=${signed}, Signature=${noSignature}`,
        sized ? `Content-Length: ${body.length}` : 'Transfer-Encoding: chunked', 'Connection: close', '', '',
      ].join('\r\n');
      const sent = sized ? body : Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);
      return say(await desk.tls('s3.test', upstream.port), Buffer.concat([Buffer.from(head), sent]), wholeAnswer);
    },
    [Symbol.asyncDispose]: async () => {
      await desk.close();
      await upstream.close();
    },
  };
}
