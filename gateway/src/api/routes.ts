/** The HTTP routes under /v1; who is calling is known before any of them runs. */
import type { IncomingMessage } from 'node:http';
import {
  createSandboxSchema,
  credentialSchema,
  decideApprovalSchema,
  eventsQuerySchema,
  explainSchema,
  NemoError,
  putPolicySchema,
  approvalStates,
  type PolicyView,
  type SandboxView,
} from '@nemoclaw/contract';
import { exposition, expositionType } from '@nemoclaw/ledger';
import { Hono, type Context } from 'hono';
import type { z } from 'zod';
import type { House } from '../house.ts';
import { listCredentials, removeCredential, setCredential } from '../credentials/manage.ts';
import { setPolicy } from '../policy/change.ts';
import { createSandbox } from '../sandboxes/create.ts';
import { commitLayer, diffLayer, discardLayer, listSnapshots, restoreSnapshot, takeSnapshot } from '../sandboxes/layer.ts';
import { destroySandbox, startSandbox, stopSandbox } from '../sandboxes/life.ts';
import { sandboxView, type LiveSandbox } from '../sandboxes/live.ts';
import { findTask, taskView } from '../tasks/task-store.ts';
import { eventStream, eventsPage } from './events.ts';
import { explain, explainFile } from './explain.ts';
import { explainEvent } from './explain-event.ts';
import { doctorView, statusView } from './host-view.ts';
import { metricSamples } from './metric-samples.ts';
import type { Peer } from './peers.ts';
import { asNemoError, bodyFor, statusFor } from './problems.ts';
import { seenViews } from './seen-views.ts';

/** `peer` is what the socket's other end is to the kernel; `incoming` the request as Node has it, where it came over a socket. */
export interface Bindings {
  readonly peer: Peer;
  readonly incoming?: IncomingMessage;
}
type Env = { Bindings: Bindings };

/** Bytes of a body at most. */
const maxBody = 4 * 1024 * 1024;

/** Undefined as soon as it is too long: a chunked body does not say its length first. */
async function boundedText(stream: AsyncIterable<Uint8Array> | null): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream ?? []) {
    size += chunk.length;
    if (size > maxBody) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function body<T extends z.ZodType>(c: Context<Env>, schema: T): Promise<z.output<T>> {
  // Node's own stream where there is one: a web stream around it costs more than all the rest of a small request.
  const text = await boundedText(c.env.incoming?.iterator({ destroyOnReturn: false }) ?? c.req.raw.body);
  if (text === undefined) throw new NemoError('NEMO_E_BODY', { what: `The body is over ${maxBody} bytes.` });
  let json: unknown;
  try {
    json = JSON.parse(text === '' ? '{}' : text);
  } catch {
    throw new NemoError('NEMO_E_BODY', { what: 'The body is not JSON.' });
  }
  return checked(schema, json);
}

function checked<T extends z.ZodType>(schema: T, given: unknown): z.output<T> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new NemoError('NEMO_E_BODY', { what: 'The request does not have the fields that it should have.', why: issue ? `${issue.path.join('.') || 'body'}: ${issue.message}` : 'unknown' });
}

