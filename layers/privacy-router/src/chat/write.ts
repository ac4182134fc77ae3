/** Renders a chat answer for the agent, built anew from checked parts: as a stream, or whole. */
import type { Answer, AnswerWriter, JsonObject, ToolCall } from '../dialect.ts';

export class ChatWriter implements AnswerWriter {
  readonly #answer: Answer;
  readonly #wantsUsage: boolean;
  readonly #head: string;

  constructor(answer: Answer, wantsUsage: boolean) {
    this.#answer = answer;
    this.#wantsUsage = wantsUsage;
    this.#head = `data: {"id":${JSON.stringify(answer.id)},"object":"chat.completion.chunk","created":${answer.created},"model":${JSON.stringify(answer.model)},`;
  }

  start(): string {
    return this.#chunk('{"role":"assistant","content":""}');
  }
  delta(delta: JsonObject): string {
    return this.#chunk(JSON.stringify(delta));
  }
  text(text: string): string {
    return this.#chunk(JSON.stringify({ content: text }));
  }
  keepAlive(): string {
    return this.#chunk('{"content":""}');
  }

  /** One chunk per call, indexes from 0 without gaps. */
  calls(calls: readonly ToolCall[]): string {
    return calls.map((call, index) => this.#chunk(JSON.stringify({ tool_calls: [{ index, ...wire(call) }] }))).join('');
  }

  finish(reason: string): string {
    const usage = this.#wantsUsage && this.#answer.usage ? `${this.#head}"choices":[],"usage":${JSON.stringify(this.#answer.usage)}}\n\n` : '';
    return `${this.#chunk('{}', JSON.stringify(reason))}${usage}data: [DONE]\n\n`;
  }

  error(message: string, code: string): string {
    return `data: ${JSON.stringify({ error: { message, type: 'upstream_error', code } })}\n\n`;
  }

  whole(calls: readonly ToolCall[], reason: string): string {
    const { id, created, model, usage } = this.#answer;
    const message: Record<string, unknown> = { role: 'assistant', content: null };
    for (const delta of this.#answer.deltas) {
      for (const [field, text] of Object.entries(delta)) message[field] = `${message[field] ?? ''}${String(text)}`;
    }
    if (calls.length > 0) message['tool_calls'] = calls.map(wire);
    const choices = [{ index: 0, message, logprobs: null, finish_reason: reason }];
    return JSON.stringify({ id, object: 'chat.completion', created, model, choices, ...(usage ? { usage } : {}) });
  }

  /** An answer that was cut short or filtered says so; otherwise a tool-use reason stands exactly where calls stand. */
  reason(hasCalls: boolean): string {
    const said = this.#answer.finish ?? 'stop';
    if (said === 'length' || said === 'content_filter') return said;
    if (hasCalls) return 'tool_calls';
    return said === 'tool_calls' || said === 'function_call' ? 'stop' : said;
  }

  #chunk(delta: string, finish = 'null'): string {
    return `${this.#head}"choices":[{"index":0,"delta":${delta},"finish_reason":${finish}}]}\n\n`;
  }
}

function wire(call: ToolCall): JsonObject {
  return { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } };
}
