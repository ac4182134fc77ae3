/** The local page of the door: what was denied lately, for programs that could be told no more than that (a name without an address, a refused CONNECT, a closed connection). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { safeLine } from '@nemoclaw/contract';
import type { AuditSink, LedgerEvent } from '@nemoclaw/contract';

/** So many of the newest are kept. */
const most = 32;

/** In the words that a denied request gets; `what`: without parameters, as on record. */
interface Denied {
  readonly time: string;
  readonly what: string;
  readonly rule: string;
  readonly reason: string;
  readonly hint: string;
  readonly eventId: string;
}

export class DeniedLately {
  readonly #kept: LedgerEvent[] = [];

  /** The same sink; denials are seen on their way to it. */
  seen(audit: AuditSink): AuditSink {
    return {
      emit: (event) => {
        if (event.verdict === 'deny' && this.#kept.push(event) > most) this.#kept.shift();
        audit.emit(event);
      },
      commit: (event) => audit.commit(event),
    };
  }

  /** Serves it, the newest last: JSON to who asks for JSON, else text. `help`: what stands above. */
  serve(help: string, req: IncomingMessage, res: ServerResponse): void {
    const denied = this.#kept.map(told);
    const json = req.headers.accept?.includes('application/json') === true;
    const text = json ? `${JSON.stringify({ denied })}\n` : `${help}\n${denied.length === 0 ? 'Nothing was denied yet.\n' : `Denied lately:\n${denied.map(asText).join('')}`}`;
    res.writeHead(200, { 'content-type': json ? 'application/json' : 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', connection: 'close' });
    res.end(req.method === 'HEAD' ? undefined : text);
  }
}

function told({ time, data, decision, correlation, message }: LedgerEvent): Denied {
  return { time: new Date(time).toISOString(), what: placeOf(data), rule: safeLine(decision?.rules[0]?.id ?? ''), reason: safeLine(decision?.reason ?? message, 400), hint: word(data, 'hint'), eventId: correlation ?? '' };
}

type Data = LedgerEvent['data'];

function word(data: Data, name: string): string {
  const value = data?.[name];
  return typeof value === 'string' || typeof value === 'number' ? safeLine(String(value), 400) : '';
}

function placeOf(data: Data): string {
  const name = word(data, 'name');
  if (name !== '') return `the name ${name}`;
  const place = data?.['host'] === undefined ? 'several places' : `${word(data, 'host')}:${word(data, 'port')}`;
  return data?.['method'] === undefined ? place : `${word(data, 'method')} ${place}${word(data, 'path')}`;
}

function asText({ time, what, rule, reason, hint, eventId }: Denied): string {
  return `  ${time}  ${what}\n    why   ${reason}\n${rule === '' ? '' : `    rule  ${rule}\n`}${hint === '' ? '' : `    next  ${hint}\n`}    event ${eventId}\n`;
}
