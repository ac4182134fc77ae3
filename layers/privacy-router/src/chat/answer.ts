/** Takes in a chat answer, event by event or whole: text to forward, tool calls to hold back. */
import type { Answer, AnswerReader, JsonObject } from '../dialect.ts';
import { plainId } from '../sealed.ts';
import { isObject } from './check.ts';

/** Fields of a delta or message that may reach the agent as text; all others (but the calls) are left out. */
const textFields = ['content', 'refusal', 'reasoning_content', 'reasoning'] as const;

interface OpenCall {
  id: string;
  name: string;
  readonly parts: string[];
}

export class ChatReader implements AnswerReader {
  done = false;
  readonly #answer: Answer;
  readonly #newId: () => string;
  readonly #maxAnswer: number;
  readonly #maxCalls: number;
  readonly #calls: OpenCall[] = [];
  /** Index as the provider counts -> position in #calls. */
  readonly #byIndex = new Map<number, number>();
  #size = 0;
  /** Deltas that came before the first byte of a call; undefined while there is no call. */
  #before: number | undefined;

  /** `newId` names calls that came without a usable id. */
  constructor(answer: Answer, newId: () => string, maxAnswer: number, maxCalls: number) {
    this.#answer = answer;
    this.#newId = newId;
    this.#maxAnswer = maxAnswer;
    this.#maxCalls = maxCalls;
  }

  get free(): number {
    return this.#before ?? this.#answer.deltas.length;
  }

  event(data: string): JsonObject | undefined {
    if (this.done) return undefined;
    if (data === '[DONE]') {
      this.done = true;
      return undefined;
    }
    this.#size += data.length;
    if (this.#size > this.#maxAnswer) throw new Error('The answer is too large.');
    const chunk = parse(data);
    if (chunk['error'] !== undefined && chunk['error'] !== null) throw new Error('The provider broke off with an error.');
    this.#usage(chunk['usage']);
    const choice = firstChoice(chunk);
    if (!choice) return undefined;
    if (typeof choice['finish_reason'] === 'string') this.#answer.finish = choice['finish_reason'];
    const delta = choice['delta'];
    return isObject(delta) ? this.#take(delta) : undefined;
  }

  whole(body: unknown): void {
    if (!isObject(body)) throw new Error('The provider did not answer with a JSON object.');
    this.#usage(body['usage']);
    const choice = firstChoice(body);
    const message = choice?.['message'];
    if (!choice || !isObject(message)) throw new Error('The provider answered without a message.');
    this.#answer.finish = typeof choice['finish_reason'] === 'string' ? choice['finish_reason'] : 'stop';
    this.#take(message);
    this.done = true;
  }

  finish(): void {
    if (this.#answer.finish === undefined) throw new Error('The answer was cut off.');
    const seen = new Set<string>();
    for (const call of this.#calls) {
      let id = call.id;
      const plain = plainId(id);
      if (plain === '' || seen.has(plain) || id.length > 256) id = this.#newId();
      seen.add(plainId(id));
      this.#answer.calls.push({ id, name: call.name, arguments: call.parts.join('') });
    }
  }

  #take(delta: JsonObject): JsonObject | undefined {
    if (isObject(delta['function_call'])) throw new Error('The provider answered with a call in a former form.');
    const calls = delta['tool_calls'];
    if (Array.isArray(calls)) for (const [position, call] of calls.entries()) this.#call(call, position);
    let text: Record<string, string> | undefined;
    for (const field of textFields) {
      const value = delta[field];
      if (value === undefined || value === null || value === '') continue;
      if (typeof value !== 'string') throw new Error('The provider sent text in an unknown form.');
      text ??= {};
      text[field] = value;
    }
    if (!text) return undefined;
    this.#answer.deltas.push(text);
    return text;
  }

  #call(fragment: unknown, position: number): void {
    this.#before ??= this.#answer.deltas.length;
    if (!isObject(fragment)) throw new Error('The provider sent a call in an unknown form.');
    const type = fragment['type'];
    if (typeof type === 'string' && type !== '' && type !== 'function') throw new Error('The provider sent a call that is not a function call.');
    const index = typeof fragment['index'] === 'number' ? fragment['index'] : position;
    const id = typeof fragment['id'] === 'string' ? fragment['id'] : '';
    const part = isObject(fragment['function']) ? fragment['function'] : {};
    const call = this.#openCall(index, id);
    const name = part['name'];
    // Some providers repeat the whole name with every fragment, others cut it; what is decided is what is delivered.
    if (typeof name === 'string' && name !== call.name) call.name += name;
    const args = part['arguments'];
    if (typeof args === 'string') call.parts.push(args);
    else if (args !== undefined && args !== null) call.parts.push(JSON.stringify(args));
    if (call.name.length > 1024) throw new Error('The provider sent a call with an endless name.');
  }

  /** The call that a fragment belongs to. Some providers give every call index 0: a new id opens a new call. */
  #openCall(index: number, id: string): OpenCall {
    const known = this.#byIndex.get(index);
    const open = known === undefined ? undefined : this.#calls[known];
    if (open && (id === '' || id === open.id || open.id === '')) {
      if (open.id === '') open.id = id;
      return open;
    }
    if (this.#calls.length >= this.#maxCalls) throw new Error('The answer has too many calls.');
    const fresh: OpenCall = { id, name: '', parts: [] };
    this.#byIndex.set(index, this.#calls.length);
    this.#calls.push(fresh);
    return fresh;
  }

  #usage(usage: unknown): void {
    if (!isObject(usage)) return;
    this.#answer.usage = usage;
    const { prompt_tokens: prompt, completion_tokens: completion } = usage;
    if (typeof prompt === 'number') this.#answer.tokens.prompt = prompt;
    if (typeof completion === 'number') this.#answer.tokens.completion = completion;
  }
}

function parse(data: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw new Error('The provider sent an event that is not JSON.');
  }
  if (!isObject(value)) throw new Error('The provider sent an event in an unknown form.');
  return value;
}

function firstChoice(chunk: JsonObject): JsonObject | undefined {
  const choices = chunk['choices'];
  if (!Array.isArray(choices)) return undefined;
  for (const choice of choices) if (isObject(choice) && (choice['index'] === 0 || choice['index'] === undefined)) return choice;
  return undefined;
}

