/** What a held request carries is kept while it waits, and leaves the store with the decision, whatever the decision is. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadBundle, unlabelled, type ActionRequest, type Resource } from '@nemoclaw/contract';
import { blueprintFiles, type World } from '../fake-world.ts';
import { setPolicy } from '../policy/change.ts';
import { destroySandbox, stopSandbox } from '../sandboxes/life.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { consume, decide, held, inWorld, settled, syscall, toolRequest, uid } from './fake-holds.ts';
import { withoutPayload } from './kept-request.ts';
import type { RequestWire } from './record.ts';

/** Stands in everything that a request carries. */
const carried = 'carried-4711';

function put(live: LiveSandbox): ActionRequest {
  const resource: Resource = { kind: 'http', host: 'warehouse.acme.example', port: 443, method: 'PUT', path: '/orders/17', query: [['q', carried], [carried, 'x']], tls: true, headers: { 'x-note': [carried] } };
  return { ...toolRequest(live), source: 'http', action: '', resource, params: new Map<string, unknown>([['text', carried], ['deep', { [carried]: [carried] }]]), labels: unlabelled };
}
const call = (live: LiveSandbox): ActionRequest => toolRequest(live, `${carried}@customer.example`);
const asks: Readonly<Record<string, { readonly make: (live: LiveSandbox) => ActionRequest; readonly stays: string }>> = {
  'a request': { make: put, stays: 'PUT https://warehouse.acme.example/orders/17' },
  'a tool call': { make: call, stays: 'email.send: tool call email_send' },
};

const everythingKept = async (world: World): Promise<string> => JSON.stringify([await world.store.list(''), world.gateway.house.desk.list(), world.gateway.house.desk.grants()]);
const onRecord = (world: World): string => JSON.stringify(world.record.events);
/** Has the link carry something until `done`: what was said before is heard then. */
const heard = (world: World, live: LiveSandbox, done: () => boolean | undefined): Promise<true> =>
  world.worker.until(() => done() || (world.worker.say({ t: 'usage', sandbox: live.record.value.id, requests: 0, bytesOut: 0, tokens: 0 }), false));

interface Case {
  readonly world: World;
  readonly live: LiveSandbox;
  readonly id: string;
  readonly request: ActionRequest;
}
const withdrawn = ({ world, live, id }: Case, why: string): Promise<true> => {
  world.worker.say({ t: 'hold.withdrawn', sandbox: live.record.value.id, holdId: 'h1', why });
  return heard(world, live, () => settled(world, id)?.state !== 'waiting');
};
const network = blueprintFiles['network.yaml'] ?? '';
/** What was asked about is allowed, or denied. */
const allowing = { 'network.yaml': network.replace('    escalate:\n', ''), 'approvals.yaml': 'triggers: []\n' };
const denying = { 'network.yaml': network.replace('    escalate:\n      - { domain: warehouse.acme.example, methods: [PUT] }\n', ''), 'sandbox.yaml': (blueprintFiles['sandbox.yaml'] ?? '').replace('deniedAPIs: [', 'deniedAPIs: [email.send, ') };

const ends: Readonly<Record<string, readonly [end: (one: Case) => Promise<unknown>, by: string]>> = {
  'approved': [({ world, id }) => decide(world, id), 'approved by uid:1001'],
  'rejected': [({ world, id }) => decide(world, id, 'deny'), 'rejected by uid:1001'],
  'rejected without a record': [({ world, id }) => ((world.record.broken = true), decide(world, id, 'deny')), 'rejected by uid:1001'],
  'timed out': [({ world }) => ((world.clock.time += 15 * 60_000), world.gateway.sweep()), 'expired by timeout'],
  'timed out while the gateway was away': [async ({ world }) => ((world.clock.time += 15 * 60_000), await world.restart(), await world.gateway.sweep()), 'expired by timeout'],
  'decided too late': [({ world, id }) => ((world.clock.time += 15 * 60_000), assert.rejects(decide(world, id))), 'expired by timeout'],
  'given up by the agent': [(one) => withdrawn(one, 'gone'), 'withdrawn by agent'],
  'approved when nobody held it any more': [async ({ world, id }) => (await world.restart(), await decide(world, id)), 'granted by uid:1001'],
  'approved, and its grant used': [async ({ world, live, id, request }) => (await world.restart(), await decide(world, id), assert.equal(await consume(world, live, live.inForce.key(request), 1), 'ok')), 'granted by uid:1001'],
  'met first by its holder under a policy that allows': [(one) => ((one.live.inForce = one.world.gateway.house.compile(loadBundle(new Map([...one.live.bundle.files, ...Object.entries(allowing)])), 2)), withdrawn(one, 'policy')), 'approved by policy'],
  'allowed by a change of the policy': [({ world }) => setPolicy(world.gateway.house, 'helper', { files: allowing }, uid), 'approved by policy'],
  'denied by a change of the policy': [({ world }) => setPolicy(world.gateway.house, 'helper', { files: denying }, uid), 'rejected by policy'],
  'stopped with its sandbox': [({ world }) => stopSandbox(world.gateway.house, 'helper', uid), 'withdrawn by gateway'],
  'destroyed with its sandbox': [({ world }) => destroySandbox(world.gateway.house, 'helper', uid), 'withdrawn by gateway'],
};

