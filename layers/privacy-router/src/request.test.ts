/** The allow-list: what an agent may ask, and every known way to make the provider a way out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isWithinDepth, parseJson } from './body.ts';
import { canonicalJson } from './canonical.ts';
import { foldKey } from '@nemoclaw/contract';
import { hasDuplicateKey, readArguments } from './call-arguments.ts';
import { chatRequestReader, chatUpstreamBody } from './chat/request.ts';
import { RequestRefused } from './refused.ts';

const read = chatRequestReader(64);
const hi = { role: 'user', content: 'hi' };
const base = { model: 'm', messages: [hi] };
const tool = { type: 'function', function: { name: 'read', parameters: { type: 'object' } } };
const withTool = (more: object): object => ({ ...base, tools: [{ ...tool, ...more }] });
const withFunction = (more: object): object => withTool({ function: { ...tool.function, ...more } });
const withMessage = (message: unknown): object => ({ ...base, messages: [hi, message] });
const withPart = (part: unknown): object => withMessage({ role: 'user', content: [{ type: 'text', text: 'x' }, part] });
const image = (url: unknown): object => withPart({ type: 'image_url', image_url: { url } });

/** Request, status, code, JSON path. */
const refused: readonly (readonly [string, unknown, number, string, string])[] = [
  ['an unknown field', { ...base, plugins: [] }, 403, 'unknown_field', 'plugins'],
  ['an unknown field with a strange name', { ...base, 'a b\n': 1 }, 403, 'unknown_field', '"a b\\n"'],
  ['a prototype as field', JSON.parse('{"model":"m","messages":[{"role":"user","content":"hi"}],"__proto__":{"store":true}}'), 403, 'unknown_field', '__proto__'],
  ['a constructor as field', { ...base, constructor: {} }, 403, 'unknown_field', 'constructor'],
  ['stored answers', { ...base, store: true }, 403, 'stored_state', 'store'],
  ['stored answers by number', { ...base, store: 1 }, 403, 'stored_state', 'store'],
  ['a stored conversation', { ...base, previous_response_id: 'r' }, 403, 'stored_state', 'previous_response_id'],
  ['background work', { ...base, background: true }, 403, 'stored_state', 'background'],
  ['a long-lived cache', { ...base, prompt_cache_retention: '24h' }, 403, 'stored_state', 'prompt_cache_retention'],
  ['web search', { ...base, web_search_options: {} }, 403, 'provider_tool', 'web_search_options'],
  ['the provider tool web_search', { ...base, tools: [{ type: 'web_search' }] }, 403, 'provider_tool', 'tools[0].type'],
  ['the provider tool web_search_preview after a function', { ...base, tools: [tool, { type: 'web_search_preview' }] }, 403, 'provider_tool', 'tools[1].type'],
  ['the provider tool code_interpreter', { ...base, tools: [{ type: 'code_interpreter', container: { type: 'auto' } }] }, 403, 'provider_tool', 'tools[0].type'],
  ['the provider tool mcp', { ...base, tools: [{ type: 'mcp', server_url: 'https://evil.example' }] }, 403, 'provider_tool', 'tools[0].type'],
  ['the provider tool file_search', { ...base, tools: [{ type: 'file_search' }] }, 403, 'provider_tool', 'tools[0].type'],
  ['a custom tool', { ...base, tools: [{ type: 'custom', custom: { name: 'x' } }] }, 403, 'provider_tool', 'tools[0].type'],
  ['a tool without a type', { ...base, tools: [{ function: { name: 'x' } }] }, 400, 'malformed', 'tools[0].type'],
  ['a function tool with a server', withTool({ server_url: 'https://evil.example' }), 403, 'unknown_field', 'tools[0].server_url'],
  ['a function with a url', withFunction({ url: 'https://evil.example' }), 403, 'unknown_field', 'tools[0].function.url'],
  ['a tool without its function', { ...base, tools: [{ type: 'function' }] }, 400, 'malformed', 'tools[0].function'],
  ['a tool name with a dot', withFunction({ name: 'crm.read' }), 400, 'malformed', 'tools[0].function.name'],
  ['a tool name in other letters', withFunction({ name: 'reаd' }), 400, 'malformed', 'tools[0].function.name'],
  ['an empty tool name', withFunction({ name: '' }), 400, 'malformed', 'tools[0].function.name'],
  ['two tools of one name', { ...base, tools: [tool, tool] }, 400, 'malformed', 'tools[1]'],
  ['a schema elsewhere', withFunction({ parameters: { properties: { a: { $ref: 'https://evil.example/s.json' } } } }), 403, 'fetch', 'tools[0].function.parameters.$ref'],
  ['a schema that is a text', withFunction({ parameters: 'x' }), 400, 'malformed', 'tools[0].function.parameters'],
  ['a tool choice of the provider', { ...base, tool_choice: { type: 'web_search' } }, 403, 'provider_tool', 'tool_choice.type'],
  ['a tool choice as word', { ...base, tool_choice: 'web_search' }, 403, 'provider_tool', 'tool_choice'],
  ['an allow-list as tool choice', { ...base, tool_choice: { type: 'allowed_tools', allowed_tools: {} } }, 403, 'provider_tool', 'tool_choice.type'],
  ['former functions', { ...base, functions: [{ name: 'x' }] }, 403, 'legacy_function', 'functions'],
  ['a former function call', { ...base, function_call: 'auto' }, 403, 'legacy_function', 'function_call'],
  ['two answers', { ...base, n: 2 }, 403, 'many_answers', 'n'],
  ['an answer count as text', { ...base, n: '1' }, 403, 'many_answers', 'n'],
  ['sound', { ...base, modalities: ['text', 'audio'] }, 403, 'audio', 'modalities'],
  ['sound as format', { ...base, audio: { voice: 'x' } }, 403, 'audio', 'audio'],
  ['sound as content', withPart({ type: 'input_audio', input_audio: { data: 'x', format: 'wav' } }), 403, 'unknown_part', 'messages[1].content[1]'],
  ['a stored file', withPart({ type: 'file', file: { file_id: 'file-1' } }), 403, 'stored_state', 'messages[1].content[1].file.file_id'],
  ['a file by URL', withPart({ type: 'file', file: { file_data: 'https://evil.example/x' } }), 403, 'fetch', 'messages[1].content[1].file.file_data'],
  ['an unknown part', withPart({ type: 'document', source: {} }), 403, 'unknown_part', 'messages[1].content[1]'],
  ['a picture from a file', image('file:///etc/passwd'), 403, 'fetch', 'messages[1].content[1].image_url.url'],
  ['a picture with a password', image('https://u:p@example.com/'), 403, 'fetch', 'messages[1].content[1].image_url.url'],
  ['a picture by ftp', image('ftp://example.com/a.png'), 403, 'fetch', 'messages[1].content[1].image_url.url'],
  ['a picture that is a page', image('data:text/html;base64,PGI+'), 403, 'fetch', 'messages[1].content[1].image_url.url'],
  ['a picture in an answer', withMessage({ role: 'assistant', content: [{ type: 'image_url', image_url: { url: 'https://evil.example' } }] }), 403, 'unknown_part', 'messages[1].content[0]'],
  ['a picture in a tool result', withMessage({ role: 'tool', tool_call_id: 'x', content: [{ type: 'image_url', image_url: { url: 'https://evil.example' } }] }), 403, 'unknown_part', 'messages[1].content[0]'],
  ['a function role', withMessage({ role: 'function', name: 'x', content: 'x' }), 403, 'unknown_role', 'messages[1].role'],
  ['no role', withMessage({ content: 'x' }), 403, 'unknown_role', 'messages[1].role'],
  ['a message that is a text', withMessage('hello'), 403, 'unknown_role', 'messages[1].role'],
  ['an unknown field of a message', withMessage({ role: 'user', content: 'x', attachments: [] }), 403, 'unknown_field', 'messages[1].attachments'],
  ['a tool call field on the user', withMessage({ role: 'user', content: 'x', tool_calls: [] }), 403, 'unknown_field', 'messages[1].tool_calls'],
  ['an answer with sound', withMessage({ role: 'assistant', audio: { id: 'a' } }), 403, 'audio', 'messages[1].audio'],
  ['an answer with a former call', withMessage({ role: 'assistant', content: '', function_call: { name: 'x' } }), 403, 'legacy_function', 'messages[1].function_call'],
  ['an answer with citations', withMessage({ role: 'assistant', content: '', annotations: [{ url: 'x' }] }), 403, 'unknown_field', 'messages[1].annotations'],
  ['a call of another type', withMessage({ role: 'assistant', tool_calls: [{ id: 'a', type: 'mcp', function: { name: 'a', arguments: '' } }] }), 403, 'provider_tool', 'messages[1].tool_calls[0].type'],
  ['a tool result without id', withMessage({ role: 'tool', content: 'x' }), 400, 'malformed', 'messages[1].tool_call_id'],
  ['a cache for ever', withPart({ type: 'text', text: 'x', cache_control: { type: 'persistent' } }), 403, 'stored_state', 'messages[1].content[1].cache_control.type'],
  ['a dear tier', { ...base, service_tier: 'priority' }, 403, 'service_tier', 'service_tier'],
  ['a grammar as format', { ...base, response_format: { type: 'grammar', grammar: 'x' } }, 403, 'unknown_format', 'response_format.type'],
  ['template arguments', { ...base, chat_template_kwargs: { tools: [] } }, 403, 'unknown_field', 'chat_template_kwargs.tools'],
  ['an endless temperature', { ...base, temperature: 1e9 }, 400, 'malformed', 'temperature'],
  ['a stream that is a text', { ...base, stream: 'true' }, 400, 'malformed', 'stream'],
  ['stream options', { ...base, stream_options: { webhook: 'https://evil.example' } }, 403, 'unknown_field', 'stream_options.webhook'],
  ['no messages', { model: 'm', messages: [] }, 400, 'malformed', 'messages'],
  ['messages missing', { model: 'm' }, 400, 'malformed', 'messages'],
  ['no model', { messages: [hi] }, 400, 'malformed', 'model'],
  ['a model that is null', { ...base, model: null }, 400, 'malformed', 'model'],
  ['a schema of 65 levels', withFunction({ parameters: { a: JSON.parse('['.repeat(65) + ']'.repeat(65)) } }), 400, 'malformed', 'tools[0].function.parameters'],
  ['a list', [], 400, 'malformed', ''],
  ['a text', 'x', 400, 'malformed', ''],
  ['nothing', null, 400, 'malformed', ''],
  ['metadata that is no text', { ...base, metadata: { a: { b: 1 } } }, 400, 'malformed', 'metadata'],
  ['a bias on words', { ...base, logit_bias: { word: 1 } }, 400, 'malformed', 'logit_bias'],
];
for (const [what, body, status, code, path] of refused) {
  test(`refused: ${what}`, () => {
    assert.throws(
      () => read(body),
      (error) => {
        assert.ok(error instanceof RequestRefused, String(error));
        assert.deepEqual([error.refusal.status, error.refusal.code, error.path], [status, code, path]);
        const shown = JSON.parse(error.body()).error;
        assert.equal(shown.type, status === 403 ? 'denied_by_policy' : 'invalid_request_error');
        assert.ok(shown.hint !== '' && shown.message !== '' && shown.rule.startsWith('router.'));
        return true;
      },
    );
  });
}

