/** Answers that the proxy gives itself, in a form an agent can read. */
import type { Decision } from '@nemoclaw/contract';
import { denialPage, wantsPage } from './denial-page.ts';
import { grpcDenial, isGrpc } from '../protocols/grpc.ts';
import type { Wire } from '../http/wire.ts';

/** The body of a 403: which rule, why, and what to do next. `eventId`: the correlation of the record, for `policy explain --event`. */
export function denialBody(decision: Pick<Decision, 'rules' | 'reason' | 'hint' | 'action'>, eventId?: string): Record<string, unknown> {
  const rules = decision.rules.map((rule) => rule.id);
  return { error: 'denied_by_policy', rule: rules[0] ?? 'default', rules, reason: decision.reason, hint: decision.hint, action: decision.action, layer: 'proxy', ...(eventId === undefined ? {} : { eventId }) };
}

/** `shown`: what is sent in place of `body`, whose rule and event still go into the headers. Sends `body` as JSON, or a denial as a page to a client that reads pages, once; if the head has gone out already the answer is cut instead. */
export function answerJson(wire: Wire, status: number, body: Readonly<Record<string, unknown>>, headers: Readonly<Record<string, string>> = {}, shown: unknown = body): void {
  if (wire.headSent || wire.gone) {
    wire.cut();
    return;
  }
  const { rawHeaders } = wire.fields;
  if (wire.version === '2' && rawHeaders.some((value, i) => i % 2 === 1 && rawHeaders[i - 1] === 'content-type' && isGrpc(value))) {
    const { rule, eventId } = body;
    wire.head(200, [...grpcDenial(status, body), ...(typeof rule === 'string' ? ['x-nemoclaw-rule', visible(rule)] : []), ...(typeof eventId === 'string' ? ['x-nemoclaw-event', eventId] : [])], true);
    wire.end();
    return;
  }
  const page = status === 403 && wantsPage(wire.fields.rawHeaders);
  const text = Buffer.from(page ? denialPage(body) : `${JSON.stringify(shown)}\n`);
  const fields = ['content-type', page ? 'text/html; charset=utf-8' : 'application/json', 'content-length', String(text.length), 'cache-control', 'no-store'];
  for (const [name, value] of Object.entries(headers)) fields.push(name, value);
  const { rule, eventId } = body;
  if (typeof eventId === 'string') fields.push('x-nemoclaw-event', eventId);
  if (typeof rule === 'string') fields.push('x-nemoclaw-rule', visible(rule));
  wire.head(status, fields);
  wire.write(text);
  wire.end();
}

const visible = (rule: string): string => rule.replace(/[^\x21-\x7e]/g, '?').slice(0, 200);

/** A whole HTTP answer for a socket that has no response object (parse errors, CONNECT, Upgrade). */
export function rawAnswer(status: 400 | 403 | 405 | 408 | 431 | 501, reason: string, body: Readonly<Record<string, unknown>>): string {
  const text = `${JSON.stringify(body)}\n`;
  const { rule, eventId } = body;
  const header = `${typeof rule === 'string' ? `x-nemoclaw-rule: ${visible(rule)}\r\n` : ''}${typeof eventId === 'string' ? `x-nemoclaw-event: ${eventId}\r\n` : ''}`;
  return `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n${header}connection: close\r\n\r\n${text}`;
}
