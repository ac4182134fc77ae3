/** A scripted model server that speaks OpenAI chat completions: no intelligence, the same words every time. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { farewell, nextTurn, type Turn } from './scenario.ts';

const demoModel = 'demo-script-1';

interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
}

/** Server on loopback; `script` turns the conversation so far into the next turn, `onRequest` sees each body (tests assert on it). */
export function createModelServer(options: { script?: (messages: readonly ChatMessage[]) => Turn; onRequest?: (body: unknown, headers: IncomingMessage['headers']) => void } = {}): Server {
  const script = options.script ?? defaultScript;
  return createServer((req, res) => {
    void answer(req, res, script, options.onRequest).catch(() => res.destroy());
  });
}

function defaultScript(messages: readonly ChatMessage[]): Turn {
  const text = JSON.stringify(messages.filter((m) => m.role === 'user'));
  if (!/open tickets/i.test(text)) return { text: 'I am a script, not a model. Ask me to "Work through the open tickets".', calls: [] };
  return nextTurn(messages.filter((m) => m.role === 'assistant').length);
}

async function answer(req: IncomingMessage, res: ServerResponse, script: (messages: readonly ChatMessage[]) => Turn, onRequest?: (body: unknown, headers: IncomingMessage['headers']) => void): Promise<void> {
  if (req.method === 'GET' && req.url === '/v1/models') return send(res, 200, { object: 'list', data: [{ id: demoModel, object: 'model', owned_by: 'nemoclaw-demo' }] });
  if (req.method !== 'POST' || req.url !== '/v1/chat/completions') return send(res, 404, { error: { message: 'no such path' } });
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { messages?: ChatMessage[]; stream?: boolean };
  onRequest?.(body, req.headers);
  const messages = Array.isArray(body.messages) ? body.messages : [];
  const turn = script(messages);
  const id = `chatcmpl-demo-${messages.length}`;
  const usage = { prompt_tokens: messages.length * 40, completion_tokens: 20, total_tokens: messages.length * 40 + 20 };
  const calls = turn.calls.map((call, index) => ({ index, id: `call_demo_${messages.length}_${index}`, type: 'function', function: { name: call.name, arguments: JSON.stringify(call.args) } }));
  const finish = calls.length > 0 ? 'tool_calls' : 'stop';
  if (!body.stream) {
    const message = { role: 'assistant', content: turn.text, ...(calls.length > 0 ? { tool_calls: calls.map(({ index: _, ...call }) => call) } : {}) };
    return send(res, 200, { id, object: 'chat.completion', created: 0, model: demoModel, choices: [{ index: 0, message, finish_reason: finish }], usage });
  }
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const chunk = (delta: unknown, reason: string | null = null): void => {
    res.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 0, model: demoModel, choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`);
  };
  chunk({ role: 'assistant', content: '' });
  for (const word of turn.text.split(/(?<= )/)) chunk({ content: word });
  for (const call of calls) {
    // as real providers do: the name first, the arguments in pieces
    chunk({ tool_calls: [{ index: call.index, id: call.id, type: 'function', function: { name: call.function.name, arguments: '' } }] });
    const text = call.function.arguments;
    for (let at = 0; at < text.length; at += 24) chunk({ tool_calls: [{ index: call.index, function: { arguments: text.slice(at, at + 24) } }] });
  }
  chunk({}, finish);
  res.write(`data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 0, model: demoModel, choices: [], usage })}\n\n`);
  res.end('data: [DONE]\n\n');
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

export { farewell };
