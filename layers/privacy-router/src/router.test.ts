/** The door of the router: who may speak, where requests go, and what an agent learns of a provider's trouble. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Sealed } from './sealed.ts';
import { ask, callChunk, chunk, Provider, readStream, Stage, streamOf, wholeOf, type Script } from './scripted.ts';

let stage: Stage;
before(async () => void (stage = await Stage.open()));
beforeEach(() => {
  stage.config = { ...stage.config, providers: [stage.provider.plan()], placeholderKey: 'placeholder' };
  stage.label = 'public';
  stage.events.length = 0;
  stage.provider.seen.length = 0;
  stage.verdicts.clear();
  play(streamOf([chunk({ content: 'fine' }), chunk({}, 'stop')]));
});
after(() => stage.close());

const hello = ask([{ role: 'user', content: 'hello' }], ['crm_read']);
function play(...scripts: Script[]): void {
  stage.provider.scripts.splice(0, 99, ...scripts);
}
const status =
  (code: number, body = '', headers: Record<string, string> = {}): Script =>
  (res) =>
    void res.writeHead(code, headers).end(body);

for (const [what, authorization] of [['no key', ''], ['another key', 'Bearer placeholder2'], ['part of the key', 'Bearer placeholde'], ['another scheme', 'Basic placeholder'], ['the key bare', 'placeholder']]) {
  test(`${what}: 401, and nothing leaves`, async () => {
    const answer = await stage.send(hello, { headers: { authorization: authorization ?? '' } });
    assert.equal(answer.status, 401);
    assert.equal(JSON.parse(answer.text).error.code, 'invalid_api_key');
    assert.equal(stage.provider.seen.length, 0);
    assert.equal(stage.events.at(-1)?.decision?.rules[0]?.id, 'router.key');
  });
}

test('an empty placeholder in the configuration lets nobody in', async () => {
  stage.config = { ...stage.config, placeholderKey: '' };
  assert.equal((await stage.send(hello, { headers: { authorization: 'Bearer ' } })).status, 401);
});

for (const [method, path] of [['POST', '/v1/embeddings'], ['POST', '/v1/responses'], ['POST', '/v1/files'], ['GET', '/v1/chat/completions'], ['POST', '/v1/chat/completions/'], ['POST', '/v1/chat/completions?x=1'], ['POST', '/v1/../v1/chat/completions'], ['POST', 'http://evil.example/v1/chat/completions'], ['DELETE', '/v1/models'], ['GET', '/v1/models/x'], ['GET', '/']] as const) {
  test(`${method} ${path}: 403`, async () => {
    const answer = await stage.send(method === 'POST' ? hello : undefined, { method, path });
    assert.equal(answer.status, 403);
    assert.equal(answer.headers['x-nemoclaw-rule'], 'router.path');
    assert.equal(stage.provider.seen.length, 0);
  });
}

test('the models are the configured ones', async () => {
  const answer = await stage.send(undefined, { method: 'GET', path: '/v1/models' });
  assert.deepEqual(JSON.parse(answer.text).data.map((model: { id: string }) => model.id), ['real-model']);
  assert.equal(stage.provider.seen.length, 0);
});

test('key and model are put in outside; of the agent\'s headers nothing leaves', async () => {
  const answer = await stage.send(hello, { headers: { 'x-secret': 'agent', cookie: 'a=b', 'x-session-id': '1', 'openai-organization': 'o' } });
  assert.equal(readStream(answer.text).content, 'fine');
  const [seen] = stage.provider.seen;
  assert.equal(seen?.path, '/v1/chat/completions');
  assert.equal(seen?.headers.authorization, 'Bearer sk-outside');
  assert.equal(seen?.body['model'], 'real-model');
  assert.deepEqual(Object.keys(seen?.headers ?? {}).sort(), ['accept', 'authorization', 'connection', 'content-length', 'content-type', 'host']);
  assert.doesNotMatch(answer.text, /sk-outside/);
});

test('a refused request: 403 with the field, on record without its content', async () => {
  const answer = await stage.send({ ...hello, tools: [{ type: 'web_search', name: 'SECRET-y' }] });
  assert.equal(answer.status, 403);
  assert.deepEqual(JSON.parse(answer.text).error.param, 'tools[0].type');
  assert.equal(stage.events.length, 1);
  assert.deepEqual([stage.events[0]?.layer, stage.events[0]?.verdict, stage.events[0]?.data?.['field']], ['router', 'deny', 'tools[0].type']);
  assert.doesNotMatch(JSON.stringify(stage.events), /SECRET/);
});

test('form: type, compression, size, depth', async () => {
  assert.equal((await stage.send(hello, { headers: { 'content-type': 'text/plain' } })).status, 400);
  assert.equal((await stage.send(hello, { headers: { 'content-type': 'application/json; charset=utf-16' } })).status, 400);
  assert.equal((await stage.send(gzipSync(JSON.stringify(hello)), { headers: { 'content-encoding': 'gzip' } })).status, 400);
  assert.equal((await stage.send('{')).status, 400);
  const large = await stage.send('x', { headers: { 'content-length': String(9 * 1024 * 1024) } }).catch(() => undefined);
  assert.ok(large === undefined || large.status === 413);
  assert.equal((await stage.send(`{"model":"m","messages":${'['.repeat(70)}${']'.repeat(70)}}`)).status, 403);
  assert.equal(stage.provider.seen.length, 0);
});

test('a body without a declared length is cut off at the limit', async () => {
  const small = await Stage.open({ maxBody: 1000 });
  const answer = await small.send(JSON.stringify({ ...hello, user: 'x'.repeat(2000) }), { headers: { 'transfer-encoding': 'chunked' } });
  assert.equal(answer.status, 413);
  assert.equal(small.provider.seen.length, 0);
  await small.close();
});

test('a URL that the provider would fetch is decided like a request', async () => {
  const picture = ask([{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://img.example/a.png' } }] }]);
  const denied = await stage.send(picture);
  assert.equal(denied.status, 403);
  assert.equal(JSON.parse(denied.text).error.param, 'messages');
  stage.verdicts.set('img.example', 'escalate');
  assert.equal((await stage.send(picture)).status, 403);
  stage.verdicts.set('img.example', 'allow');
  assert.equal((await stage.send(picture)).status, 200);
});

test('only public data goes to the cloud; without a local model everything else stops', async () => {
  const cloud = await Provider.start();
  cloud.scripts.push(streamOf([chunk({ content: 'cloud' }), chunk({}, 'stop')]));
  stage.config = { ...stage.config, providers: [cloud.plan({ name: 'cloud', location: 'cloud' }), stage.provider.plan()] };
  assert.equal(readStream((await stage.send(hello)).text).content, 'cloud');
  for (const label of ['internal', 'confidential', 'restricted'] as const) {
    stage.label = label;
    assert.equal(readStream((await stage.send(hello)).text).content, 'fine', label);
  }
  stage.config = { ...stage.config, providers: [cloud.plan({ name: 'cloud', location: 'cloud' })] };
  const stopped = await stage.send(hello);
  assert.equal(stopped.status, 403);
  assert.match(JSON.parse(stopped.text).error.message, /restricted/);
  assert.equal(cloud.seen.length, 1);
  await cloud.close();
});

test('a retry never widens: a label that rises meanwhile counts', async () => {
  const cloud = await Provider.start();
  cloud.scripts.push(streamOf([chunk({ content: 'cloud' }), chunk({}, 'stop')]));
  stage.config = { ...stage.config, providers: [stage.provider.plan(), cloud.plan({ name: 'cloud', location: 'cloud' })] };
  play((res) => {
    stage.label = 'restricted';
    res.writeHead(503).end();
  });
  const answer = await stage.send(hello);
  assert.equal(answer.status, 503);
  assert.equal(cloud.seen.length, 0);
  await cloud.close();
});

test('the model that was asked for is preferred', async () => {
  const other = await Provider.start();
  other.scripts.push(streamOf([chunk({ content: 'other' }), chunk({}, 'stop')]));
  stage.config = { ...stage.config, providers: [stage.provider.plan(), other.plan({ name: 'second', model: 'other-model' })] };
  assert.equal(readStream((await stage.send({ ...hello, model: 'other-model' })).text).content, 'other');
  assert.equal(readStream((await stage.send({ ...hello, model: 'whatever' })).text).content, 'fine');
  await other.close();
});

test('a failure before the first byte is retried; one after it is not', async () => {
  play(status(500), status(429), streamOf([chunk({ content: 'third' }), chunk({}, 'stop')]));
  assert.equal(readStream((await stage.send(hello)).text).content, 'third');
  assert.equal(stage.events.at(-1)?.data?.['attempts'], 3);
  play((res) => void res.destroy(), streamOf([chunk({ content: 'second' }), chunk({}, 'stop')]));
  assert.equal(readStream((await stage.send(hello)).text).content, 'second');
  stage.provider.seen.length = 0;
  play((res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`data: ${JSON.stringify(chunk({ content: 'half' }))}\n\n`, () => setTimeout(() => res.destroy(), 10));
  });
  const broken = readStream((await stage.send(hello)).text);
  assert.equal(broken.content, 'half');
  assert.ok(broken.error);
  assert.ok(!broken.done);
  assert.equal(stage.provider.seen.length, 1);
});

test('what an agent learns of a failure', async () => {
  for (const [given, expected, pattern] of [
    [status(400, '{"error":{"message":"too long, key sk-outside"}}'), 400, /too long, key \[key\]/],
    [status(401, '{"error":{"message":"Incorrect key sk-outside"}}'), 502, /did not accept the configured key/],
    [status(302, '', { location: 'https://evil.example' }), 502, /status 302/],
    [status(429, '', { 'retry-after': '7' }), 429, /busy/],
    [status(200, '<html>', { 'content-type': 'text/html' }), 502, /another form/],
    [status(200, 'x', { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }), 502, /compressed/],
  ] as const) {
    play(given);
    const answer = await stage.send(hello);
    assert.equal(answer.status, expected);
    assert.match(JSON.parse(answer.text).error.message, pattern);
    assert.doesNotMatch(answer.text, /sk-outside|evil/);
    if (expected === 429) assert.equal(answer.headers['retry-after'], '7');
    if (expected === 400) assert.equal(stage.provider.seen.length, 1);
    stage.provider.seen.length = 0;
  }
});

for (const [what, script] of [
  ['an event that is not JSON', (res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {"choices"\n\ndata: [DONE]\n\n')],
  ['an error event', (res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {"error":{"message":"x"}}\n\n')],
  ['a stream without an end', (res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: ${JSON.stringify(callChunk(0, 'c', 'crm_read', '{}'))}\n\n`)],
  ['a call in a former form', streamOf([chunk({ function_call: { name: 'crm_read', arguments: '{}' } }), chunk({}, 'function_call')])],
  ['a call of the provider\'s own', streamOf([chunk({ tool_calls: [{ index: 0, id: 'c', type: 'mcp', function: { name: 'crm_read', arguments: '{}' } }] }), chunk({}, 'tool_calls')])],
] as readonly (readonly [string, Script])[]) {
  test(`${what}: an error, and no call`, async () => {
    play(script);
    const { text } = await stage.send(hello);
    assert.match(text, /"error"/);
    assert.doesNotMatch(text, /tool_calls|function_call|\[DONE\]/);
  });
}

test('an answer beyond the limit is broken off', async () => {
  const small = await Stage.open({ maxAnswer: 2000 });
  small.provider.scripts.push(streamOf(Array.from({ length: 50 }, () => chunk({ content: 'x'.repeat(100) }))));
  const streamed = await small.send(hello);
  assert.match(streamed.text, /too large/);
  small.provider.scripts[0] = wholeOf({ role: 'assistant', content: 'x'.repeat(5000) });
  assert.equal((await small.send({ ...hello, stream: false })).status, 502);
  await small.close();
});

test('fields of an answer that are not text do not reach the agent', async () => {
  play(streamOf([chunk({ content: 'a', annotations: [{ url: 'https://evil.example' }], audio: { data: 'x' } }), chunk({}, 'stop')]));
  const { text } = await stage.send(hello);
  assert.doesNotMatch(text, /evil|audio/);
});

test('when the agent hangs up, the provider is left', async () => {
  let left = (): void => {};
  const gone = new Promise<void>((resolve) => (left = resolve));
  play((res) => {
    res.on('close', left);
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`data: ${JSON.stringify(chunk({ content: 'a' }))}\n\n`);
  });
  const leave = new AbortController();
  await stage.send(hello, { abort: leave.signal, watch: (text) => text.includes('"a"') && leave.abort() });
  await gone;
});

test('a long answer passes whole, at the pace of its reader', async () => {
  const part = 'x'.repeat(64 * 1024);
  play(streamOf([...Array.from({ length: 200 }, () => chunk({ content: part })), chunk({}, 'stop')]));
  const answer = await stage.send(hello);
  assert.equal(readStream(answer.text).content.length, 200 * part.length);
});

test('too many requests at once: 429 for the next one', async () => {
  const small = await Stage.open({ maxOpen: 1 });
  small.provider.scripts.push(streamOf([callChunk(0, 'c', 'ask_pay', '{}'), chunk({}, 'tool_calls')]));
  const held = small.send(ask([{ role: 'user', content: 'x' }], ['ask_pay']));
  const question = await small.approver.question(1);
  assert.equal((await small.send(hello)).status, 429);
  question.answer({ verdict: 'allow', approvalId: 'a', by: 'x' });
  await held;
  assert.equal((await small.send(undefined, { method: 'GET', path: '/v1/models' })).status, 200);
  await small.close();
});

test('refused calls are kept within bounds, the oldest give way', () => {
  const sealed = new Sealed(2, 10_000);
  const put = (id: string, size = 10): void => sealed.put({ id, name: 'x', arguments: 'a'.repeat(size) }, 'refused', '{}');
  put('one');
  put('t-w-o');
  put('two');
  put('three');
  assert.deepEqual(['one', 'two', 'three'].map((id) => sealed.original(id, 'refused') !== undefined), [false, true, true]);
  assert.equal(sealed.original('two', 'another name'), undefined);
  put('large', 20_000);
  assert.equal(sealed.has('large'), false);
  put('big', 9700);
  assert.deepEqual(['two', 'three', 'big'].map((id) => sealed.has(id)), [false, false, true]);
});

test('close: open requests end, later ones are refused', async () => {
  const other = await Stage.open();
  other.provider.scripts.push(streamOf([callChunk(0, 'c', 'ask_pay', '{}'), chunk({}, 'tool_calls')]));
  const held = other.send(ask([{ role: 'user', content: 'x' }], ['ask_pay']));
  const question = await other.approver.question(1);
  await other.close();
  const answer = await held.catch(() => undefined);
  assert.ok(answer === undefined || !answer.text.includes('tool_calls'));
  assert.ok(question.signal.aborted);
});
