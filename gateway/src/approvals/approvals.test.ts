/** Questions to a human: decided once, on record before the effect, denied by default, and never by a worker. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadBundle, unlabelled, type ActionRequest } from '@nemoclaw/contract';
import { answerKey } from '@nemoclaw/decide';
import { blueprintFiles, makeWorld, refusal, type World } from '../fake-world.ts';
import { setPolicy } from '../policy/change.ts';
import { createSandbox } from '../sandboxes/create.ts';
import { stopSandbox } from '../sandboxes/life.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { maxDecided } from './desk.ts';
import { consume, decide, held, inWorld, person, settled, syscall, toolRequest, uid, wire } from './fake-holds.ts';
import { withoutPlace } from './holds.ts';

describe('a held tool call', () => {
  test('is shown in the gateway\'s own words and goes ahead when approved', inWorld(async (world, live) => {
    const id = await held(world, live);
    const card = settled(world, id)?.card;
    assert.equal(card?.summary, 'email.send: to dana@customer.example, subject Hello');
    assert.deepEqual(card?.chips, { sensitivity: 'internal', reversibility: 'irreversible', scope: 'external', compliance: 'GDPR' });
    assert.equal(card?.rule.id, 'approvals.triggers[0]');
    assert.match(card?.creates ?? '', /the tool call, and once the identical HTTP request/);
    assert.match(card?.notices.join() ?? '', /Single operator/);
    const approved = await decide(world, id);
    assert.equal(approved.state, 'approved');
    assert.equal(approved.by, 'uid:1001');
    assert.deepEqual((await world.worker.until((worker) => worker.outcome('h1'))).outcome, { verdict: 'allow', approvalId: id, by: 'uid:1001' });
  }));

  test('the identical HTTP request passes once, and only once', inWorld(async (world, live) => {
    const request = toolRequest(live);
    const id = await held(world, live, 'h1', request);
    await decide(world, id);
    const key = live.inForce.key(request);
    assert.equal(await consume(world, live, live.inForce.key(toolRequest(live, 'other@customer.example')), 1), 'no');
    assert.equal(await consume(world, live, key, 2), 'ok');
    assert.equal(await consume(world, live, key, 3), 'no');
    assert.deepEqual(world.gateway.house.desk.grants().map((grant) => grant.state), ['used']);
    assert.ok(world.record.events.some((event) => event.message.startsWith('A one-shot grant was used')));
  }));

  test('is denied with the reason', inWorld(async (world, live) => {
    const id = await held(world, live);
    assert.equal((await decide(world, id, 'deny')).state, 'rejected');
    const { outcome } = await world.worker.until((worker) => worker.outcome('h1'));
    assert.deepEqual(outcome, { verdict: 'deny', approvalId: id, by: 'uid:1001', reason: 'because' });
    assert.equal(world.gateway.house.desk.grants().length, 0);
  }));

  test('a second decision is a conflict that names the first', inWorld(async (world, live) => {
    const id = await held(world, live);
    const results = await Promise.allSettled([decide(world, id, 'approve', 1001), decide(world, id, 'deny', 1002)]);
    assert.equal(results[0]?.status, 'fulfilled');
    assert.equal(results[1]?.status, 'rejected');
    await assert.rejects(decide(world, id, 'deny'), (error: unknown) => refusal('NEMO_E_DECIDED')(error) && /approved by uid:1001/.test(String(error)));
    assert.equal(world.record.events.filter((event) => event.verdict === 'approved').length, 1);
    await assert.rejects(decide(world, 'apr_none'), refusal('NEMO_E_NOT_FOUND'));
  }));

  test('is denied by default when its time is over', inWorld(async (world, live) => {
    const id = await held(world, live);
    world.clock.time += 15 * 60_000;
    await world.gateway.sweep();
    assert.equal(settled(world, id)?.state, 'expired');
    assert.equal((await world.worker.until((worker) => worker.outcome('h1'))).outcome.verdict, 'deny');
    await assert.rejects(decide(world, id), refusal('NEMO_E_DECIDED'));
  }));

  test('is denied by default even if nobody swept', inWorld(async (world, live) => {
    const id = await held(world, live);
    world.clock.time += 15 * 60_000;
    await assert.rejects(decide(world, id), refusal('NEMO_E_DECIDED'));
    assert.equal(settled(world, id)?.state, 'expired');
  }));

  test('without the record nothing is approved, and a denial still happens', inWorld(async (world, live) => {
    const id = await held(world, live);
    world.record.broken = true;
    await assert.rejects(decide(world, id), refusal('NEMO_E_RECORD'));
    assert.equal(settled(world, id)?.state, 'waiting');
    assert.equal(world.worker.outcome('h1'), undefined);
    await decide(world, id, 'deny');
    assert.equal((await world.worker.until((worker) => worker.outcome('h1'))).outcome.verdict, 'deny');
  }));

  test('the approval is on record and in the store before the worker hears of it', inWorld(async (world, live) => {
    const id = await held(world, live);
    const seen: boolean[] = [];
    world.worker.socket.on('data', () => {
      if (!world.worker.outcome('h1') || seen.length > 0) return;
      seen.push(world.record.events.some((event) => event.verdict === 'approved' && event.correlation === id));
    });
    await decide(world, id);
    await world.worker.until((worker) => worker.outcome('h1'));
    assert.deepEqual(seen, [true]);
  }));

  test('the agent can give it up', inWorld(async (world, live) => {
    const id = await held(world, live);
    world.worker.say({ t: 'hold.withdrawn', sandbox: live.record.value.id, holdId: 'h1', why: 'client went away' });
    await world.worker.until(() => settled(world, id)?.state === 'withdrawn' || (world.worker.say({ t: 'usage', sandbox: live.record.value.id, requests: 0, bytesOut: 0, tokens: 0 }), false));
    await assert.rejects(decide(world, id), refusal('NEMO_E_DECIDED'));
  }));

  test('nobody approves what their own agent asks as soon as two people can', inWorld(async (world, live) => {
    const id = await held(world, live);
    world.people = 2;
    await assert.rejects(decide(world, id, 'approve', uid), refusal('NEMO_E_SELF_APPROVAL'));
    assert.equal((await decide(world, id, 'approve', person)).state, 'approved');
  }));

  test('who drove the sandbox is as little the second person as who made it', inWorld(async (world, live) => {
    live.drivers.add(person);
    const id = await held(world, live);
    live.drivers.clear();
    world.people = 2;
    await assert.rejects(decide(world, id, 'approve', person), refusal('NEMO_E_SELF_APPROVAL'));
    assert.equal((await decide(world, id, 'approve', person + 1)).state, 'approved');
  }));
});

describe('a held rename', () => {
  test('says in its first line that something is replaced', inWorld(async (world, live) => {
    const rename = { op: 'rename', toPath: '/workspace/archive/b.csv' } as const;
    await world.gateway.hold(syscall(live, { ...rename, holdId: 'r1', syscall: 'renameat2' }));
    await world.gateway.hold(syscall(live, { ...rename, holdId: 'r2', ino: 3, syscall: 'rename (replaces what is there)' }));
    const summaries = world.gateway.house.desk.list().map((view) => view.card.summary).sort();
    assert.deepEqual(summaries, ['Rename /workspace/archive/a.csv to /workspace/archive/b.csv', 'Rename /workspace/archive/a.csv to /workspace/archive/b.csv (replaces what is there)']);
  }));
});

describe('an agent that asks without end', () => {
  test('fills neither memory nor store: old decided questions go, open ones and unused grants stay', inWorld(async (world, live) => {
    const sandbox = live.record.value.id;
    const first = await held(world, live, 'first');
    world.worker.say({ t: 'hold.withdrawn', sandbox, holdId: 'first', why: 'patience' });
    await world.worker.until(() => settled(world, first)?.held === false || (world.worker.say({ t: 'usage', sandbox, requests: 0, bytesOut: 0, tokens: 0 }), false));
    await decide(world, first);
    const open = await held(world, live, 'open', toolRequest(live, 'open@customer.example'));
    for (let i = 0; i < maxDecided + 20; i += 1) {
      const id = await held(world, live, `h${i}`, toolRequest(live, `n${i}@customer.example`));
      await decide(world, id, 'deny');
    }
    const kept = world.gateway.house.desk.list();
    assert.ok(kept.length <= maxDecided + 4, String(kept.length));
    assert.equal((await world.store.list(`sandbox/${sandbox}/approval/`)).length, kept.length);
    assert.equal(settled(world, open)?.state, 'waiting');
    assert.equal(settled(world, first)?.state, 'granted');
    assert.equal(await consume(world, live, live.inForce.key(toolRequest(live)), 900), 'ok');
  }));

  test('a long detail is cut, and the card says so', inWorld(async (world, live) => {
    const request = toolRequest(live);
    world.worker.say({ t: 'hold', hold: { ...wire(live, request, 'long'), detail: 'x'.repeat(900_000) } });
    await world.worker.until(() => world.gateway.house.desk.list().length > 0 || (world.worker.say({ t: 'usage', sandbox: live.record.value.id, requests: 0, bytesOut: 0, tokens: 0 }), false));
    const [view] = world.gateway.house.desk.list();
    assert.match(view?.card.detail ?? '', /\(881000 more\)$/);
    assert.ok(JSON.stringify(await world.store.list('sandbox/')).length < 200_000);
  }));
});

describe('a held request with a value in it that may not be shown', () => {
  const put = (live: LiveSandbox, path: string): ActionRequest => ({ ...toolRequest(live), source: 'http', action: '', resource: { kind: 'http', host: 'warehouse.acme.example', port: 443, method: 'PUT', path, query: [['q', 'x']], tls: true }, params: new Map(), labels: unlabelled });
  const kept = async (world: World): Promise<string> => JSON.stringify(await world.store.list('sandbox/'));

  test('a secret is neither shown nor kept, while the policy goes on deciding on the exact request', inWorld(async (world, live) => {
    const request = put(live, '/v1/hunter2');
    const id = await held(world, live, 'h1', request);
    assert.equal(settled(world, id)?.card.summary, 'PUT https://warehouse.acme.example/v1/[redacted]?q=x');
    assert.doesNotMatch(await kept(world), /hunter2/);
    assert.ok((await kept(world)).includes(live.inForce.key(request)));
    const network = (blueprintFiles['network.yaml'] ?? '').replace('deny:\n', 'deny:\n      - { domain: warehouse.acme.example, paths: [/v1/hunter2] }\n');
    assert.equal((await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': network } }, uid)).redecided, 1);
    assert.deepEqual([settled(world, id)?.state, settled(world, id)?.by], ['rejected', 'policy']);
  }));

  test('after a restart its holder says it again, and its grant is for the exact request', inWorld(async (world, live) => {
    const request = put(live, '/v1/hunter2');
    const id = await held(world, live, 'h1', request);
    await world.restart();
    await decide(world, id);
    assert.equal(await consume(world, live, live.inForce.key(put(live, '/[redacted]')), 1), 'no');
    assert.equal(await consume(world, live, live.inForce.key(request), 2), 'ok');
  }));

  test('what its worker knows from a labelled host is withheld with all that the caller wrote', inWorld(async (world, live) => {
    const asked = new Promise<string>((resolve) => void world.gateway.house.notices.listen(live.record.value.id, (approval) => resolve(approval.id)));
    world.worker.say({ t: 'hold', hold: { ...wire(live, put(live, '/v1/told-by-crm'), 'h1', 'http'), tainted: true } });
    assert.equal(settled(world, await asked)?.card.summary, 'PUT https://warehouse.acme.example/[redacted]');
    assert.doesNotMatch(await kept(world), /told-by-crm/);
  }));
});

describe('an answer that waits', () => {
  const request = (live: LiveSandbox): ActionRequest => ({ ...toolRequest(live), source: 'http', action: '', resource: { kind: 'http', host: 'warehouse.acme.example', port: 443, method: 'PUT', path: '/v1/17', query: [], tls: true }, params: new Map(), labels: unlabelled });
  const answer = 'a'.repeat(64);
  const ask = (world: World, live: LiveSandbox): Promise<string> => held(world, live, 'h1', request(live), { answer, key: answerKey(live.inForce.key(request(live)), answer) });

  test('is asked about as an answer, and its approval is none for the request', inWorld(async (world, live) => {
    const id = await ask(world, live);
    assert.equal(settled(world, id)?.card.summary, 'Deliver the answer to PUT https://warehouse.acme.example/v1/17');
    assert.match(settled(world, id)?.card.creates ?? '', /^The answer that came is delivered/);
    await world.restart();
    await decide(world, id);
    assert.ok(world.record.events.some(({ message }) => message === 'Approved by uid:1001: Deliver the answer to PUT https://warehouse.acme.example/v1/17'));
    assert.equal(await consume(world, live, live.inForce.key(request(live)), 1), 'no');
    assert.equal(await consume(world, live, answerKey(live.inForce.key(request(live)), answer), 2), 'ok');
  }));

  test('is not delivered because a policy now allows the request, and goes with one that denies it', inWorld(async (world, live) => {
    const id = await ask(world, live);
    const network = blueprintFiles['network.yaml'] ?? '';
    assert.equal((await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': network.replace('    escalate:\n', '') } }, uid)).redecided, 0);
    assert.equal(settled(world, id)?.state, 'waiting');
    assert.equal((await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': network.replace('warehouse.acme.example', 'another.acme.example') } }, uid)).redecided, 1);
    assert.equal(settled(world, id)?.state, 'rejected');
  }));

  test('is no question of the demo, whatever its request is', async () => {
    const first = await makeWorld();
    const key = await createSandbox(first.gateway.house, { name: 'helper', blueprint: 'support' }, uid).then((live) => live.inForce.key(withoutPlace(request(live)))).finally(() => first.close());
    await inWorld(async (world, live) => {
      assert.equal(settled(world, await ask(world, live))?.state, 'waiting');
      const asked = await held(world, live, 'h2', request(live));
      await world.worker.until((worker) => worker.outcome('h2'));
      assert.equal(settled(world, asked)?.by, 'demo rule');
    }, { 'blueprint.yaml': `${blueprintFiles['blueprint.yaml']}demo: { approvedRequests: ["${key}"] }\n` })();
  });
});

describe('a holder that is gone', () => {
  test('leaves the question; approving it gives one use within ten minutes', inWorld(async (world, live) => {
    const request = toolRequest(live);
    const id = await held(world, live, 'h1', request);
    const released = new Promise<void>((resolve) => void world.gateway.house.notices.listen(live.record.value.id, (approval) => (approval.held ? undefined : resolve())));
    world.worker.socket.destroy();
    await released;
    await world.restart();
    assert.equal(settled(world, id)?.state, 'waiting');
    assert.match(settled(world, id)?.card.creates ?? '', /One use of the identical request/);
    assert.equal((await decide(world, id)).state, 'granted');
    const key = live.inForce.key(request);
    assert.deepEqual(world.gateway.house.desk.pending(live.record.value.id), [{ key, approvalId: id }]);
    await world.restart();
    assert.equal(await consume(world, live, key, 1), 'ok');
    assert.equal(await consume(world, live, key, 2), 'no');
  }));

  test('a grant is worth nothing after its time', inWorld(async (world, live) => {
    const request = toolRequest(live);
    const id = await held(world, live, 'h1', request);
    await world.restart();
    await decide(world, id);
    world.clock.time += 10 * 60_000;
    assert.equal(await consume(world, live, live.inForce.key(request), 1), 'no');
    assert.deepEqual(world.gateway.house.desk.grants().map((grant) => grant.state), ['expired']);
  }));

  for (const [word, hours] of [['back', -48], ['ahead', 48]] as const) {
    test(`a wall clock that is set ${word} gives neither a grant nor a question more time`, inWorld(async (world, live) => {
      const key = live.inForce.key(toolRequest(live));
      const id = await held(world, live, 'h1', toolRequest(live));
      await world.restart();
      await decide(world, id);
      const open = await held(world, live, 'h2', { ...toolRequest(live), params: new Map([['other', 'x']]) });
      world.clock.set = hours * 3_600_000;
      world.clock.time += 15 * 60_000;
      assert.deepEqual(world.gateway.house.desk.grants().map((grant) => grant.state), ['expired']);
      assert.equal(await consume(world, live, key, 1), 'no');
      await assert.rejects(decide(world, open));
      assert.notEqual(settled(world, open)?.state, 'granted');
    }));
  }

  test('of what was made "later" than now, the age is unknown: it is worth nothing after a restart', inWorld(async (world, live) => {
    const id = await held(world, live, 'h1', toolRequest(live));
    await world.restart();
    await decide(world, id);
    world.clock.set = -3_600_000;
    await world.restart();
    assert.equal(await consume(world, live, live.inForce.key(toolRequest(live)), 1), 'no');
  }));

  test('a grant whose use cannot be put on record is not used', inWorld(async (world, live) => {
    const request = toolRequest(live);
    const id = await held(world, live, 'h1', request);
    await world.restart();
    await decide(world, id);
    world.record.broken = true;
    assert.equal(await consume(world, live, live.inForce.key(request), 1), 'no');
  }));

  test('a repeat re-attaches to the question instead of asking anew', inWorld(async (world, live) => {
    const id = await held(world, live, 'h1');
    await world.restart();
    world.worker.say({ t: 'hold', hold: wire(live, toolRequest(live), 'h2') });
    await world.worker.until((worker) => worker.heard.some((message) => message.t === 'pending' && message.entries.length > 0) && settled(world, id)?.held);
    assert.equal(world.gateway.house.desk.list().length, 1);
    await decide(world, id);
    assert.equal((await world.worker.until((worker) => worker.outcome('h2'))).outcome.verdict, 'allow');
  }));
});

describe('a held system call', () => {
  test('is performed after approval, bound to the object that was shown', inWorld(async (world, live) => {
    await world.gateway.hold(syscall(live));
    const [question] = world.gateway.house.desk.list('waiting');
    assert.equal(question?.card.summary, 'Delete /workspace/archive/a.csv');
    assert.equal(question?.card.rule.id, 'filesystem.escalate[0]');
    await decide(world, question?.id ?? '');
    assert.deepEqual(world.backend.answers, [{ sandbox: live.record.value.id, holdId: 's1', verdict: 'allow' }]);
    await world.gateway.holdEnded(live.record.value.id, 's1', 'performed');
    assert.equal(settled(world, question?.id ?? '')?.effect, 'performed');
    // Another object under the same name asks again.
    await world.gateway.hold(syscall(live, { holdId: 's2', ino: 3 }));
    assert.equal(world.gateway.house.desk.list('waiting').length, 1);
  }));

  test('cannot be given up by a worker: only the shim holds it', inWorld(async (world, live) => {
    const sandbox = live.record.value.id;
    await world.gateway.hold(syscall(live));
    const id = world.gateway.house.desk.list('waiting')[0]?.id ?? '';
    for (const why of ['patience', 'gone']) world.worker.say({ t: 'hold.withdrawn', sandbox, holdId: 's1', why });
    world.worker.say({ t: 'grant.consume', id: 9, sandbox, key: 'a'.repeat(64) });
    await world.worker.until((worker) => worker.heard.some((message) => message.t === 'no' && message.id === 9));
    assert.equal(settled(world, id)?.state, 'waiting');
    await decide(world, id);
    assert.deepEqual(world.backend.answers.map(({ verdict }) => verdict), ['allow']);
  }));

  test('survives the gateway: it is found again, and approving resumes it', inWorld(async (world, live) => {
    await world.gateway.hold(syscall(live));
    const id = world.gateway.house.desk.list('waiting')[0]?.id ?? '';
    await world.restart();
    await world.gateway.inventory({ t: 'inventory', sandboxes: [{ sandbox: live.record.value.id, init: 1, uid: 200_000, execs: [] }], holds: [syscall(live)], workers: [] });
    assert.equal(world.gateway.house.desk.list().length, 1);
    assert.equal((await decide(world, id)).state, 'approved');
    assert.equal(world.backend.answers.at(-1)?.verdict, 'allow');
  }));

  test('approved while openshelld was away, it is answered when it comes back', inWorld(async (world, live) => {
    await world.gateway.hold(syscall(live));
    const id = world.gateway.house.desk.list('waiting')[0]?.id ?? '';
    world.backend.failing.set('answerHold', new Error('reset'));
    await decide(world, id);
    assert.equal(world.backend.answers.length, 0);
    world.backend.failing.clear();
    await world.gateway.reset();
    await world.gateway.inventory({ t: 'inventory', sandboxes: [{ sandbox: live.record.value.id, init: 1, uid: 200_000, execs: [] }], holds: [syscall(live)], workers: [] });
    assert.deepEqual(world.backend.answers.map((answer) => answer.verdict), ['allow']);
  }));

  test('the shim\'s deadline ends the question', inWorld(async (world, live) => {
    await world.gateway.hold(syscall(live));
    const id = world.gateway.house.desk.list('waiting')[0]?.id ?? '';
    assert.equal(settled(world, id)?.deadline, world.clock.time + 60_000);
    await world.gateway.holdEnded(live.record.value.id, 's1', 'timeout');
    assert.equal(settled(world, id)?.state, 'expired');
  }));
});

describe('a change of the policy decides again', () => {
  test('what it denies is answered, what it allows goes on', inWorld(async (world, live) => {
    const denied = await held(world, live, 'h1');
    const sandbox = (blueprintFiles['sandbox.yaml'] ?? '').replace('[crm.read, email.send]', '[crm.read]');
    assert.equal((await setPolicy(world.gateway.house, 'helper', { files: { 'sandbox.yaml': sandbox } }, uid)).redecided, 1);
    assert.equal(settled(world, denied)?.state, 'rejected');
    assert.equal((await world.worker.until((worker) => worker.outcome('h1'))).outcome.verdict, 'deny');
    await setPolicy(world.gateway.house, 'helper', { files: { 'sandbox.yaml': blueprintFiles['sandbox.yaml'] ?? '' } }, uid);
    const allowed = await held(world, live, 'h2');
    assert.equal((await setPolicy(world.gateway.house, 'helper', { files: { 'approvals.yaml': 'triggers: []\n' } }, uid)).redecided, 1);
    assert.equal(settled(world, allowed)?.by, 'policy');
    assert.equal((await world.worker.until((worker) => worker.outcome('h2'))).outcome.verdict, 'allow');
    assert.equal(world.gateway.house.desk.grants().length, 0);
  }));

  test('the worker may meet it first: the question is closed by the policy, not by the agent, and lets nothing through', inWorld(async (world, live) => {
    const sandbox = live.record.value.id;
    const settledAfter = async (id: string): Promise<string> => {
      world.worker.say({ t: 'hold.withdrawn', sandbox, holdId: 'h1', why: 'policy' });
      world.worker.say({ t: 'hold.withdrawn', sandbox, holdId: 'h2', why: 'policy' });
      await world.worker.until(() => settled(world, id)?.state !== 'waiting' || (world.worker.say({ t: 'usage', sandbox, requests: 0, bytesOut: 0, tokens: 0 }), false));
      return `${settled(world, id)?.state} by ${settled(world, id)?.by}`;
    };
    // A worker that says so without any change gets nothing for it.
    assert.equal(await settledAfter(await held(world, live, 'h1')), 'withdrawn by agent');
    const id = await held(world, live, 'h2');
    live.inForce = world.gateway.house.compile(loadBundle(new Map([...live.bundle.files, ['approvals.yaml', 'triggers: []\n']])), 2);
    assert.equal(await settledAfter(id), 'approved by policy');
    assert.equal(world.gateway.house.desk.grants().length, 0);
    assert.equal(settled(world, id)?.held, false);
  }));

  test('a hold that the policy in force denies is no question', inWorld(async (world, live) => {
    const request: ActionRequest = { ...toolRequest(live), action: '', resource: { kind: 'tool', name: 'unknown_tool' }, params: new Map(), labels: unlabelled };
    const id = await held(world, live, 'h1', request);
    await world.worker.until((worker) => worker.outcome('h1'));
    assert.equal(settled(world, id)?.state, 'rejected');
    assert.equal(settled(world, id)?.by, 'policy');
  }));

  test('a stop withdraws every question and takes back every grant', inWorld(async (world, live) => {
    const first = await held(world, live, 'h1');
    await decide(world, first);
    const second = await held(world, live, 'h2', toolRequest(live, 'b@customer.example'));
    await stopSandbox(world.gateway.house, 'helper', uid);
    assert.equal(settled(world, second)?.state, 'withdrawn');
    assert.equal(world.gateway.house.desk.grants().length, 0);
  }));
});

describe('scripted answers of the demo', () => {
  test('are given only to exactly the requests the blueprint names, and are on record as such', async () => {
    const first = await makeWorld();
    const live = await createSandbox(first.gateway.house, { name: 'helper', blueprint: 'support' }, uid);
    const key = live.inForce.key(withoutPlace(toolRequest(live)));
    await first.close();
    await inWorld(async (world, sandbox) => {
      const id = await held(world, sandbox, 'h1');
      assert.equal((await world.worker.until((worker) => worker.outcome('h1'))).outcome.verdict, 'allow');
      assert.equal(settled(world, id)?.by, 'demo rule');
      assert.ok(world.record.events.some((event) => event.verdict === 'approved' && event.data?.['by'] === 'demo rule'));
      const other = await held(world, sandbox, 'h2', toolRequest(sandbox, 'other@customer.example'));
      assert.equal(settled(world, other)?.state, 'waiting');
    }, { 'blueprint.yaml': `${blueprintFiles['blueprint.yaml']}demo: { approvedRequests: ["${key}"] }\n` })();
  });
});

describe('a hostile worker', () => {
  const hostile: Record<string, (world: World, live: LiveSandbox) => Promise<void> | void> = {
    'names a sandbox it was not given': (world) => world.worker.say({ t: 'label.raise', id: 1, sandbox: 'another-1', to: 'restricted', why: 'x' }),
    'holds for a sandbox it was not given': (world, live) => world.worker.say({ t: 'hold', hold: { ...wire(live, { ...toolRequest(live), sandbox: 'another-1' }, 'h9'), sandbox: 'another-1' } }),
    'holds with the request of another sandbox': (world, live) => world.worker.say({ t: 'hold', hold: { ...wire(live, toolRequest(live), 'h9'), request: { ...wire(live, toolRequest(live), 'h9').request, sandbox: 'another-1' } } }),
    'forges an approval': (world, live) => world.worker.say({ t: 'hold.outcome', sandbox: live.record.value.id, holdId: 'h1', outcome: { verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' } }),
    'sends a decision': (world) => world.worker.say({ t: 'decision', id: 'apr_1', verdict: 'approve' }),
    'changes the policy': (world, live) => world.worker.say({ t: 'configure', config: world.worker.configs.get(live.record.value.id) }),
    'shows one request and holds the key of another': (world, live) => world.worker.say({ t: 'hold', hold: { ...wire(live, toolRequest(live), 'h9'), key: live.inForce.key(toolRequest(live, 'thief@evil.example')) } }),
    'asks about an answer by the key of its request': (world, live) => world.worker.say({ t: 'hold', hold: { ...wire(live, toolRequest(live), 'h9'), answer: 'a'.repeat(64) } }),
    'pretends that it holds a system call': (world, live) => world.worker.say({ t: 'hold', hold: { ...wire(live, toolRequest(live), 'h9'), kind: 'syscall' } }),
    'replays a hold that is held': async (world, live) => {
      await held(world, live, 'h1');
      world.worker.say({ t: 'hold', hold: wire(live, toolRequest(live), 'h1') });
    },
    'uses a hold id again for something else': async (world, live) => {
      const id = await held(world, live, 'h1');
      await decide(world, id, 'deny');
      await world.worker.until((worker) => worker.outcome('h1'));
      world.worker.say({ t: 'hold', hold: wire(live, toolRequest(live, 'thief@evil.example'), 'h1') });
    },
    'announces a huge frame': (world) => void world.worker.socket.write(Buffer.from([0x7f, 0xff, 0xff, 0xff, 0x7b])),
    'sends what is not JSON': (world) => void world.worker.socket.write(Buffer.from([0, 0, 0, 2, 0x7b, 0x21])),
    'sends a hold with endless text': (world, live) => world.worker.say({ t: 'hold', hold: { ...wire(live, toolRequest(live), 'h9'), summary: 'x'.repeat(100_000) } }),
  };
  for (const [what, attack] of Object.entries(hostile)) {
    test(`${what}: its link is closed, and it is on record`, inWorld(async (world, live) => {
      await attack(world, live);
      await world.worker.until((worker) => worker.closed);
      assert.ok(world.record.events.some((event) => event.class === 'detectionFinding' && event.message.includes('worker:1')), 'no event');
      assert.ok(!world.gateway.house.desk.list().some((approval) => approval.state === 'approved' || approval.state === 'granted'));
      assert.equal(live.record.value.label, 'public');
    }));
  }

  test('a late word about a sandbox that was removed is no breach', inWorld(async (world, live) => {
    await stopSandbox(world.gateway.house, 'helper', uid);
    world.worker.say({ t: 'usage', sandbox: live.record.value.id, requests: 1, bytesOut: 1, tokens: 1 });
    assert.equal(await consume(world, live, '0'.repeat(64), 5), 'no');
    assert.equal(world.worker.closed, false);
  }));

  test('too many questions at once are refused, not lost', inWorld(async (world, live) => {
    for (let i = 0; i <= 64; i += 1) world.worker.say({ t: 'hold', hold: wire(live, toolRequest(live, `p${i}@customer.example`), `h${i}`) });
    const { outcome } = await world.worker.until((worker) => worker.outcome('h64'));
    assert.equal(outcome.verdict, 'unavailable');
    assert.equal(world.gateway.house.desk.list('waiting').length, 64);
  }));

  test('text from an agent cannot hide or turn around what is asked', inWorld(async (world, live) => {
    const id = await held(world, live, 'h1', toolRequest(live, 'a\u202E@x.example\u001b[2K\u200B'));
    const shown = JSON.stringify(settled(world, id));
    assert.ok(!/[\u202E\u200B\u001b]/.test(shown) && !shown.includes('\\u001b') && shown.includes('u{202e}'));
  }));
});
