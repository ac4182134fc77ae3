/** The allow-list for a chat request: every field by name and type; what is not listed does not leave. */
import type { Turn, JsonObject } from '../dialect.ts';
import { malformed } from '../refused.ts';
import { array, boolean, dropped, either, freeJson, ignore, isObject, never, number, object, onlyWord, string, type Check } from './check.ts';
import { message, type Fetches } from './content.ts';

const providerTool = 'Tools that the provider runs are not allowed; offer a function instead.';
const storedState = 'Nothing may be stored at the provider.';
const toolName: Check = (value) => {
  if (typeof value === 'string' && /^[A-Za-z0-9_-]{1,128}$/.test(value)) return value;
  throw malformed('A tool name has at most 128 letters, digits, _ and -.');
};
const number2 = number(-2, 2);
const onlyFunction = onlyWord(['function'], 'provider_tool', providerTool);

function settingsOf(maxDepth: number): Readonly<Record<string, Check>> {
  const schema: Check = (value) => {
    if (!isObject(value)) throw malformed('A JSON schema is expected.');
    return freeJson(maxDepth)(value);
  };
  const tool = object(
    {
      type: onlyFunction,
      function: object({ name: toolName, description: string(64 * 1024), parameters: schema, strict: boolean }, ['name']),
      cache_control: ignore(object({ type: string(16), ttl: string(16) })),
    },
    ['type'],
  );
  const flag = either((value) => (typeof value === 'string' ? string(64) : boolean));
  return {
    model: string(200),
    tools: array(
      (value) => {
        const clean = tool(value);
        if (isObject(clean) && !isObject(clean['function'])) throw malformed('The field function is missing.').inside('function');
        return clean;
      },
      1024,
    ),
    tool_choice: either((value) =>
      typeof value === 'string'
        ? onlyWord(['none', 'auto', 'required'], 'provider_tool', 'Use none, auto, required, or name a function.')
        : object({ type: onlyFunction, function: object({ name: toolName }, ['name']) }, ['type', 'function']),
    ),
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
    stop: either((value) => (typeof value === 'string' ? string(1024) : array(string(1024), 16))),
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
    response_format: either((value) =>
      isObject(value) && value['type'] === 'json_schema'
        ? object({ type: string(16), json_schema: object({ name: string(64), description: string(4096), schema, strict: boolean }, ['name']) }, ['json_schema'])
        : object({ type: onlyWord(['text', 'json_object'], 'unknown_format', 'Use text, json_object or json_schema.') }, ['type']),
    ),
    reasoning_effort: string(16),
    verbosity: string(16),
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
    modalities: (value) => {
      if (Array.isArray(value) && value.every((item) => item === 'text')) return dropped;
      return never('audio', 'Only text answers are allowed.', 'Leave the field out.')(value);
    },
    web_search_options: never('provider_tool', 'The provider may not search the web.', providerTool),
    functions: never('legacy_function', 'The former form of functions is not allowed.', 'Use tools.'),
    function_call: never('legacy_function', 'The former form of functions is not allowed.', 'Use tool_choice.'),
    audio: never('audio', 'Sound is not allowed.', 'Ask for text.'),
    previous_response_id: never('stored_state', storedState, 'Send the conversation.'),
    background: never('stored_state', storedState, 'Wait for the answer.'),
  };
}

/** Reads a chat request. Throws RequestRefused with the JSON path of the first field that may not leave. */
export function readChatRequest(body: unknown, maxDepth: number): Turn {
  if (!isObject(body)) throw malformed('The request must be a JSON object.');
  const fetches: Fetches = [];
  const oneMessage = message(fetches);
  let index = 0;
  const messages = array((value) => {
    const before = fetches.length;
    const clean = oneMessage(value);
    for (let i = before; i < fetches.length; i++) {
      const found = fetches[i];
      if (found) fetches[i] = { path: `messages[${index}]`, url: found.url };
    }
    index += 1;
    return clean;
  }, 100_000);
  const whole = object(
    { ...settingsOf(maxDepth), messages, stream: boolean, stream_options: object({ include_usage: boolean, include_obfuscation: boolean }) },
    ['model', 'messages'],
  );
  const clean = whole(body);
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
    fetches,
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
