/** Streaming: what comes out does not depend on how the bytes came in, and calls wait for the gate. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { ask, callChunk, chunk, readStream, sseBytes, Stage, streamOf, usageChunk, wholeOf } from './scripted.ts';
import { SseParser } from './sse.ts';

let stage: Stage;
before(async () => void (stage = await Stage.open()));
after(() => stage.close());

const hello = [{ role: 'user', content: 'hello' }];
const parallel = [
  chunk({ role: 'assistant', content: '' }),
  chunk({ content: 'I look — “ü”, 🦞' }),
  chunk({ reasoning_content: 'hm' }),
  chunk({ tool_calls: [{ index: 0, id: 'call_a', type: 'function', function: { name: 'crm_re', arguments: '' } }] }),
  chunk({ tool_calls: [{ index: 0, function: { name: 'ad', arguments: '{"q":"a \\"b\\" ' } }] }),
  callChunk(1, 'call_b', 'drop_all', '{}'),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '\\u00fc🦞"}' } }] }),
  callChunk(2, 'call_c', 'bash', '{"command":"ls"}'),
  chunk({}, 'tool_calls'),
  usageChunk,
];
const tools = ['crm_read', 'drop_all', 'bash'];

test('text passes byte for byte, and usage only where it was asked for', async () => {
  stage.provider.scripts.splice(0, 9, streamOf([chunk({ role: 'assistant', content: '' }), chunk({ content: 'He' }), chunk({ content: 'y\n"ü🦞' }), chunk({}, 'stop'), usageChunk]));
  const plain = readStream((await stage.send(ask(hello))).text);
  assert.equal(plain.content, 'Hey\n"ü🦞');
  assert.equal(plain.finish, 'stop');
  assert.equal(plain.usage, undefined);
  assert.ok(plain.done);
  const counted = readStream((await stage.send(ask(hello, [], { stream_options: { include_usage: true } }))).text);
  assert.deepEqual(counted.usage, usageChunk.usage);
  assert.equal(new Set(counted.chunks.map((event) => event['id'])).size, 1);
});

test('headers and the role chunk go out before the provider says a word', async () => {
  let release = (): void => {};
  stage.provider.scripts.splice(0, 9, (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.flushHeaders();
    release = () => res.end(sseBytes([chunk({ content: 'late' }), chunk({}, 'stop')]));
  });
  let first = '';
  const answer = await stage.send(ask(hello), {
    watch: (text) => {
      if (first === '') release();
      first ||= text;
    },
  });
  assert.match(first, /"role":"assistant"/);
  assert.doesNotMatch(first, /late/);
  assert.equal(readStream(answer.text).content, 'late');
});

test('text is forwarded before the answer ends, but nothing after the first byte of a call', async () => {
  let go = (): void => {};
  stage.provider.scripts.splice(0, 9, (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`data: ${JSON.stringify(chunk({ content: 'before' }))}\n\ndata: ${JSON.stringify(chunk({ tool_calls: [{ index: 0 }] }))}\n\ndata: ${JSON.stringify(chunk({ content: ' after' }))}\n\n`);
    go = () => res.end(sseBytes([callChunk(0, 'call_x', 'crm_read', '{}'), chunk({}, 'tool_calls')]));
  });
  let early = '';
  const answer = await stage.send(ask(hello, tools), {
    watch: (text) => {
      if (!text.includes('before') || early !== '') return;
      early = text;
      setTimeout(go, 20);
    },
  });
  assert.doesNotMatch(early, /after|tool_calls/);
  const read = readStream(answer.text);
  assert.equal(read.content, 'before after');
  assert.deepEqual(read.calls, [{ index: 0, id: 'call_x', name: 'crm_read', args: '{}' }]);
});

test('however the bytes are cut, the agent gets the same', async () => {
  const outputs = new Set<string>();
  for (const cut of [0, 1, 2, 3, 7, 64, 501]) {
    stage.provider.scripts.splice(0, 9, streamOf(JSON.parse(JSON.stringify(parallel).replaceAll('call_b', `call_b${cut}`)), cut));
    const read = readStream((await stage.send(ask(hello, tools))).text);
    assert.deepEqual(read.calls.map((call) => [call.index, call.id, call.name]), [[0, 'call_a', 'crm_read'], [1, `call_b${cut}`, 'refused_by_policy'], [2, 'call_c', 'bash']]);
    assert.equal(read.calls[0]?.args, '{"q":"a \\"b\\" \\u00fc🦞"}');
    assert.equal(read.finish, 'tool_calls');
    outputs.add(JSON.stringify([read.content, read.calls, read.finish]).replace(`call_b${cut}`, ''));
  }
  assert.equal(outputs.size, 1);
});

test('the parser finds the same events at every split, with every kind of line end', () => {
  const payload = fc.array(fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => text.replaceAll(/[\r\n]/g, '')), { maxLength: 6 });
  fc.assert(
    fc.property(payload, fc.constantFrom('\n', '\r', '\r\n'), fc.array(fc.nat(200), { maxLength: 20 }), (texts, end, cuts) => {
      const bytes = Buffer.from(texts.map((text) => `: note${end}data: ${text}${end}id: 1${end}${end}`).join(''));
      const whole: string[] = [];
      new SseParser((data) => whole.push(data), 1e6).push(bytes);
      assert.deepEqual(whole, texts);
      const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
      const pieces: string[] = [];
      const parser = new SseParser((data) => pieces.push(data), 1e6);
      let from = 0;
      for (const to of [...places, bytes.length]) {
        parser.push(bytes.subarray(from, to));
        from = to;
      }
      assert.deepEqual(pieces, texts);
    }),
  );
});

test('an event that is too large, several data lines, and a byte order mark', () => {
  const got: string[] = [];
  const parser = new SseParser((data) => got.push(data), 50);
  parser.push(Buffer.from('\uFEFFdata: a\ndata: b\n\ndata:c\n\ndata\n\n'));
  assert.deepEqual(got, ['a\nb', 'c', '']);
  assert.throws(() => parser.push(Buffer.alloc(60, 0x61)), RangeError);
});

test('an answer that is not streamed passes the same gate', async () => {
  const calls = [{ id: 'call_1', type: 'function', function: { name: 'crm_read', arguments: '{"a":1}' } }, { id: 'call_2', type: 'function', function: { name: 'drop_all', arguments: '{}' } }];
  stage.provider.scripts.splice(0, 9, wholeOf({ role: 'assistant', content: 'ok', tool_calls: calls, annotations: [] }, 'tool_calls'));
  const answer = await stage.send(ask(hello, tools, { stream: false }));
  const body = JSON.parse(answer.text);
  assert.equal(body.choices[0].message.content, 'ok');
  assert.equal(body.choices[0].finish_reason, 'tool_calls');
  assert.deepEqual(body.choices[0].message.tool_calls.map((call: { function: { name: string } }) => call.function.name), ['crm_read', 'refused_by_policy']);
  assert.deepEqual(body.usage, usageChunk.usage);
  assert.equal(stage.provider.seen.at(-1)?.body['stream'], false);
});

test('a tool-use reason never stands without a call, nor a call without it', async () => {
  stage.provider.scripts.splice(0, 9, streamOf([chunk({ content: 'x' }), chunk({}, 'tool_calls')]));
  assert.equal(readStream((await stage.send(ask(hello, tools))).text).finish, 'stop');
  stage.provider.scripts.splice(0, 9, streamOf([callChunk(0, 'c1', 'drop_all', '{}'), chunk({}, 'stop')]));
  const read = readStream((await stage.send(ask(hello, tools))).text);
  assert.equal(read.finish, 'tool_calls');
  assert.equal(read.calls.length, 1);
});

test('a silent provider: the agent gets empty deltas meanwhile', async () => {
  stage.config = { ...stage.config, patience: { ...stage.config.patience, keepAliveMs: 10 } };
  let speak = (): void => {};
  stage.provider.scripts.splice(0, 9, (res) => {
    speak = () => streamOf([chunk({ content: 'x' }), chunk({}, 'stop')])(res, { path: '', headers: {}, body: {} });
  });
  // It speaks when two of them have come.
  const { text } = await stage.send(ask(hello), {
    watch: (so) => {
      if (so.split('"delta":{"content":""}').length < 3) return;
      speak();
      speak = () => {};
    },
  });
  const read = readStream(text);
  assert.equal(read.content, 'x');
  assert.doesNotMatch(text, /^:/m);
  stage.config = { ...stage.config, patience: { ...stage.config.patience, keepAliveMs: 60_000 } };
});
