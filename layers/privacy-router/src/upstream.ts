/** One request to one provider; the answer is handed on as it comes. */
import type { ProviderPlan } from '@nemoclaw/contract';
import type { Dispatcher } from 'undici';

export interface Flow {
  pause(): void;
  resume(): void;
}

export interface UpstreamCall {
  readonly pool: Dispatcher;
  readonly provider: ProviderPlan;
  readonly path: string;
  readonly body: string;
  readonly stream: boolean;
  /** The provider accepted: its first byte of a 2xx answer of the right kind is here. */
  onStart(flow: Flow): void;
  /** May throw: the call then ends as `broken` with the error's message. */
  onData(chunk: Buffer): void;
}

export type UpstreamResult =
  | { readonly kind: 'complete' }
  /** Another status than 2xx; `body` is at most 64 KiB of it. */
  | { readonly kind: 'status'; readonly status: number; readonly body: string; readonly retryAfter: string }
  /** Broken before (`started: false`) or within the answer. */
  | { readonly kind: 'broken'; readonly started: boolean; readonly message: string };

const maxErrorBody = 64 * 1024;

/** Sends the request. Never rejects. Aborting the signal ends it as `broken`. */
export function callUpstream(call: UpstreamCall, signal: AbortSignal): Promise<UpstreamResult> {
  const { provider } = call;
  const base = new URL(provider.baseUrl);
  const body = Buffer.from(call.body);
  return new Promise((resolve) => {
    let status = 0;
    let started = false;
    let retryAfter = '';
    let problem: string | undefined;
    let controller: Dispatcher.DispatchController | undefined;
    const errorBody: Buffer[] = [];
    let errorSize = 0;
    const abort = (): void => controller?.abort(new Error('withdrawn'));
    const settle = (result: UpstreamResult): void => {
      signal.removeEventListener('abort', abort);
      resolve(result);
    };
    if (signal.aborted) {
      settle({ kind: 'broken', started, message: 'withdrawn' });
      return;
    }
    signal.addEventListener('abort', abort);
    const guard = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        problem = error instanceof Error ? error.message : 'The answer could not be read.';
        controller?.abort(new Error(problem));
      }
    };
    try {
      call.pool.dispatch(
        {
          origin: base.origin,
          path: `${base.pathname.replace(/\/+$/, '')}${call.path}`,
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            accept: call.stream ? 'text/event-stream' : 'application/json',
            'content-length': String(body.length),
            ...(provider.apiKey === '' ? {} : { authorization: `Bearer ${provider.apiKey}` }),
          },
          body,
        },
        {
          onRequestStart(given) {
            controller = given;
            if (signal.aborted) abort();
          },
          onResponseStart(given, code, headers) {
            if (code < 200) return;
            status = code;
            retryAfter = String(headers['retry-after'] ?? '');
            if (code >= 300) return;
            started = true;
            guard(() => {
              const type = String(headers['content-type'] ?? '');
              const encoding = String(headers['content-encoding'] ?? 'identity');
              if (encoding !== 'identity') throw new Error('The provider sent a compressed answer that was not asked for.');
              if (type.startsWith('text/event-stream') !== call.stream) throw new Error('The provider answered in another form than it was asked for.');
              call.onStart({ pause: () => given.pause(), resume: () => given.resume() });
            });
          },
          onResponseData(_given, chunk) {
            if (started) guard(() => call.onData(chunk));
            else if (errorSize < maxErrorBody) {
              errorSize += chunk.length;
              errorBody.push(chunk);
            }
          },
          onResponseEnd() {
            if (problem !== undefined) settle({ kind: 'broken', started, message: problem });
            else if (started) settle({ kind: 'complete' });
            else settle({ kind: 'status', status, body: Buffer.concat(errorBody).toString('utf8', 0, maxErrorBody), retryAfter });
          },
          onResponseError(_given, error) {
            settle({ kind: 'broken', started, message: problem ?? error.message });
          },
        },
      );
    } catch (error) {
      settle({ kind: 'broken', started, message: error instanceof Error ? error.message : 'The provider could not be reached.' });
    }
  });
}