test('what agents really send passes, and only what the provider needs goes on', () => {
  const body = {
    ...base,
    messages: [
      { role: 'system', content: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral' } }] },
      { role: 'developer', content: 'd' },
      { role: 'user', content: [{ type: 'text', text: 'u' }, { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } }, { type: 'image_url', image_url: { url: 'https://img.example/a.png?x=1' } }] },
      { role: 'assistant', content: null, refusal: null, annotations: [], audio: null, function_call: null, reasoning_content: 'r', tool_calls: [{ index: 0, id: 'c', type: 'function', function: { name: 'read', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: 'c', content: 'result', name: 'read' },
    ],
    tools: [withSchema({ $ref: '#/$defs/a', $defs: { a: { type: 'object' } } })],
    tool_choice: { type: 'function', function: { name: 'read' } },
    temperature: 0.5, top_p: 1, max_tokens: 10, max_completion_tokens: 10, stop: ['a'], n: 1, seed: -1, parallel_tool_calls: false, user: 'u',
    response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' }, strict: true } },
    reasoning_effort: 'low', store: false, metadata: { a: 'b' }, modalities: ['text'], frequency_penalty: null,
    stream: true, stream_options: { include_usage: true, include_obfuscation: false },
  };
  const turn = read(body);
  assert.deepEqual([turn.stream, turn.wantsUsage, [...turn.offered], turn.fetches.map((url) => url.href)], [true, true, ['read'], ['https://img.example/a.png?x=1']]);
  const sent = JSON.parse(chatUpstreamBody(turn, turn.messages, 'provider-model'));
  assert.equal(sent.model, 'provider-model');
  assert.deepEqual(sent.stream_options, { include_usage: true });
  assert.equal(sent.store, false);
  for (const gone of ['metadata', 'modalities', 'frequency_penalty']) assert.ok(!Object.hasOwn(sent, gone), gone);
  assert.deepEqual(sent.messages[0].content, [{ type: 'text', text: 's' }]);
  assert.deepEqual(sent.messages[3], { role: 'assistant', content: null, reasoning_content: 'r', tool_calls: [{ id: 'c', type: 'function', function: { name: 'read', arguments: '{}' } }] });
});

function withSchema(parameters: unknown): unknown {
  return { type: 'function', function: { name: 'read', description: 'd', parameters, strict: false }, cache_control: { type: 'ephemeral' } };
}

test('the depth of a body is measured like a parser would', () => {
  const depth = (value: unknown): number => (typeof value !== 'object' || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depth)));
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(8), (value, max) => {
      assert.equal(isWithinDepth(Buffer.from(JSON.stringify(value)), max), depth(value) <= max);
    }),
  );
});

