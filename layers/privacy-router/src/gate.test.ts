/** The gate: what is delivered, refused, held, approved, repeated and repaired. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, test } from 'node:test';
import { ask, callChunk, chunk, readStream, Stage, streamOf, usageChunk, wholeOf, type Script } from './scripted.ts';

let stage: Stage;
let serial = 0;
const patience = { streamMs: 60_000, httpMs: 1000, keepAliveMs: 15 };
before(async () => {
  stage = await Stage.open();
});
beforeEach(() => {
  serial += 1;
  stage.config = { ...stage.config, task: `task-${serial}`, patience };
  stage.events.length = 0;
  stage.provider.seen.length = 0;
  stage.approver.asked.length = 0;
  stage.commitFails = false;
});
after(() => stage.close());

const tools = ['crm_read', 'crm_update', 'drop_all', 'ask_pay', 'bash', 'read'];
const user = (text = 'do it'): unknown => ({ role: 'user', content: `${text} ${serial}` });
function play(...scripts: Script[]): void {
  serial += 1;
  stage.provider.scripts.splice(0, 99, ...scripts);
}
const calls = (...list: readonly (readonly [string, string, string])[]): Script =>
  streamOf([chunk({ role: 'assistant', content: '' }), chunk({ content: 'Well.' }), ...list.map(([id, name, args], i) => callChunk(i, id, name, args)), chunk({}, 'tool_calls'), usageChunk]);
const id = (name: string): string => `call_${name}${serial + 1}x`;

test('an allowed call is delivered unchanged, a denied one never', async () => {
  const good = id('a');
  const bad = id('b');
  play(calls([bad, 'drop_all', '{"table": "customers"}'], [good, 'crm_read', '{"id": 7 }']));
  const { text } = await stage.send(ask([user()], tools, { stream_options: { include_usage: true } }));
  const read = readStream(text);
  assert.deepEqual(read.calls[1], { index: 1, id: good, name: 'crm_read', args: '{"id": 7 }' });
  assert.deepEqual({ ...read.calls[0], args: JSON.parse(read.calls[0]?.args ?? '') }, { index: 0, id: bad, name: 'refused_by_policy', args: { rule: 'test.deny', reason: 'It is deny.', hint: 'Ask for something else.' } });
  assert.doesNotMatch(text, /drop_all|customers/);
  assert.equal(read.finish, 'tool_calls');
  assert.deepEqual(read.usage, usageChunk.usage);
});

test('on record: one event per model call and per tool call, without their content', async () => {
  play(calls([id('a'), 'drop_all', '{"note":"SECRET-abc to ann@example.com","amount":7,"deep":{"x":"SECRET-abc"}}'], [id('b'), 'bash', '{"command":"rm"}']));
  await stage.send(ask([user()], tools));
  assert.deepEqual(stage.events.map((event) => [event.layer, event.verdict]), [['router', undefined], ['gate', 'deny'], ['gate', 'allow']]);
  const [model, gate] = stage.events;
  assert.deepEqual([model?.data?.['promptTokens'], model?.data?.['completionTokens'], model?.data?.['provider'], model?.data?.['outcome']], [11, 7, 'scripted', 'complete']);
  assert.equal(gate?.decision?.rules[0]?.id, 'test.deny');
  assert.match(String(gate?.data?.['argumentsSha256']), /^[0-9a-f]{64}$/);
  assert.doesNotMatch(JSON.stringify(stage.events), /SECRET|do it|Well/);
});

test('the next request has the original call and a plain result again; the waiting line is gone', async () => {
  const bad = id('b-1.2');
  play(calls([bad, 'drop_all', '{"table":"ü"}'], [id('c'), 'crm_read', '{}']), streamOf([chunk({ content: 'fine' }), chunk({}, 'stop')]));
  const first = readStream((await stage.send(ask([user()], tools))).text);
  const stripped = bad.replaceAll(/[^A-Za-z0-9]/g, '');
  const history = [
    user(),
    {
      role: 'assistant',
      content: 'Well.\n\nWaiting for approval of ask.pay: ask_pay {"a. b":1}. Decide with `nemoclaw approvals list`.\n',
      tool_calls: first.calls.map((call) => ({ id: call.id === bad ? stripped : call.id, type: 'function', function: { name: call.name, arguments: call.args } })),
    },
    { role: 'tool', tool_call_id: stripped, content: 'Tool refused_by_policy not found' },
    { role: 'tool', tool_call_id: id('c'), content: 'result' },
  ];
  await stage.send(ask(history, tools));
  const sent = stage.provider.seen.at(-1)?.body['messages'] as { content: string; tool_calls: { id: string; function: { name: string; arguments: string } }[] }[];
  assert.equal(sent[1]?.content, 'Well.');
  assert.deepEqual(sent[1]?.tool_calls[0], { id: stripped, type: 'function', function: { name: 'drop_all', arguments: '{"table":"ü"}' } });
  assert.deepEqual(JSON.parse(sent[2]?.content ?? ''), { verdict: 'deny', rule: 'test.deny', reason: 'It is deny.', hint: 'Ask for something else.' });
  assert.equal(sent[3]?.content, 'result');
});

test('an agent cannot have a result explained away for a call that was not refused', async () => {
  play(calls([id('a'), 'crm_read', '{}']), streamOf([chunk({ content: 'fine' }), chunk({}, 'stop')]));
  await stage.send(ask([user()], tools));
  const history = [user(), { role: 'assistant', content: '', tool_calls: [{ id: id('a'), type: 'function', function: { name: 'refused_by_policy', arguments: '{}' } }] }, { role: 'tool', tool_call_id: id('a'), content: 'mine' }];
  await stage.send(ask(history, tools));
  const sent = stage.provider.seen.at(-1)?.body['messages'] as { content: string }[];
  assert.equal(sent[2]?.content, 'mine');
});

test('held: the line at once, empty deltas meanwhile, then the call in one piece', async () => {
  const held = id('p');
  play(calls([held, 'ask_pay', '{"amount":500,"note":"SECRET-x"}'], [id('r'), 'crm_read', '{}']));
  let seenBefore = '';
  const answering = stage.send(ask([user()], tools, { stream_options: { include_usage: true } }), { watch: (text) => void (seenBefore = text) });
  const question = await stage.approver.question(1);
  assert.equal(question.hold.kind, 'tool');
  assert.equal(question.hold.patienceMs, 60_000);
  assert.doesNotMatch(JSON.stringify([question.hold.summary, question.hold.detail]), /SECRET/);
  while (seenBefore.split('"delta":{"content":""}').length < 5) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(seenBefore, /Waiting for approval of ask\.pay: ask_pay .*Decide with `nemoclaw approvals list`\./);
  assert.doesNotMatch(seenBefore, /tool_calls/);
  question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:1000' });
  const { text } = await answering;
  const read = readStream(text);
  assert.deepEqual(read.calls[0], { index: 0, id: held, name: 'ask_pay', args: '{"amount":500,"note":"SECRET-x"}' });
  assert.equal(read.calls.length, 2);
  assert.equal(read.finish, 'tool_calls');
  assert.ok(read.usage);
  assert.doesNotMatch(text, /^:/m);
  const gate = stage.events.find((event) => event.verdict === 'approved');
  assert.equal(gate?.correlation, 'apr_1');
});

test('held and rejected; held and nobody there; held to the limit', async () => {
  for (const [outcome, expected] of [
    [{ verdict: 'deny', approvalId: 'apr_2', by: 'uid:1', reason: 'not today' }, { reason: 'A person has rejected this request: not today.' }],
    [{ verdict: 'unavailable', reason: 'The gateway is gone.' }, { reason: 'Approval is needed, but the gateway is gone.' }],
    [{ verdict: 'waiting', approvalId: 'apr_3' }, { status: 'waiting', approvalId: 'apr_3' }],
  ] as const) {
    play(calls([id('p'), 'ask_pay', '{}'], [id('q'), 'bash', '{}']));
    const answering = stage.send(ask([user()], tools));
    (await stage.approver.question(1)).answer(outcome);
    const read = readStream((await answering).text);
    assert.equal(read.calls[0]?.name, 'refused_by_policy');
    assert.equal(read.calls[1]?.name, 'bash');
    const args: Record<string, unknown> = JSON.parse(read.calls[0]?.args ?? '');
    assert.deepEqual({ ...args, ...expected }, args);
    stage.approver.asked.length = 0;
  }
});

test('several held calls: none is delivered before all are decided', async () => {
  play(calls([id('p'), 'ask_pay', '{"n":1}'], [id('q'), 'ask_pay', '{"n":2}']));
  let soFar = '';
  const answering = stage.send(ask([user()], tools), { watch: (text) => void (soFar = text) });
  (await stage.approver.question(1)).answer({ verdict: 'allow', approvalId: 'a', by: 'x' });
  const second = await stage.approver.question(2);
  await new Promise((resolve) => setTimeout(resolve, 40));
  assert.doesNotMatch(soFar, /tool_calls/);
  second.answer({ verdict: 'deny', approvalId: 'b', by: 'x', reason: '' });
  assert.deepEqual(readStream((await answering).text).calls.map((call) => [call.index, call.name]), [[0, 'ask_pay'], [1, 'refused_by_policy']]);
});

test('a grant lets the identical call pass once', async () => {
  play(calls([id('p'), 'ask_pay', '{"amount":9}']));
  const first = stage.send(ask([user()], tools));
  const question = await stage.approver.question(1);
  question.answer({ verdict: 'waiting', approvalId: 'apr_9' });
  await first;
  stage.approver.grants.add(question.hold.key);
  play(calls([id('p2'), 'ask_pay', '{"amount":9}']));
  assert.equal(readStream((await stage.send(ask([user()], tools))).text).calls[0]?.name, 'ask_pay');
  assert.equal(stage.approver.asked.length, 1);
  play(calls([id('p3'), 'ask_pay', '{"amount":9}']));
  const third = stage.send(ask([user()], tools));
  (await stage.approver.question(2)).answer({ verdict: 'deny', approvalId: '', by: '', reason: '' });
  assert.equal(readStream((await third).text).calls[0]?.name, 'refused_by_policy');
});

test('an approval does not outlive a policy that meanwhile denies', async () => {
  play(calls([id('p'), 'ask_pay', '{}']));
  const answering = stage.send(ask([user()], tools));
  const question = await stage.approver.question(1);
  stage.verdicts.set('ask_pay', 'deny');
  question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
  assert.equal(readStream((await answering).text).calls[0]?.name, 'refused_by_policy');
  stage.verdicts.clear();
});

for (const [verdict, told] of [['allow', 'crm_read'], ['deny', 'refused_by_policy'], ['escalate', 'refused_by_policy']] as const) {
  test(`an allowed call that waited beside a held one is decided again: ${verdict}`, async () => {
    play(calls([id('r'), 'crm_read', '{}'], [id('p'), 'ask_pay', '{}']));
    const answering = stage.send(ask([user()], tools));
    const question = await stage.approver.question(1);
    stage.verdicts.set('crm_read', verdict);
    question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
    const read = readStream((await answering).text);
    stage.verdicts.clear();
    assert.deepEqual(read.calls.map((call) => call.name), [told, 'ask_pay']);
    assert.equal(JSON.parse(read.calls[0]?.args ?? '').rule, { allow: undefined, deny: 'test.deny', escalate: 'gate.changed' }[verdict]);
  });
}

test('a grant that was used up while another call waited does not outlive a policy that denies', async () => {
  play(calls([id('p'), 'ask_pay', '{"amount":4}']));
  const first = stage.send(ask([user()], tools));
  const question = await stage.approver.question(1);
  question.answer({ verdict: 'waiting', approvalId: 'apr_9' });
  await first;
  stage.approver.grants.add(question.hold.key);
  play(calls([id('p2'), 'ask_pay', '{"amount":4}'], [id('q'), 'ask_pay', '{"amount":5}']));
  const answering = stage.send(ask([user()], tools));
  const second = await stage.approver.question(2);
  stage.verdicts.set('ask_pay', 'deny');
  second.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
  assert.deepEqual(readStream((await answering).text).calls.map((call) => call.name), ['refused_by_policy', 'refused_by_policy']);
  stage.verdicts.clear();
});

test('what was approved is on record before it is delivered, or is not delivered', async () => {
  stage.commitFails = true;
  play(calls([id('p'), 'ask_pay', '{}']));
  const answering = stage.send(ask([user()], tools));
  (await stage.approver.question(1)).answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
  const read = readStream((await answering).text);
  assert.equal(read.calls[0]?.name, 'refused_by_policy');
  assert.match(read.calls[0]?.args ?? '', /gate\.record/);
});

/** Asks and hangs up while held; resolves when the router has noticed. */
async function hangUp(body: unknown, n = 1): Promise<(typeof stage.approver.asked)[number]> {
  const leave = new AbortController();
  let isShown = (): void => {};
  const shown = new Promise<void>((resolve) => (isShown = resolve));
  const gone = stage.send(body, { abort: leave.signal, watch: (text) => text.includes('Waiting') && isShown() });
  const question = await stage.approver.question(n);
  if ((body as { stream: boolean }).stream) await shown;
  leave.abort();
  await gone;
  return question;
}

