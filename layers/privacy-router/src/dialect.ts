/** What a dialect (OpenAI chat now) must do for the router; everything else is the same for all of them. */

export type JsonObject = { readonly [key: string]: unknown };

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
}

/** One request of the agent that passed the allow-list. */
export interface Turn {
  readonly model: string;
  readonly stream: boolean;
  /** The agent asked for the token counts in the stream. */
  readonly wantsUsage: boolean;
  readonly messages: readonly JsonObject[];
  /** All other fields that go to the provider. */
  readonly settings: JsonObject;
  readonly offered: ReadonlySet<string>;
  /** URLs in it that the provider would fetch. */
  readonly fetches: readonly URL[];
}

/** A provider's answer as it grows. */
export interface Answer {
  readonly id: string;
  /** Seconds since epoch. */
  readonly created: number;
  readonly model: string;
  /** Text and reasoning in the order they came, as delta objects of the dialect. */
  readonly deltas: JsonObject[];
  readonly calls: ToolCall[];
  finish: string | undefined;
  usage: JsonObject | undefined;
  readonly tokens: { prompt: number; completion: number };
}

/** Takes in what a provider sends. Throws Error (a plain sentence) on what it cannot understand. */
export interface AnswerReader {
  /** One event of the stream. Returns the delta to forward, if it is one. `done` after the last. */
  event(data: string): JsonObject | undefined;
  /** The whole body of an answer that is not streamed. */
  whole(body: unknown): void;
  /** How many deltas may be forwarded: those that came before the first byte of a tool call. */
  readonly free: number;
  /** The provider said that the answer is complete. */
  readonly done: boolean;
  /** Closes the answer: calls in order, ids filled in. Throws if the answer is incomplete. */
  finish(): void;
}

/** Looks up what stood in the place of a refused call. */
export interface Recall {
  original(callId: string, name: string): { readonly call: ToolCall; readonly result: string } | undefined;
}

export interface Dialect {
  readonly turnPath: string;
  readonly upstreamPath: string;
  /** Checks the request against the allow-list. Throws RequestRefused. */
  readTurn(body: unknown): Turn;
  /** The messages with refused calls put back, their results explained, and notices of waiting removed. */
  restore(messages: readonly JsonObject[], recall: Recall): readonly JsonObject[];
  /** Ids of the tool calls in assistant messages. */
  callIds(messages: readonly JsonObject[]): string[];
  /** True if these messages, added after a turn, only say that the agent gave up waiting and asks again. */
  isRepeatNote(added: readonly JsonObject[]): boolean;
  upstreamBody(turn: Turn, messages: readonly JsonObject[], model: string): string;
  reader(answer: Answer, newId: () => string, maxAnswer: number, maxCalls: number): AnswerReader;
  writer(answer: Answer, wantsUsage: boolean): AnswerWriter;
  models(models: readonly { readonly id: string; readonly owner: string }[], created: number): string;
}

/** Renders an answer for the agent; each string is bytes to send. */
export interface AnswerWriter {
  start(): string;
  delta(delta: JsonObject): string;
  text(text: string): string;
  keepAlive(): string;
  calls(calls: readonly ToolCall[]): string;
  finish(reason: string): string;
  error(message: string, code: string): string;
  /** The answer as one body. */
  whole(calls: readonly ToolCall[], reason: string): string;
  /** The finish reason that fits what is delivered. */
  reason(hasCalls: boolean): string;
}
