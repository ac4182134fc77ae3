/** Answers that the proxy gives itself, in a form an agent can read. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Decision } from '@nemoclaw/contract';

const drainFor = 500;

/** The body of a 403: which rule, why, and what to do next. */
export function denialBody(decision: Pick<Decision, 'rules' | 'reason' | 'hint' | 'action'>): Record<string, unknown> {
  const rules = decision.rules.map((rule) => rule.id);
  return { error: 'denied_by_policy', rule: rules[0] ?? 'default', rules, reason: decision.reason, hint: decision.hint, action: decision.action, layer: 'proxy' };
}

/** Sends `body` as JSON, once; if the head has gone out already the connection is cut instead. */
export function answerJson(req: IncomingMessage, res: ServerResponse, status: number, body: Readonly<Record<string, unknown>>, headers: Readonly<Record<string, string>> = {}): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const text = Buffer.from(`${JSON.stringify(body)}\n`);
  const fields: Record<string, string> = { 'content-type': 'application/json', 'content-length': String(text.length), 'cache-control': 'no-store', ...headers };
  const rule = body['rule'];
  if (typeof rule === 'string') fields['x-nemoclaw-rule'] = rule.replace(/[^\x21-\x7e]/g, '?').slice(0, 200);
  if (!uploaded(req)) fields['connection'] = 'close';
  res.writeHead(status, fields);
  res.write(text);
  endAfterUpload(req, res);
}

/** Whether nothing more of this request is to come. While its head is being handled, Node does not yet call a request without a body complete. */
export function uploaded(req: IncomingMessage): boolean {
  return req.complete || (req.headers['transfer-encoding'] === undefined && Number(req.headers['content-length'] ?? 0) === 0);
}

/** Ends `res`. If the upload still runs, it is read to its end for a short while first: closing on unread bytes would reset the connection and lose the answer. */
export function endAfterUpload(req: IncomingMessage, res: ServerResponse): void {
  if (uploaded(req) || req.destroyed) {
    res.end();
    return;
  }
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, drainFor);
  req.once('end', end);
  req.once('close', end);
  req.on('data', () => undefined);
  req.resume();
}

/** A whole HTTP answer for a socket that has no response object (parse errors, CONNECT, Upgrade). */
export function rawAnswer(status: 400 | 405 | 408 | 431 | 501, reason: string, body: Readonly<Record<string, unknown>>): string {
  const text = `${JSON.stringify(body)}\n`;
  return `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`;
}