test('hang up and ask again: the same question, the same answer, the model is not asked again', async () => {
  play(calls([id('p'), 'ask_pay', '{}']), () => assert.fail('asked again'));
  const body = ask([user()], tools);
  const question = await hangUp(body);
  const reordered = Object.fromEntries(Object.entries(body).reverse());
  let asked = false;
  const again = stage.send(reordered, {
    watch: (text) => {
      if (asked || !text.includes('Waiting for approval')) return;
      asked = true;
      question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
    },
  });
  const read = readStream((await again).text);
  assert.deepEqual(read.calls, [{ index: 0, id: `call_p${serial}x`, name: 'ask_pay', args: '{}' }]);
  assert.match(read.content, /^Well\.\n\nWaiting for approval/);
  assert.equal(stage.approver.asked.length, 1);
  assert.equal(stage.provider.seen.length, 1);
});

test('the repeat may be without streaming, or with the note of an aborted turn', async () => {
  for (const repeat of [
    (body: Record<string, unknown>) => ({ ...body, stream: false }),
    (body: Record<string, unknown>) => ({ ...body, messages: [...(body['messages'] as unknown[]), { role: 'user', content: '<turn_aborted> timed out' }, { role: 'user', content: 'Continue the current task' }] }),
  ]) {
    play(calls([id('p'), 'ask_pay', '{}']), () => assert.fail('asked again'));
    const body = ask([user()], tools);
    const question = await hangUp(body);
    const again = stage.send(repeat(body));
    setTimeout(() => question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' }), 30);
    assert.match((await again).text, new RegExp(`call_p${serial}x`));
    stage.approver.asked.length = 0;
  }
});

test('decided while nobody listened: the repeat gets it; and gets it again; the next turn ends that', async () => {
  play(calls([id('p'), 'ask_pay', '{}']), streamOf([chunk({ content: 'done' }), chunk({}, 'stop')]));
  const message = user();
  const body = ask([message], tools);
  (await hangUp(body)).answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
  await new Promise((resolve) => setTimeout(resolve, 20));
  const one = readStream((await stage.send(body)).text);
  const two = readStream((await stage.send(body)).text);
  assert.deepEqual(one.calls, two.calls);
  assert.equal(stage.provider.seen.length, 1);
  const done = await stage.send(ask([message, { role: 'assistant', content: null, tool_calls: one.calls.map((call) => ({ id: call.id, type: 'function', function: { name: call.name, arguments: call.args } })) }, { role: 'tool', tool_call_id: one.calls[0]?.id, content: 'ok' }], tools));
  assert.equal(readStream(done.text).content, 'done');
  await stage.send(body);
  assert.equal(stage.provider.seen.length, 3);
});

test('hang up and stay away: the question is withdrawn, a later approval does nothing', async (t) => {
  const patient = stage;
  stage = await Stage.open({ suspendMs: 300 });
  t.after(async () => {
    await stage.close();
    stage = patient;
  });
  play(calls([id('p'), 'ask_pay', '{}']), streamOf([chunk({ content: 'new' }), chunk({}, 'stop')]));
  const body = ask([user()], tools);
  const question = await hangUp(body);
  if (!question.signal.aborted) await once(question.signal, 'abort');
  question.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'x' });
  assert.equal(readStream((await stage.send(body)).text).content, 'new');
});

