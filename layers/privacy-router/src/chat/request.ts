/** The allow-list for a chat request: every field by name and type; what is not listed does not leave. */
import type { Turn, JsonObject } from '../dialect.ts';
import { malformed } from '../refused.ts';
import { array, boolean, dropped, either, freeJson, ignore, isObject, never, number, object, onlyWord, string, type Check, type Found } from './check.ts';
import { message } from './content.ts';

const providerTool = 'Tools that the provider runs are not allowed; offer a function instead.';
const storedState = 'Nothing may be stored at the provider.';
const toolName: Check = (value) => {
  if (typeof value === 'string' && /^[A-Za-z0-9_-]{1,128}$/.test(value)) return value;
  throw malformed('A tool name has at most 128 letters, digits, _ and -.');
};
const number2 = number(-2, 2);
const noSound = never('audio', 'Only text answers are allowed.', 'Leave the field out.');
const onlyFunction = onlyWord(['function'], 'provider_tool', providerTool);

function settingsOf(maxDepth: number): Readonly<Record<string, Check>> {
  const free = freeJson(maxDepth);
  const schema: Check = (value, found) => {
    if (!isObject(value)) throw malformed('A JSON schema is expected.');
    return free(value, found);
  };
  const tool = object(
    {
      type: onlyFunction,
      function: object({ name: toolName, description: string(64 * 1024), parameters: schema, strict: boolean }, ['name']),
      cache_control: ignore(object({ type: string(16), ttl: string(16) })),
    },
    ['type'],
  );
  const word = string(64);
  const flag = either((value) => (typeof value === 'string' ? word : boolean));
  const choiceWord = onlyWord(['none', 'auto', 'required'], 'provider_tool', 'Use none, auto, required, or name a function.');
  const choiceFunction = object({ type: onlyFunction, function: object({ name: toolName }, ['name']) }, ['type', 'function']);
  const stopWord = string(1024);
  const stopWords = array(stopWord, 16);
  const schemaFormat = object({ type: word, json_schema: object({ name: word, description: string(4096), schema, strict: boolean }, ['name']) }, ['json_schema']);
  const plainFormat = object({ type: onlyWord(['text', 'json_object'], 'unknown_format', 'Use text, json_object or json_schema.') }, ['type']);
  return {
    model: string(200),
    tools: array(
      (value, found) => {
        const clean = tool(value, found);
        if (isObject(clean) && !isObject(clean['function'])) throw malformed('The field function is missing.').inside('function');
        return clean;
      },
      1024,
    ),
    tool_choice: either((value) => (typeof value === 'string' ? choiceWord : choiceFunction)),
    parallel_tool_calls: boolean,
    temperature: number(0, 2),
    top_p: number(0, 1),
    top_k: number(-1, 1_000_000, true),
    min_p: number(0, 1),
    repetition_penalty: number(0, 10),
    frequency_penalty: number2,
    presence_penalty: number2,
    max_tokens: number(1, 100_000_000, true),
    max_completion_tokens: number(1, 100_000_000, true),
    stop: either((value) => (typeof value === 'string' ? stopWord : stopWords)),
    n: onlyWord([1], 'many_answers', 'Ask for one answer at a time.'),
    seed: number(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, true),
    logprobs: boolean,
    top_logprobs: number(0, 20, true),
    logit_bias: (value) => {
      if (!isObject(value) || Object.entries(value).some(([token, bias]) => !/^\d{1,9}$/.test(token) || typeof bias !== 'number')) {
        throw malformed('Token numbers with a bias are expected.');
      }
      return value;
    },
    response_format: either((value) => (isObject(value) && value['type'] === 'json_schema' ? schemaFormat : plainFormat)),
    reasoning_effort: string(16),
    verbosity: string(16),
    tool_stream: boolean,
    enable_thinking: boolean,
    thinking: object({ type: onlyWord(['enabled', 'disabled'], 'unknown_field', 'Use enabled or disabled.') }, ['type']),
    chat_template_kwargs: object({ enable_thinking: boolean, thinking: boolean, preserve_thinking: boolean, reasoning_effort: flag }),
    user: string(256),
    safety_identifier: string(256),
    prompt_cache_key: string(256),
    prompt_cache_retention: onlyWord(['in_memory', 'in-memory'], 'stored_state', storedState),
    service_tier: onlyWord(['auto', 'default'], 'service_tier', 'Leave the field out.'),
    store: onlyWord([false], 'stored_state', storedState),
    metadata: ignore((value) => {
      if (!isObject(value) || Object.values(value).some((item) => typeof item !== 'string')) throw malformed('Names with texts are expected.');
      return dropped;
    }),
    modalities: (value, found) => {
      if (Array.isArray(value) && value.every((item) => item === 'text')) return dropped;
      return noSound(value, found);
    },
    web_search_options: never('provider_tool', 'The provider may not search the web.', providerTool),
    functions: never('legacy_function', 'The former form of functions is not allowed.', 'Use tools.'),
    function_call: never('legacy_function', 'The former form of functions is not allowed.', 'Use tool_choice.'),
    audio: never('audio', 'Sound is not allowed.', 'Ask for text.'),
    previous_response_id: never('stored_state', storedState, 'Send the conversation.'),
    background: never('stored_state', storedState, 'Wait for the answer.'),
  };
}

/** Makes the reader of chat requests. It throws RequestRefused with the JSON path of the first field that may not leave. */
export function chatRequestReader(maxDepth: number): (body: unknown) => Turn {
  const settings = settingsOf(maxDepth);
  const whole = object(
    { ...settings, messages: array(message, 100_000), stream: boolean, stream_options: object({ include_usage: boolean, include_obfuscation: boolean }) },
    ['model', 'messages'],
  );
  return (body) => readWith(whole, body);
}

function readWith(whole: Check, body: unknown): Turn {
  if (!isObject(body)) throw malformed('The request must be a JSON object.');
  const found: Found = { fetches: [] };
  const clean = whole(body, found);
  if (!isObject(clean)) throw malformed('The request must be a JSON object.');
  const { messages: list, stream, stream_options: options, model, ...settings } = clean;
  if (!Array.isArray(list) || list.length === 0) throw malformed('At least one message is expected.').inside('messages');
  return {
    model: String(model),
    stream: stream === true,
    wantsUsage: isObject(options) && options['include_usage'] === true,
    messages: list,
    settings,
    offered: offeredNames(settings),
    fetches: found.fetches,
  };
}

/** Names of the tools in a request; throws RequestRefused if two tools share one. */
function offeredNames(settings: JsonObject): ReadonlySet<string> {
  const names = new Set<string>();
  const tools = settings['tools'];
  if (!Array.isArray(tools)) return names;
  for (const [index, tool] of tools.entries()) {
    const name: unknown = tool.function.name;
    if (typeof name !== 'string' || names.has(name)) throw malformed('Two tools have the same name.').inside(`[${index}]`).inside('tools');
    names.add(name);
  }
  return names;
}

/** The request as the provider gets it: cleaned fields, its own model name, token counts always asked for. */
export function chatUpstreamBody(turn: Turn, messages: readonly JsonObject[], model: string): string {
  const out: Record<string, unknown> = { ...turn.settings, model, messages, stream: turn.stream };
  if (turn.stream) out['stream_options'] = { include_usage: true };
  return JSON.stringify(out);
}
