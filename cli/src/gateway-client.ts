/** HTTP to the gateway over its Unix socket. Answers are trusted to have the contract's shape: both ends are of one version. */
import { request, type IncomingMessage } from 'node:http';
import type { ErrorBody } from '@nemoclaw/contract';
import type { CliContext } from './context.ts';
import { AnsweredFailure, Failure } from './failure.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** One request; resolves with the answer's JSON. Throws AnsweredFailure for an error answer, Failure if the gateway cannot be reached. */
export async function call<T>(context: CliContext, method: Method, path: string, body?: unknown): Promise<T> {
  const response = await send(context, method, path, body);
  const text = await readAll(response);
  if (!isSuccess(response)) throw new AnsweredFailure(errorFrom(response, text));
  if (text === '') return undefined as T;
  return parseJson(text) as T;
}

/** One request whose answer is a stream of text (server-sent events). */
export async function openStream(context: CliContext, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  const response = await send(context, 'GET', path, undefined, { accept: 'text/event-stream' }, signal);
  if (!isSuccess(response)) throw new AnsweredFailure(errorFrom(response, await readAll(response)));
  return response;
}

function send(context: CliContext, method: Method, path: string, body?: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<IncomingMessage> {
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const outgoing = request({
      socketPath: context.places.gatewaySocket,
      // a connection of its own: a kept one may have been closed by the other side during a long step
      agent: false,
      method,
      path,
      headers: { host: 'nemoclaw', accept: 'application/json', ...(payload ? { 'content-type': 'application/json', 'content-length': payload.length } : {}), ...headers },
      ...(signal ? { signal } : {}),
    });
    outgoing.on('response', resolve);
    outgoing.on('error', (error) => reject(unreachable(context, error)));
    outgoing.end(payload);
  });
}

/** What it means that the socket could not be used. */
export function unreachable(context: CliContext, error: Error & { code?: string }): Error {
  if (error.name === 'AbortError') return error;
  if (error.code === 'EACCES') {
    return new Failure('NEMO_E_PEER', {
      what: 'You may not talk to NemoClaw on this machine.',
      why: 'Your login is not in the group nemoclaw-operators (or was added after you logged in).',
      cause: error,
    });
  }
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return new Failure('NEMO_E_NO_DAEMON', { what: 'NemoClaw is not running.', why: `Nothing listens at ${context.places.gatewaySocket}.`, cause: error });
  }
  return new Failure('NEMO_E_NO_DAEMON', { what: 'The connection to the gateway broke.', why: error.message, fix: 'Try again; `nemoclaw status` says whether it is back.', cause: error });
}

const isSuccess = (response: IncomingMessage): boolean => (response.statusCode ?? 500) >= 200 && (response.statusCode ?? 500) < 300;

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function errorFrom(response: IncomingMessage, text: string): ErrorBody['error'] {
  const parsed = parseJson(text) as Partial<ErrorBody> | undefined;
  if (parsed?.error && typeof parsed.error.code === 'string') return parsed.error;
  return { code: 'NEMO_E_INTERNAL', what: `The gateway answered ${response.statusCode} without saying why.`, fix: 'Run `nemoclaw doctor`.' };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
