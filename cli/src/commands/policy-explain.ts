/** `nemoclaw policy explain <name>`: what would be decided, by which rule; changes nothing. */
import type { Explain, Explained } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { Failure } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { mark } from '../verdict-mark.ts';

export interface ExplainFlags extends CommonFlags {
  readonly tool?: string;
  readonly args?: string;
  readonly url?: string;
  readonly method?: string;
  readonly headers?: string;
  readonly body?: string;
  readonly message?: string;
  readonly event?: string;
  readonly connect?: string;
  readonly action?: string;
  readonly file?: string;
  readonly op?: string;
  readonly to?: string;
}

export async function run(this: CliContext, flags: ExplainFlags, named?: string): Promise<void> {
  const question: Explain = { sandbox: named ?? this.sandbox, request: await requestFrom(flags) };
  const answer = await call<Explained>(this, 'POST', '/v1/policy/explain', question);
  if (flags.json) return sayJson(this, answer);
  const word = { allow: 'Allowed', deny: 'Denied', escalate: 'Waiting' }[answer.verdict];
  const { explainedLines } = await import('@nemoclaw/contract');
  say(this, explainedLines(answer, mark(this, word)));
}

async function requestFrom(flags: ExplainFlags): Promise<Explain['request']> {
  const given = (['tool', 'url', 'connect', 'action', 'file', 'event'] as const).filter((name) => flags[name] !== undefined);
  if (given.length !== 1) throw new Failure('NEMO_E_USAGE', { what: 'Say one thing to explain.', fix: 'Give one of --tool, --url, --connect, --action, --file or --event.' });
  if (flags.tool !== undefined) return { kind: 'tool', tool: flags.tool, arguments: object(flags.args, '--args') };
  if (flags.url !== undefined) return { kind: 'http', method: (flags.method ?? 'GET').toUpperCase(), url: flags.url, ...(flags.headers === undefined ? {} : { headers: object(flags.headers, '--headers') as Record<string, string> }), body: object(flags.body, '--body'), ...said(flags) };
  if (flags.event !== undefined) return { kind: 'event', id: flags.event };
  if (flags.file !== undefined) return { kind: 'file', op: await operation(flags.op ?? 'read'), path: flags.file, ...(flags.to === undefined ? {} : { toPath: flags.to }) };
  if (flags.action !== undefined) return { kind: 'action', action: flags.action, params: object(flags.args, '--args') };
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(flags.connect ?? '') ?? [];
  if (host === undefined || port === undefined) throw new Failure('NEMO_E_USAGE', { what: '--connect needs host:port.' });
  return { kind: 'connect', host, port: Number(port), ...said(flags) };
}

/** As given: the gateway checks what it is. */
function said(flags: ExplainFlags): { message?: Extract<Explain['request'], { kind: 'http' }>['message'] } {
  return flags.message === undefined ? {} : { message: object(flags.message, '--message') as NonNullable<Extract<Explain['request'], { kind: 'http' }>['message']> };
}

async function operation(word: string): Promise<Extract<Explain['request'], { kind: 'file' }>['op']> {
  const { explainOps } = await import('@nemoclaw/contract');
  const op = explainOps.find((one) => one === word);
  if (op === undefined) throw new Failure('NEMO_E_USAGE', { what: `${word} is not an operation.`, fix: `It is one of ${explainOps.join(', ')}.` });
  return op;
}

function object(json: string | undefined, flag: string): Record<string, unknown> {
  if (json === undefined) return {};
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // told below, like every other value that is no object
  }
  throw new Failure('NEMO_E_USAGE', { what: `${flag} needs a JSON object.` });
}