test('Esc and a new order: the question is withdrawn at once', async () => {
  play(calls([id('p'), 'ask_pay', '{}']), streamOf([chunk({ content: 'new' }), chunk({}, 'stop')]));
  const message = user();
  const question = await hangUp(ask([message], tools));
  const next = await stage.send(ask([message, user('no, something else')], tools));
  assert.equal(readStream(next.text).content, 'new');
  assert.ok(question.signal.aborted);
});

test('two agents with the same turn at once: two questions, two answers', async () => {
  play(calls([id('p'), 'ask_pay', '{}']), calls([id('q'), 'ask_pay', '{}']));
  const body = ask([user()], tools);
  const one = stage.send(body);
  const first = await stage.approver.question(1);
  const two = stage.send(body);
  const second = await stage.approver.question(2);
  first.answer({ verdict: 'allow', approvalId: 'a', by: 'x' });
  second.answer({ verdict: 'deny', approvalId: 'b', by: 'x', reason: '' });
  assert.equal(readStream((await one).text).calls[0]?.name, 'ask_pay');
  assert.equal(readStream((await two).text).calls[0]?.name, 'refused_by_policy');
});

test('another task, tools or settings: another turn', async () => {
  play(calls([id('p'), 'ask_pay', '{}']), streamOf([chunk({ content: 'other' }), chunk({}, 'stop')]));
  const body = ask([user()], tools);
  await hangUp(body);
  assert.equal(readStream((await stage.send({ ...body, temperature: 1 })).text).content, 'other');
  stage.config = { ...stage.config, task: 'another' };
  assert.equal(readStream((await stage.send(body)).text).content, 'other');
});

