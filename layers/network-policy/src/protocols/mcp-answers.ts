/** What an MCP server sends back: its answers pass, its own requests to the client (sampling, elicitation, roots) only where a rule allows their method. */
import type { ByteTransform, IncomingHook, Passing } from '../hooks.ts';
import { Stopped } from '../hooks.ts';
import { refusal } from '../core.ts';
import { Pieces } from '../body/pieces.ts';
import { hasDuplicateKeys } from '../body/json-keys.ts';
import { dropField, valueOf, valuesOf } from '../http/fields.ts';
import { isObject } from './strict-json.ts';

/** Bytes of one event, and of an answer that is no stream. */
const longest = 8 << 20;
const nothing = Buffer.alloc(0);

export const mcpAnswers: IncomingHook = {
  open: (passing, head) => {
    if (!passing.asked.some(({ message }) => message.protocol === 'mcp')) return undefined;
    const type = valueOf(head.headers, 'content-type').toLowerCase();
    const encoding = valueOf(head.headers, 'content-encoding').toLowerCase();
    if (head.status >= 300 || head.status === 202 || head.status === 204) return undefined;
    // An event stream passes what is no event, which a reader that takes the other type would read.
    if (valuesOf(head.headers, 'content-type').some((value) => value.toLowerCase() !== type)) throw refused(passing, 'the answer of the MCP server says that it is two things');
    if (encoding !== '' && encoding !== 'identity') throw refused(passing, 'the MCP server answers in a content encoding, which is not read');
    if (!type.startsWith('text/event-stream')) return wholeAnswer(passing);
    // An event may be replaced by a longer one.
    dropField(head.headers, 'content-length');
    return eventFilter(passing);
  },
};

/** Methods of the requests of a server that are not allowed, in one JSON text; undefined where it cannot be told. */
function refusedMethods(passing: Passing, text: string): readonly string[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  // The client's parser may take the other of two keys.
  if (hasDuplicateKeys(text)) return undefined;
  const messages: readonly unknown[] = Array.isArray(value) ? value : [value];
  return messages.flatMap((one) => {
    const names = isObject(one) ? Object.keys(one) : [];
    const method = isObject(one) ? one['method'] : undefined;
    // A notification wants no answer, so that nothing leaves by it.
    if (!names.some((name) => name.toLowerCase() === 'method') || !names.some((name) => name.toLowerCase() === 'id')) return [];
    return typeof method === 'string' && allowed(passing, method) ? [] : [typeof method === 'string' ? method : '(odd)'];
  });
}

function allowed(passing: Passing, method: string): boolean {
  return passing.checked.paths.every((path) => {
    const resource = passing.resource(path);
    return passing.core.decide(passing.core.request('mcp', { ...resource, message: { protocol: 'mcp', method, tool: '', arguments: {} } })).verdict === 'allow';
  });
}

function refused(passing: Passing, why: string, hint = 'The server has to answer in JSON or as a stream of events, without a content encoding, with each key once.'): Stopped {
  return new Stopped(refusal(passing.core.config.version, 'proxy.mcp-answer', `${why}.`, hint), why);
}

/** An answer in one piece is judged before anything of it passes. */
function wholeAnswer(passing: Passing): ByteTransform {
  const parts = new Pieces();
  return {
    keepsAll: true,
    next: (chunk) => {
      parts.add(chunk);
      if (parts.size > longest || passing.keep?.(chunk.length) === false) throw refused(passing, 'the answer of the MCP server is too large to be read');
      return nothing;
    },
    end: () => {
      const bytes = parts.whole();
      const methods = bytes.length === 0 ? [] : refusedMethods(passing, bytes.toString('utf8'));
      if (methods === undefined) throw refused(passing, 'the answer of the MCP server cannot be read for certain');
      if (methods.length > 0) throw refused(passing, `the MCP server asks for ${methods[0] ?? ''}, which no rule allows`, 'Ask the operator to allow the method in the rule (`mcp.methods`).');
      return bytes;
    },
  };
}

/** Bytes in which an event can end. */
const longestEnd = 4;

/** Passes event by event; one with a refused request is replaced by a message that says so. */
function eventFilter(passing: Passing): ByteTransform {
  const pieces = new Pieces();
  /** The last bytes: nobody pays for the whole of a long event with each of its pieces. */
  let seam = '';
  const take = (last: boolean): Buffer => {
    const out: string[] = [];
    if (last || eventEnd(seam, false) > 0) {
      const whole = pieces.whole();
      pieces.take();
      let at = 0;
      // Bytes one by one: where lines end is the same in UTF-8.
      const text = whole.toString('latin1');
      for (let size = eventEnd(text, last); size > 0; size = eventEnd(text.slice(at), last)) {
        out.push(passed(passing, whole.toString('utf8', at, at + size)));
        at += size;
      }
      pieces.add(Buffer.from(whole.subarray(at)));
      seam = text.slice(at);
    }
    seam = seam.slice(-longestEnd);
    if (pieces.size > longest) throw refused(passing, 'an event of the MCP server is too large to be read');
    return Buffer.from(out.join(''), 'utf8');
  };
  return {
    next: (chunk) => {
      const before = pieces.size;
      pieces.add(chunk);
      seam += chunk.toString('latin1');
      const out = take(false);
      if (passing.keep?.(pieces.size - before) === false) throw refused(passing, 'too much of this sandbox is held already to read an event of the MCP server');
      return out;
    },
    // An event without its empty line is none, and clients drop it.
    end: () => take(true),
  };
}

/** Where the first event ends, after its empty line; 0 where it does not yet. A CR at the very end may be the first half of a CR LF. */
function eventEnd(text: string, last: boolean): number {
  const found = /(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)/.exec(text);
  if (!found) return 0;
  const end = found.index + found[0].length;
  return !last && end === text.length && found[0].endsWith('\r') ? 0 : end;
}

function passed(passing: Passing, event: string): string {
  const lines = event.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  const value = (line: string, name: string): string | undefined => (line === name ? '' : line.startsWith(`${name}:`) ? line.slice(name.length + 1).replace(/^ /, '') : undefined);
  const data = lines.flatMap((line) => value(line, 'data') ?? []).join('\n');
  if (data === '') return event;
  const methods = refusedMethods(passing, data);
  // Text that is no JSON asks for nothing (the old transport names its endpoint so).
  if (methods?.length === 0 || (methods === undefined && !/[[{]/.test(data))) return event;
  const { core } = passing;
  const method = methods?.[0] ?? '';
  const why = methods === undefined ? 'The server sent a message that cannot be read for certain.' : `The server asked for ${method}, which no rule allows.`;
  core.counts.denied += 1;
  core.ports.audit.emit({ ...core.seen(passing.correlation), class: 'httpActivity', activity: 99, severity: 3, layer: 'proxy', verdict: 'deny', message: `a request of an MCP server was not passed on: ${/^[\w/.$-]{1,100}$/.test(method) ? method : 'unreadable'}`, data: { host: passing.place.name } });
  const id = lines.flatMap((line) => value(line, 'id') ?? []).at(-1);
  const told = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'warning', logger: 'nemoclaw', data: { error: 'denied_by_policy', rule: 'mcp.methods', reason: why, hint: 'Ask the operator to allow the method in the rule.', layer: 'proxy' } } };
  return `${id === undefined ? '' : `id: ${id}\n`}event: message\ndata: ${JSON.stringify(told)}\n\n`;
}
