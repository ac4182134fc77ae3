/** The answers that the demo's blueprint gives by itself are those to the three questions of the scenario, and to nothing else. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { emptyHistory, loadBlueprintFolder, unlabelled, type ActionRequest, type Resource } from '@nemoclaw/contract';
import { withoutPlace } from '../approvals/holds.ts';
import { compileWithDecide } from '../policy/engine.ts';
import { openTickets } from './scenario.ts';

const dir = new URL('../../../blueprints/my-assistant', import.meta.url).pathname;
const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
const folder = loadBlueprintFolder(dir, (path) => readFileSync(path), filesBelow, { channels: new Set(['terminal']), sinks: new Set(['security-events']) });
const policy = compileWithDecide(folder, 1);

function asked(source: ActionRequest['source'], resource: Resource, named: Partial<ActionRequest> = {}): ActionRequest {
  return { sandbox: 'any', role: folder.role, task: 'any', source, action: '', resource, params: new Map(), labels: unlabelled, provenance: new Map(), history: emptyHistory, ...named };
}

test('the scenario’s three questions are the three that are answered', () => {
  const mails = openTickets.flatMap(({ calls }) => calls).filter(({ name, args }) => name === 'email_send' && !String(args['to']).endsWith('@acme.example'));
  assert.equal(mails.length, 1);
  const mail = mails.map(({ name, args }) => asked('model', { kind: 'tool', name }, policy.resolveTool(name, new Map(Object.entries(args)))));
  const put = { kind: 'http', host: 'warehouse.acme.example', port: 8931, method: 'PUT', path: '/orders/17', query: [], tls: true } as const;
  const requests = [...mail, asked('http', put, policy.resolveHttp(put, new Map([['hold', true]]))), asked('syscall', { kind: 'file', path: '/workspace/archive/2025-invoices.csv', op: 'delete' })];
  for (const request of requests) assert.equal(policy.decide(request).verdict, 'escalate', JSON.stringify(request.resource));
  assert.deepEqual(requests.map((request) => policy.key(withoutPlace(request))), folder.blueprint.demo.approvedRequests);
});