test('an answer that is not streamed is held too, but not longer than agents wait', async () => {
  stage.config = { ...stage.config, patience: { ...patience, streamMs: 900_000 } };
  play(wholeOf({ role: 'assistant', content: null, tool_calls: [{ id: id('w'), type: 'function', function: { name: 'ask_pay', arguments: '{}' } }] }, 'tool_calls'));
  const answering = stage.send(ask([user()], tools, { stream: false }));
  const question = await stage.approver.question(1);
  assert.equal(question.hold.patienceMs, 280_000);
  question.answer({ verdict: 'waiting', approvalId: '' });
  const { message } = JSON.parse((await answering).text).choices[0];
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments).approvalId, 'apr_pending');
});

test('too many held: refused, not forgotten', async () => {
  const small = await Stage.open({ maxHeld: 1 });
  small.provider.scripts.push(calls(['call_one', 'ask_pay', '{}']), calls(['call_two', 'ask_pay', '{}']));
  const first = small.send(ask([{ role: 'user', content: 'a' }], tools));
  const question = await small.approver.question(1);
  const second = readStream((await small.send(ask([{ role: 'user', content: 'b' }], tools))).text);
  assert.match(second.calls[0]?.args ?? '', /tooManyHeld/);
  question.answer({ verdict: 'allow', approvalId: 'a', by: 'x' });
  assert.equal(readStream((await first).text).calls[0]?.name, 'ask_pay');
  await small.close();
});