for (const [what, { make, stays }] of Object.entries(asks)) {
  describe(`of ${what} that a person is asked about`, () => {
    const ask = async (world: World, live: LiveSandbox): Promise<Case> => {
      const request = make(live);
      return { world, live, request, id: await held(world, live, 'h1', request, { detail: `{"text":"${carried}"}` }) };
    };

    test('everything is shown while it waits, after a restart of the gateway too', inWorld(async (world, live) => {
      const { id } = await ask(world, live);
      const before = settled(world, id)?.card;
      await world.restart();
      const after = settled(world, id)?.card;
      assert.equal(after?.detail, `{"text":"${carried}"}`);
      assert.ok(after?.summary.includes(carried));
      assert.deepEqual([after?.summary, after?.notices], [before?.summary, before?.notices]);
      assert.ok(!after?.notices.join().includes('not kept'));
      assert.ok(!onRecord(world).includes(carried));
    }));

    for (const [end, [bring, by]] of Object.entries(ends)) {
      test(`nothing that it carries is kept once it is ${end}`, inWorld(async (world, live) => {
        const one = await ask(world, live);
        assert.ok((await everythingKept(world)).includes(carried));
        await bring(one);
        const view = settled(world, one.id);
        assert.equal(`${view?.state} by ${view?.by}`, by);
        assert.ok(!(await everythingKept(world)).includes(carried));
        assert.equal(view?.card.summary, stays);
        assert.deepEqual([view?.card.detail, view?.card.notices.at(-1)], ['', 'What was asked is not kept after the decision, only what the record says of it.']);
        await world.restart();
        assert.ok(!(await everythingKept(world)).includes(carried));
        assert.equal(settled(world, one.id)?.card.summary, stays);
        assert.ok(!onRecord(world).includes(carried));
      }));
    }
  });
}

test('what a policy denies from the start is not kept for a moment longer', inWorld(async (world, live) => {
  const request = put(live);
  await setPolicy(world.gateway.house, 'helper', { files: denying }, uid);
  const id = await held(world, live, 'h1', request, { detail: carried });
  await world.worker.until((worker) => worker.outcome('h1'));
  assert.equal(settled(world, id)?.by, 'policy');
  assert.ok(!(await everythingKept(world)).includes(carried));
}));

test('of a system call its path stays, which the record has; its process does not', inWorld(async (world, live) => {
  await world.gateway.hold(syscall(live, { exe: `/usr/bin/${carried}` }));
  const id = world.gateway.house.desk.list('waiting')[0]?.id ?? '';
  assert.ok((await everythingKept(world)).includes(carried));
  await decide(world, id);
  await world.gateway.holdEnded(live.record.value.id, 's1', 'performed');
  assert.ok(!(await everythingKept(world)).includes(carried));
  assert.deepEqual([settled(world, id)?.card.summary, settled(world, id)?.effect], ['Delete /workspace/archive/a.csv', 'performed']);
}));

test('of every protocol only the place stays', () => {
  const http = { kind: 'http', host: 'a.example', port: 443, method: 'POST', path: '/x', tls: true } as const;
  const host = { kind: 'host', host: 'a.example', port: 25 } as const;
  const resources: readonly Resource[] = [
    { ...http, query: [[carried, carried]], headers: { 'x-note': [carried] }, program: `/opt/${carried}` },
    { ...http, query: [], message: { protocol: 'graphql', operation: 'query', name: carried, fields: [carried] } },
    { ...http, query: [], message: { protocol: 'mcp', method: 'tools/call', tool: 'send', arguments: { to: carried } } },
    { ...http, query: [], message: { protocol: 'json-rpc', method: carried } },
    { ...host, message: { protocol: 'smtp', recipients: [`${carried}@example.org`], tls: true } },
    { ...host, message: { protocol: 'postgres', user: carried, database: carried } },
    { ...host, message: { protocol: 'redis', command: carried } },
    { ...host, program: `/opt/${carried}` },
  ];
  for (const resource of resources) {
    const left = withoutPayload({ sandbox: 's', role: 'r', task: '', source: 'http', action: 'a.b', resource, params: [['p', carried]], labels: unlabelled } as RequestWire);
    assert.deepEqual(left.resource, resource.kind === 'http' ? { ...http, query: [] } : host);
    assert.ok(!JSON.stringify(left).includes(carried));
  }
});