for (const [what, bytes] of [
  ['cut off', Buffer.from('{"a":')],
  ['invalid UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ['a byte order mark', Buffer.from('\uFEFF{}')],
  ['empty', Buffer.alloc(0)],
  ['65 levels and long', Buffer.from(`${'['.repeat(65)}"${'x'.repeat(300_000)}"${']'.repeat(65)}`)],
  ['a million open lists', Buffer.alloc(1_000_000, '[')],
] as const) {
  test(`a body that is ${what} is not understood`, () => {
    assert.throws(() => parseJson(bytes, 64), (error) => error instanceof RequestRefused && error.refusal.status === 400);
  });
}

test('canonical JSON does not depend on the order of keys', () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).reverse().map(([key, item]) => [key, shuffled(item)]));
  };
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const copy: unknown = JSON.parse(JSON.stringify(value));
      assert.equal(canonicalJson(shuffled(copy)), canonicalJson(copy));
      assert.deepEqual(JSON.parse(canonicalJson(copy)), copy);
    }),
  );
});

test('a key is found twice exactly where it stands twice', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const text = JSON.stringify(value, null, 1);
      assert.equal(hasDuplicateKey(text), hasAlike(value));
      assert.equal(hasDuplicateKey(`{"k":${text},"\\u006b":0}`), true);
      assert.equal(hasDuplicateKey(`[{"k":${text}},{"k":1}]`), hasAlike(value));
    }),
  );
});

/** True if some object has two keys that differ in case only. */
function hasAlike(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const keys = Array.isArray(value) ? [] : Object.keys(value).map((key) => foldKey(key));
  return new Set(keys).size < keys.length || Object.values(value).some(hasAlike);
}

test('arguments that another parser would read otherwise are not decided', () => {
  assert.match(String(readArguments('{"amountUsd":5,"AMOUNTUSD":100000}', 64)), /twice/);
  assert.match(String(readArguments('{"account":12345678901234567891}', 64)), /number/);
  assert.match(String(readArguments('{"a":{"b":[1e999]}}', 64)), /number/);
  assert.deepEqual(readArguments('{"account":"12345678901234567891","n":1.5}', 64), new Map<string, unknown>([['account', '12345678901234567891'], ['n', 1.5]]));
});
