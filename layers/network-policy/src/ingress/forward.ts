/** Carries one admitted request to the port in the sandbox, and its answer back: bounded, since an answer is a way out as well. */
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { CheckedRequest } from '../http/request-check.ts';

/** The most bytes of an answer; webhooks are answered with a line. */
export const answerBytes = 64 * 1024;
const answerMs = 60_000;
/** Of a content type: with more than this it would say things. */
const sane = /^[a-z]{1,16}\/[a-z0-9.+-]{1,40}(?:; ?charset=[\w-]{1,16})?$/i;
const none = 'application/octet-stream';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/** `to`: a connection that is this request's alone. Rejects if there is no whole answer in time, or a larger one. */
export function forward(to: Duplex, port: number, checked: CheckedRequest, target: string, headers: readonly string[], body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      clearTimeout(timer);
      to.destroy();
      reject(error);
    };
    const timer = setTimeout(() => failed(new Error('there was no answer in time')), answerMs);
    const framing = checked.hasBody || body.length > 0 ? ['content-length', String(body.length)] : [];
    const out = request({
      createConnection: () => to, method: checked.method, path: target, setHost: false, insecureHTTPParser: false,
      headers: ['host', `localhost:${port}`, 'connection', 'close', ...headers, ...framing],
    });
    out.on('error', failed);
    out.on('upgrade', () => failed(new Error('the answer was an upgrade')));
    out.on('response', (answer: IncomingMessage) => {
      const parts: Buffer[] = [];
      let size = 0;
      answer.on('data', (part: Buffer) => {
        size += part.length;
        if (size > answerBytes) failed(new Error(`the answer is larger than ${answerBytes} bytes`));
        else parts.push(part);
      });
      answer.on('error', failed);
      answer.on('close', () => {
        if (!answer.complete) failed(new Error('the answer broke off'));
      });
      answer.on('end', () => {
        clearTimeout(timer);
        to.destroy();
        resolve({ status: answer.statusCode ?? 502, contentType: size === 0 ? none : (sane.exec(answer.headers['content-type'] ?? '')?.[0] ?? none), body: Buffer.concat(parts) });
      });
    });
    out.end(body);
  });
}
