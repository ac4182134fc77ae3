/** Asks the providers that may see the request, one after the other; a retry happens only before the first byte and never widens the choice. */
import { setTimeout as pause } from 'node:timers/promises';
import type { ProviderPlan } from '@nemoclaw/contract';
import type { Answer, Dialect, JsonObject, Turn } from './dialect.ts';
import type { Listener } from './listener.ts';
import type { FilledParts } from './parts.ts';
import type { Pools } from './providers.ts';
import { SseParser } from './sse.ts';
import { callUpstream, type Flow, type UpstreamResult } from './upstream.ts';

export interface Consultation {
  readonly parts: FilledParts;
  readonly dialect: Dialect;
  readonly pools: Pools;
  readonly turn: Turn;
  readonly messages: readonly JsonObject[];
  readonly answer: Answer;
  /** In order of preference; at least one. */
  readonly providers: readonly ProviderPlan[];
  readonly mayUse: (provider: ProviderPlan) => boolean;
  readonly listener: () => Listener | undefined;
  readonly signal: AbortSignal;
}

export interface Consulted {
  readonly outcome: 'complete' | 'failed';
  readonly provider: ProviderPlan;
  readonly attempts: number;
  /** What the agent is told where it failed. */
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Fills `answer` and forwards its text. Never rejects. */
export async function consult(c: Consultation): Promise<Consulted> {
  const { limits } = c.parts;
  let last: Consulted | undefined;
  for (let attempt = 0; attempt <= limits.retries; attempt++) {
    const provider = c.providers[attempt % c.providers.length];
    if (!provider || c.signal.aborted) break;
    if (!c.mayUse(provider)) continue;
    if (attempt >= c.providers.length) await pause(limits.retryPauseMs * 2 ** (attempt - c.providers.length), undefined, { ref: false });
    const result = await attemptOnce(c, provider);
    if (result.kind === 'complete') return { outcome: 'complete', provider, attempts: attempt + 1, status: 200, code: '', message: '', headers: {} };
    last = failure(provider, attempt + 1, result);
    if (!isRetryable(result)) break;
  }
  const provider = last?.provider ?? c.providers[0];
  if (last) return last;
  if (!provider) throw new Error('no provider');
  return { outcome: 'failed', provider, attempts: 0, status: 403, code: 'no_provider', message: 'No provider may see this request any more.', headers: {} };
}

async function attemptOnce(c: Consultation, provider: ProviderPlan): Promise<UpstreamResult> {
  const { parts, dialect, turn, answer } = c;
  const reader = dialect.reader(answer, () => parts.ids.next('call'), parts.limits.maxAnswer, parts.limits.maxCalls);
  const chunks: Buffer[] = [];
  let size = 0;
  let flow: Flow | undefined;
  const parser = new SseParser((data) => reader.event(data), parts.limits.maxAnswer);
  const result = await callUpstream(
    {
      pool: c.pools.get(provider),
      provider,
      path: dialect.upstreamPath,
      body: dialect.upstreamBody(turn, c.messages, provider.model),
      stream: turn.stream,
      onStart(given) {
        flow = given;
        c.listener()?.begin();
      },
      onData(chunk) {
        if (!turn.stream) {
          size += chunk.length;
          if (size > parts.limits.maxAnswer) throw new Error('The answer is too large.');
          chunks.push(chunk);
          return;
        }
        parser.push(chunk);
        const listener = c.listener();
        // From the first byte of a tool call nothing is forwarded: it could not be taken back.
        if (!listener || listener.advance(answer, reader.free)) return;
        flow?.pause();
        listener.whenDrained(() => flow?.resume());
      },
    },
    c.signal,
  );
  if (result.kind !== 'complete') return result;
  try {
    if (!turn.stream) reader.whole(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    reader.finish();
    return result;
  } catch (error) {
    return { kind: 'broken', started: true, message: error instanceof Error ? error.message : 'The answer could not be read.' };
  }
}

function isRetryable(result: UpstreamResult): boolean {
  if (result.kind === 'broken') return !result.started;
  return result.kind === 'status' && (result.status === 429 || result.status === 408 || result.status >= 500);
}

/** What the agent may know of a failure. A provider's own words are passed on only where they speak of the request. */
function failure(provider: ProviderPlan, attempts: number, result: UpstreamResult): Consulted {
  const base = { outcome: 'failed' as const, provider, attempts, headers: {} };
  if (result.kind !== 'status') {
    const message = result.kind === 'broken' && result.started ? `The provider's answer broke off: ${result.message}` : 'The model provider could not be reached.';
    return { ...base, status: 502, code: result.kind === 'broken' && result.started ? 'upstream_broken' : 'upstream_unreachable', message };
  }
  const { status, body, retryAfter } = result;
  const code = `upstream_${status}`;
  if (status === 401 || status === 403) return { ...base, status: 502, code, message: 'The model provider did not accept the configured key.' };
  if (status === 429 || status === 503) {
    const headers: Record<string, string> = /^\d{1,6}$/.test(retryAfter) ? { 'retry-after': retryAfter } : {};
    return { ...base, status, code, message: 'The model provider is busy.', headers };
  }
  if (status === 400 || status === 404 || status === 413 || status === 422) return { ...base, status, code, message: `The model provider refused the request: ${ownWords(provider, body)}` };
  return { ...base, status: 502, code, message: `The model provider failed with status ${status}.` };
}

function ownWords(provider: ProviderPlan, body: string): string {
  let text = body;
  try {
    const parsed: unknown = JSON.parse(body);
    const error = typeof parsed === 'object' && parsed !== null && 'error' in parsed ? parsed.error : undefined;
    if (typeof error === 'object' && error !== null && 'message' in error) text = String(error.message);
  } catch {
    // Not JSON: the text itself.
  }
  const hidden = provider.apiKey === '' ? text : text.replaceAll(provider.apiKey, '[key]');
  return hidden.slice(0, 2000);
}
