/** Plays the tables of messages inside HTTP/1.1, each through every door: what arrives is the same body, or nothing. */
import type { Checks } from '../../../harness/checks.ts';
import type { Canary } from '../canary.ts';
import { doors, enter } from '../desk.ts';
import { converse } from '../http.ts';
import type { Desk } from '../../../../layers/network-policy/src/testing/testing-egress.ts';
import type { Message } from './messages-table.ts';

function outcomeOf(answer: string): Message['expect'] | 'nothing' {
  if (/^HTTP\/1\.1 200 [\s\S]*\r\n\r\n\{"jsonrpc":"2\.0","id":1,"result":\{"from":"canary"\}\}$/.test(answer)) return 'passes';
  // A denial has the rule of the policy in it, whatever its form; a refusal one of the proxy.
  if (/"rule":"proxy\./.test(answer) || /^HTTP\/1\.1 (?:400|405|415|501) /.test(answer)) return 'refused';
  return /"rule":"(?:egress|default)/.test(answer) ? 'denied' : 'nothing';
}

export async function playMessages(check: Checks, desk: Desk, canary: Canary, host: string, rows: readonly Message[]): Promise<void> {
  for (const { name, body, method = 'POST', path = '/graphql', headers = '', expect } of rows) {
    const wrong: unknown[] = [];
    const request = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}${body === undefined ? '' : `Content-Length: ${body.length}\r\n`}\r\n${body ?? ''}`;
    // JSON made of text is UTF-8; what is written byte by byte stays as it is.
    const bytes = /[^\x00-\xff]/.test(request) ? Buffer.from(request.replace(/Content-Length: \d+/, `Content-Length: ${Buffer.byteLength(body ?? '')}`)) : Buffer.from(request, 'latin1');
    for (const door of doors) {
      const from = canary.requests.length;
      const socket = await enter(desk, door, host, canary.port);
      const answer = socket ? await converse(socket, bytes, 1) : 'no way in';
      const arrived = canary.requests.slice(from).map((one) => one.body);
      const right = outcomeOf(answer) === expect && JSON.stringify(arrived) === JSON.stringify(expect === 'passes' ? [body ?? ''] : []) && canary.faults.length === 0;
      if (!right) wrong.push({ door, answer: answer.slice(0, 500), arrived, faults: canary.faults.splice(0) });
    }
    check.that(`${host}, ${name}: ${expect}`, wrong.length === 0, wrong);
  }
}