export function routes(house: House): Hono<Env> {
  const app = new Hono<Env>();
  const view = (live: LiveSandbox): SandboxView => sandboxView(live, house.desk.waiting(live.record.value.id));
  const views = (): SandboxView[] => house.sandboxes.all().map(view);

  app.onError((thrown) => {
    const error = asNemoError(thrown);
    return new Response(JSON.stringify(bodyFor(error)), { status: statusFor(error), headers: { 'content-type': 'application/json' } });
  });
  app.notFound((c) => c.json(bodyFor(new NemoError('NEMO_E_NOT_FOUND', { what: 'There is no such address in the API.', fix: 'Look at the API description.' })), 404));

  app.get('/v1/status', async (c) => c.json(await statusView(house, views())));
  app.get('/v1/seen', async (c) => c.json(await seenViews(house)));
  app.get('/metrics', async () => new Response(exposition(await metricSamples(house)), { headers: { 'content-type': expositionType } }));
  app.get('/v1/doctor', async (c) => c.json(await doctorView(house)));
  app.get('/v1/blueprints', (c) => c.json(house.blueprints.list()));

  app.get('/v1/sandboxes', (c) => c.json(views()));
  app.post('/v1/sandboxes', async (c) => c.json(view(await createSandbox(house, await body(c, createSandboxSchema), c.env.peer.uid)), 201));
  app.get('/v1/sandboxes/:name', (c) => c.json(view(house.sandboxes.must(c.req.param('name')))));
  app.delete('/v1/sandboxes/:name', async (c) => {
    const workspace = house.sandboxes.must(c.req.param('name')).record.value.workspacePath;
    const left = await destroySandbox(house, c.req.param('name'), c.env.peer.uid);
    return c.json({ destroyed: c.req.param('name'), ...(left === undefined ? {} : { left, workspace }) });
  });
  app.post('/v1/sandboxes/:name/start', async (c) => c.json(view(await startSandbox(house, c.req.param('name'), c.env.peer.uid))));
  app.post('/v1/sandboxes/:name/stop', async (c) => c.json(view(await stopSandbox(house, c.req.param('name'), c.env.peer.uid))));

  app.get('/v1/sandboxes/:name/diff', async (c) => c.json(await diffLayer(house, c.req.param('name'), c.env.peer.uid)));
  app.post('/v1/sandboxes/:name/commit', async (c) => c.json(await commitLayer(house, c.req.param('name'), c.env.peer.uid)));
  app.post('/v1/sandboxes/:name/discard', async (c) => {
    await discardLayer(house, c.req.param('name'), c.env.peer.uid);
    return c.json({ discarded: c.req.param('name') });
  });
  app.get('/v1/sandboxes/:name/snapshots', async (c) => c.json(await listSnapshots(house, c.req.param('name'), c.env.peer.uid)));
  app.put('/v1/sandboxes/:name/snapshots/:snapshot', async (c) => {
    await takeSnapshot(house, c.req.param('name'), c.req.param('snapshot'), c.env.peer.uid);
    return c.json({ name: c.req.param('snapshot') }, 201);
  });
  app.post('/v1/sandboxes/:name/snapshots/:snapshot/restore', async (c) => {
    await restoreSnapshot(house, c.req.param('name'), c.req.param('snapshot'), c.env.peer.uid);
    return c.json({ restored: c.req.param('snapshot') });
  });

  app.get('/v1/sandboxes/:name/credentials', (c) => c.json(listCredentials(house, c.req.param('name'))));
  app.put('/v1/sandboxes/:name/credentials/:credential', async (c) => c.json(await setCredential(house, c.req.param('name'), c.req.param('credential'), await body(c, credentialSchema), c.env.peer.uid)));
  app.delete('/v1/sandboxes/:name/credentials/:credential', async (c) => {
    await removeCredential(house, c.req.param('name'), c.req.param('credential'), c.env.peer.uid);
    return c.json({ removed: c.req.param('credential') });
  });

  app.get('/v1/sandboxes/:name/policy', (c) => {
    const live = house.sandboxes.must(c.req.param('name'));
    const { version, files, changedAt, changedBy } = live.policy.value;
    return c.json({ version, files, changedAt, changedBy, unenforced: live.record.value.unenforced } satisfies PolicyView);
  });
  app.put('/v1/sandboxes/:name/policy', async (c) => c.json(await setPolicy(house, c.req.param('name'), await body(c, putPolicySchema), c.env.peer.uid)));
  app.post('/v1/policy/explain', async (c) => {
    const asked = await body(c, explainSchema);
    const live = house.sandboxes.must(asked.sandbox);
    if (asked.request.kind === 'event') return c.json(await explainEvent(house, live, asked.request.id));
    return c.json(asked.request.kind === 'file' ? await explainFile(house, live, asked.request) : explain(live, asked.request));
  });

  app.get('/v1/tasks/:id', async (c) => {
    const task = await findTask(house, c.req.param('id'));
    if (!task) throw new NemoError('NEMO_E_NOT_FOUND', { what: 'There is no such task.', fix: 'The id stands at the end of each run.' });
    return c.json(await taskView(house, task));
  });

  app.get('/v1/approvals', (c) => {
    const state = c.req.query('state') ?? '';
    if (state !== '' && !approvalStates.some((one) => one === state)) throw new NemoError('NEMO_E_BODY', { what: 'There is no such state of approvals.', fix: `Use one of ${approvalStates.join(', ')}.` });
    return c.json(house.desk.list(state));
  });
  app.get('/v1/approvals/grants', (c) => c.json(house.desk.grants()));
  app.get('/v1/approvals/:id', (c) => {
    const found = house.desk.get(c.req.param('id'));
    if (!found) throw new NemoError('NEMO_E_NOT_FOUND', { what: 'There is no such approval.', fix: 'Look at `nemoclaw approvals list`.' });
    return c.json(found);
  });
  app.post('/v1/approvals/:id/decision', async (c) => {
    const { verdict, reason } = await body(c, decideApprovalSchema);
    return c.json(await house.desk.decide(c.req.param('id'), verdict, reason, c.env.peer.uid));
  });

  app.get('/v1/events', async (c) => {
    const query = checked(eventsQuerySchema, c.req.query());
    const after = Math.max(query.after, Number(c.req.header('last-event-id') ?? 0) || 0);
    const sandbox = query.sandbox === '' ? undefined : house.sandboxes.must(query.sandbox).record.value.id;
    if (query.follow === '1') return eventStream(house, sandbox, after, c.req.raw.signal);
    return c.json(await eventsPage(house, sandbox, after, query.limit));
  });
  return app;
}
