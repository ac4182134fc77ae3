/** For tests: a sandbox that asks, and people who answer. */
import type { ActionRequest, HoldRequestWire, SyscallHold } from '@nemoclaw/contract';
import { makeWorld, type World } from '../fake-world.ts';
import { createSandbox } from '../sandboxes/create.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';

export const uid = 1000;
export const person = 1001;

/** Runs `body` with a sandbox of `uid` in a world of its own. */
export function inWorld(body: (world: World, live: LiveSandbox) => Promise<void>, files: Record<string, string> = {}): () => Promise<void> {
  return async () => {
    const world = await makeWorld({ files });
    try {
      await body(world, await createSandbox(world.gateway.house, { name: 'helper', blueprint: 'support' }, uid));
    } finally {
      await world.close();
    }
  };
}

export function toolRequest(live: LiveSandbox, to = 'dana@customer.example'): ActionRequest {
  const named = live.inForce.resolveTool('email_send', new Map<string, unknown>([['to', to], ['subject', 'Hello']]));
  return { sandbox: live.record.value.id, role: 'support', task: '', source: 'model', action: named.action, resource: { kind: 'tool', name: 'email_send' }, params: named.params, labels: named.labels, provenance: new Map(), history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() } };
}

export function wire(live: LiveSandbox, request: ActionRequest, holdId: string, kind: HoldRequestWire['kind'] = 'tool'): HoldRequestWire {
  const { sandbox, role, task, source, action, resource, labels } = request;
  return { holdId, sandbox, kind, request: { sandbox, role, task, source, action, resource, params: [...request.params], labels }, decision: live.inForce.decide(request), key: live.inForce.key(request), summary: 'Nothing to see here', detail: '{}', patienceMs: 25_000 };
}
/** The id of the question. `more`: what the worker says otherwise. */
export async function held(world: World, live: LiveSandbox, holdId = 'h1', request = toolRequest(live), more: Partial<HoldRequestWire> = {}): Promise<string> {
  const before = new Set(world.gateway.house.desk.list().map((approval) => approval.id));
  const seen = new Promise<string>((resolve) => {
    const stop = world.gateway.house.notices.listen(live.record.value.id, (approval) => {
      if (before.has(approval.id)) return;
      stop();
      resolve(approval.id);
    });
  });
  world.worker.say({ t: 'hold', hold: { ...wire(live, request, holdId, request.resource.kind === 'tool' ? 'tool' : 'http'), ...more } });
  return seen;
}

export const decide = (world: World, id: string, verdict: 'approve' | 'deny' = 'approve', by = person) => world.gateway.house.desk.decide(id, verdict, 'because', by);
export const consume = async (world: World, live: LiveSandbox, key: string, id: number): Promise<string> => {
  world.worker.say({ t: 'grant.consume', id, sandbox: live.record.value.id, key });
  return world.worker.until((worker) => worker.heard.find((message) => (message.t === 'ok' || message.t === 'no') && message.id === id)?.t);
};
export const settled = (world: World, id: string) => world.gateway.house.desk.get(id);
export const syscall = (live: LiveSandbox, more: Partial<SyscallHold> = {}): SyscallHold => ({ sandbox: live.record.value.id, holdId: 's1', op: 'delete', syscall: 'unlinkat', path: '/workspace/archive/a.csv', toPath: null, dev: 1, ino: 2, pid: 5, exe: '/usr/bin/rm', rule: 0, deadline: 1_700_000_000_000 + 60_000, ...more });