const tricks: readonly (readonly [string, string, string])[] = [
  ['another case', 'CRM_READ', '{}'],
  ['a space behind', 'crm_read ', '{}'],
  ['a full-width letter', 'crm_reａd', '{}'],
  ['a zero-width space', 'crm_\u200bread', '{}'],
  ['empty', '', '{}'],
  ['a dot', 'crm.read', '{}'],
  ['not offered', 'crm_delete', '{}'],
  ['the refusal itself', 'refused_by_policy', '{}'],
  ['a prototype name', '__proto__', '{}'],
  ['a new line', 'crm_read\nbash', '{}'],
];
for (const [what, name, args] of tricks) {
  test(`a tool name with ${what} is refused`, async () => {
    play(calls([id('t'), name, args]));
    const read = readStream((await stage.send(ask([user()], tools))).text);
    assert.deepEqual(read.calls.map((call) => call.name), ['refused_by_policy']);
    assert.match(read.calls[0]?.args ?? '', /gate\.notOffered/);
  });
}

for (const args of ['{"a":1', '[]', '"x"', 'null', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"x":[{"b":1,"c":2,"b":3}]}', `${'['.repeat(100)}`, `{"a":${'['.repeat(100)}${']'.repeat(100)}}`]) {
  test(`arguments ${args.slice(0, 30)} are refused`, async () => {
    play(calls([id('t'), 'crm_read', args]));
    const read = readStream((await stage.send(ask([user()], tools))).text);
    assert.deepEqual(read.calls.map((call) => call.name), ['refused_by_policy']);
    assert.match(read.calls[0]?.args ?? '', /gate\.arguments/);
  });
}

test('no arguments, huge arguments, escapes and every alphabet pass as they are', async () => {
  const texts = ['', ' {} ', JSON.stringify({ text: 'x'.repeat(1_000_000) }), '{"a":"\\u0000\\ud83e\\udd9e\\/ü","b":{"a":1,"c":[{"a":2}]}}', '{"__proto__":1}'];
  play(calls(...texts.map((text, i): [string, string, string] => [id(`t${i}`), 'crm_read', text])));
  const read = readStream((await stage.send(ask([user()], tools))).text);
  assert.deepEqual(read.calls.map((call) => call.args), texts);
  assert.deepEqual(read.calls.map((call) => call.index), [0, 1, 2, 3, 4]);
});

test('call ids that are missing, equal, or already used become unique', async () => {
  play(calls(['same', 'crm_read', '{}'], ['s-a-m-e', 'drop_all', '{}'], ['', 'crm_read', '{}'], ['old', 'drop_all', '{}']));
  const history = [user(), { role: 'assistant', content: null, tool_calls: [{ id: 'old', type: 'function', function: { name: 'crm_read', arguments: '{}' } }] }, { role: 'tool', tool_call_id: 'old', content: 'x' }];
  const ids = readStream((await stage.send(ask(history, tools))).text).calls.map((call) => call.id);
  assert.equal(ids[0], 'same');
  assert.equal(new Set(ids).size, 4);
  assert.ok(!ids.includes('old') && !ids.includes(''));
});

test('a provider that gives every call index 0, or none', async () => {
  play(streamOf([callChunk(0, id('a'), 'crm_read', '{"n":1}'), callChunk(0, id('b'), 'drop_all', '{}'), chunk({ tool_calls: [{ id: id('c'), function: { name: 'bash', arguments: { command: 'ls' } } }] }), chunk({}, 'tool_calls')]));
  const read = readStream((await stage.send(ask([user()], tools))).text);
  assert.deepEqual(read.calls.map((call) => [call.index, call.name, call.args.slice(0, 8)]), [[0, 'crm_read', '{"n":1}'], [1, 'refused_by_policy', '{"rule":'], [2, 'bash', '{"comman']]);
});

test('an agent that offers a tool called refused_by_policy', async () => {
  play(calls([id('a'), 'drop_all', '{}']));
  const read = readStream((await stage.send(ask([user()], [...tools, 'Refused_By_Policy']))).text);
  assert.equal(read.calls[0]?.name, 'refused_by_policy_2');
});

test('an answer cut short keeps its reason, and a call cut short is refused', async () => {
  play(streamOf([callChunk(0, id('a'), 'crm_read', '{"q":"hal'), chunk({}, 'length')]));
  const read = readStream((await stage.send(ask([user()], tools))).text);
  assert.equal(read.finish, 'length');
  assert.equal(read.calls[0]?.name, 'refused_by_policy');
});
