/** The API over a real Unix socket: who may call, every route, streams and WebSockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { request } from 'node:http';
import { describe, test } from 'node:test';
import {
  approvalViewSchema,
  blueprintViewSchema,
  doctorViewSchema,
  errorBodySchema,
  explainedSchema,
  policyAppliedSchema,
  policyViewSchema,
  sandboxViewSchema,
  statusViewSchema,
  taskViewSchema,
} from '@nemoclaw/contract';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { Dialogue, makeSandbox, withApi, type Answer } from './fake-api.ts';

const code = (answer: Answer): string => errorBodySchema.parse(answer.json).error.code;

describe('who may call', () => {
  const everyRoute: [string, string][] = [
    ['GET', '/v1/status'], ['GET', '/v1/doctor'], ['GET', '/v1/blueprints'], ['GET', '/v1/sandboxes'], ['POST', '/v1/sandboxes'], ['GET', '/v1/sandboxes/x'], ['DELETE', '/v1/sandboxes/x'],
    ['POST', '/v1/sandboxes/x/start'], ['POST', '/v1/sandboxes/x/stop'], ['GET', '/v1/sandboxes/x/policy'], ['PUT', '/v1/sandboxes/x/policy'], ['POST', '/v1/policy/explain'], ['GET', '/v1/tasks/x'],
    ['GET', '/v1/approvals'], ['GET', '/v1/approvals/grants'], ['GET', '/v1/approvals/x'], ['POST', '/v1/approvals/x/decision'], ['GET', '/v1/events'], ['GET', '/v1/seen'], ['GET', '/metrics'], ['GET', '/v1/nothing'],
  ];
  for (const [who, peer] of [['a service', { uid: 901 }], ['a sandbox', { uid: 200_000 }], ['the last sandbox', { uid: 204_095 }], ['nobody the kernel names', undefined]] as const) {
    test(`${who} gets nothing from any route`, withApi(async (api) => {
      api.peer = peer;
      for (const [method, path] of everyRoute) {
        const answer = await api.call(method, path, method === 'GET' ? undefined : {});
        assert.deepEqual([answer.status, code(answer)], [403, 'NEMO_E_PEER'], path);
      }
      const ws = new WebSocket(`ws+unix:${api.path}:/v1/sandboxes/x/exec`);
      const [error] = (await once(ws, 'error')) as [Error];
      assert.match(error.message, /403/);
    }));
  }

  test('a body without end is refused at its bound', withApi(async (api) => {
    const req = request({ socketPath: api.path, method: 'POST', path: '/v1/sandboxes', headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }, agent: false });
    const answered = new Promise<number>((resolve) => {
      req.on('response', (res) => resolve(res.statusCode ?? 0));
      req.on('error', () => resolve(0));
    });
    let sent = 0;
    const more = (): void => {
      while (sent < 64 * 1024 * 1024 && !req.destroyed) {
        sent += 65_536;
        if (!req.write('x'.repeat(65_536))) return void req.once('drain', more);
      }
      req.end();
    };
    more();
    assert.equal(await answered, 400);
    assert.ok(sent < 64 * 1024 * 1024, 'all of it was read');
    req.destroy();
  }));

  test('nobody runs anything in a sandbox that works in another person\'s folder', withApi(async (api) => {
    api.world.backend.registrations = [{ id: 'ws_1', uid: 1000, gid: 1000, path: '/home/ann/project' }];
    const made = await api.call('POST', '/v1/sandboxes', { name: 'hers', blueprint: 'support', registration: 'ws_1' });
    assert.equal(made.status, 201);
    const asked = async (uid: number, verb: string, first: unknown): Promise<string> => {
      api.peer = { uid };
      const dialogue = new Dialogue(api, `/v1/sandboxes/hers/${verb}`, first);
      return (await dialogue.frame('error')).error.code;
    };
    assert.equal(await asked(2000, 'exec', { argv: ['cat', '/workspace/secret'] }), 'NEMO_E_NOT_YOURS');
    assert.equal(await asked(2000, 'run', { task: 'read the secret' }), 'NEMO_E_NOT_YOURS');
    assert.equal(api.world.backend.execs.length, 0);
    for (const uid of [1000, 0]) {
      api.peer = { uid };
      const dialogue = new Dialogue(api, '/v1/sandboxes/hers/exec', { argv: ['true'] });
      await dialogue.frame('started');
      dialogue.ws.terminate();
    }
  }));

  test('the socket is for owner and group only', withApi(async (api) => {
    assert.equal(statSync(api.path).mode & 0o777, 0o660);
  }));

  test('a browser page cannot open a WebSocket', withApi(async (api) => {
    await makeSandbox(api);
    const ws = new WebSocket(`ws+unix:${api.path}:/v1/sandboxes/helper/exec`, { origin: 'http://evil.example' });
    await once(ws, 'error');
  }));
});

describe('routes', () => {
  test('a sandbox from creation to its end', withApi(async (api) => {
    const made = await makeSandbox(api);
    assert.equal(made.status, 201);
    assert.equal(sandboxViewSchema.parse(made.json).state, 'running');
    assert.equal(sandboxViewSchema.parse(made.json).createdBy, 1000);
    assert.deepEqual(z.array(sandboxViewSchema).parse((await api.call('GET', '/v1/sandboxes')).json).map((view) => view.name), ['helper']);
    assert.equal(sandboxViewSchema.parse((await api.call('POST', '/v1/sandboxes/helper/stop')).json).state, 'stopped');
    assert.equal(sandboxViewSchema.parse((await api.call('POST', '/v1/sandboxes/helper/start')).json).state, 'running');
    assert.equal((await api.call('DELETE', '/v1/sandboxes/helper')).status, 200);
    assert.deepEqual([(await api.call('GET', '/v1/sandboxes/helper')).status, code(await api.call('DELETE', '/v1/sandboxes/helper'))], [404, 'NEMO_E_NOT_FOUND']);
  }));

  test('errors are the table\'s, with the fitting status', withApi(async (api) => {
    await makeSandbox(api);
    const cases: [Promise<Answer>, number, string][] = [
      [makeSandbox(api), 409, 'NEMO_E_CONFLICT'],
      [makeSandbox(api, 'list'), 400, 'NEMO_E_NAME'],
      [api.call('POST', '/v1/sandboxes', { name: 'x', blueprint: 'none' }), 404, 'NEMO_E_NOT_FOUND'],
      [api.call('POST', '/v1/sandboxes', { name: 'x', blueprint: 'support', hostPath: '/' }), 400, 'NEMO_E_BODY'],
      [api.call('POST', '/v1/sandboxes', '{'), 400, 'NEMO_E_BODY'],
      [api.call('GET', '/v1/sandboxes/..%2f..%2fetc'), 404, 'NEMO_E_NOT_FOUND'],
      [api.call('GET', '/v1/approvals?state=open'), 400, 'NEMO_E_BODY'],
      [api.call('GET', '/v1/approvals/apr_x'), 404, 'NEMO_E_NOT_FOUND'],
      [api.call('POST', '/v1/approvals/apr_x/decision', { verdict: 'allow' }), 400, 'NEMO_E_BODY'],
      [api.call('GET', '/v1/tasks/..'), 404, 'NEMO_E_NOT_FOUND'],
      [api.call('GET', '/v1/events?after=-1'), 400, 'NEMO_E_BODY'],
      [api.call('PUT', '/v1/sandboxes/helper/policy', { files: { 'network.yaml': 'networkPolicy: { name: x, egrss: {} }\n' } }), 422, 'NEMO_E_POLICY_UNKNOWN_FIELD'],
      [api.call('GET', '/v2/anything'), 404, 'NEMO_E_NOT_FOUND'],
    ];
    for (const [answer, status, wanted] of cases) assert.deepEqual([(await answer).status, code(await answer)], [status, wanted]);
    const wrong = errorBodySchema.parse((await api.call('PUT', '/v1/sandboxes/helper/policy', { files: { 'network.yaml': 'networkPolicy:\n  name: x\n  egrss: {}\n' } })).json);
    assert.deepEqual([wrong.error.where?.file, wrong.error.where?.line], ['network.yaml', 3]);
    api.world.clock.time += 60_000;
    api.world.backend.failing.set('host', new TypeError('secret detail of the inside'));
    const inside = await api.call('PUT', '/v1/sandboxes/helper/policy', { files: {} });
    assert.deepEqual([inside.status, code(inside), JSON.stringify(inside.json).includes('secret detail')], [500, 'NEMO_E_INTERNAL', false]);
  }));

  test('status, doctor, blueprints and policy say what they promise', withApi(async (api) => {
    await makeSandbox(api);
    const status = statusViewSchema.parse((await api.call('GET', '/v1/status')).json);
    assert.equal(status.sandboxes[0]?.provider.note, 'scripted model, not an AI');
    assert.equal(status.singleOperator, true);
    const doctor = doctorViewSchema.parse((await api.call('GET', '/v1/doctor')).json);
    assert.ok(doctor.checks.every((check) => check.state !== 'failed'));
    const searched = async (): Promise<string> => doctorViewSchema.parse((await api.call('GET', '/v1/doctor')).json).checks.find(({ name }) => name === 'search')?.text ?? '';
    assert.match(await searched(), /no data plane has said/);
    for (const [scanner, text] of [['hyperscan', /searched by hyperscan/], ['typescript', /detectors in typescript alone/]] as const) {
      api.world.worker.say({ t: 'searches', scanner });
      for (const until = performance.now() + 60_000; !text.test(await searched()); ) assert.ok(performance.now() < until, scanner);
    }
    assert.deepEqual(z.array(blueprintViewSchema).parse((await api.call('GET', '/v1/blueprints')).json).map((one) => one.problem), ['']);
    assert.equal(policyViewSchema.parse((await api.call('GET', '/v1/sandboxes/helper/policy')).json).version, 1);
    const applied = policyAppliedSchema.parse((await api.call('PUT', '/v1/sandboxes/helper/policy', { files: { 'approvals.yaml': 'timeout: 2m\n' } })).json);
    assert.deepEqual([applied.version, applied.changed], [2, ['approvals.yaml']]);
    api.world.backend.failing.set('host', new Error('gone'));
    api.world.record.broken = true;
    const broken = statusViewSchema.parse((await api.call('GET', '/v1/status')).json);
    assert.equal(broken.needsYou.length, 2);
    assert.equal(broken.host.enforced.length, 0);
  }));

  test('a data plane that went away is said to be down', withApi(async (api) => {
    const workers = async () => {
      const { services, needsYou } = statusViewSchema.parse((await api.call('GET', '/v1/status')).json);
      return { up: services.filter(({ name }) => name.startsWith('worker')), needsYou };
    };
    assert.deepEqual(await workers(), { up: [{ name: 'worker:1', up: true }], needsYou: [] });
    api.world.worker.socket.destroy();
    await api.world.worker.until(({ closed }) => closed);
    const { up, needsYou } = await workers();
    assert.deepEqual(up, [{ name: 'worker:1', up: false }]);
    assert.match(needsYou[0]?.text ?? '', /worker:1 does not run/);
    const { checks } = doctorViewSchema.parse((await api.call('GET', '/v1/doctor')).json);
    assert.equal(checks.find(({ name }) => name === 'data plane')?.state, 'failed');
  }));

  test('explain decides without doing', withApi(async (api) => {
    await makeSandbox(api);
    const before = api.world.record.events.length;
    const ask = async (request: unknown) => explainedSchema.parse((await api.call('POST', '/v1/policy/explain', { sandbox: 'helper', request })).json);
    assert.deepEqual(await ask({ kind: 'tool', tool: 'email_send', arguments: { to: 'x@y.example' } }).then((d) => [d.verdict, d.action, d.rules[0]?.id]), ['escalate', 'email.send', 'approvals.triggers[0]']);
    assert.equal((await ask({ kind: 'http', method: 'GET', url: 'https://crm.acme.example/customers/1' })).verdict, 'allow');
    assert.equal((await ask({ kind: 'http', method: 'PUT', url: 'https://warehouse.acme.example/x' })).verdict, 'escalate');
    assert.equal((await ask({ kind: 'connect', host: 'example.org', port: 443 })).verdict, 'deny');
    assert.equal((await ask({ kind: 'action', action: 'billing.refund' })).verdict, 'deny');
    const file = await ask({ kind: 'file', op: 'read', path: '/root/x' });
    assert.deepEqual([file.verdict, file.rules[0]?.id, /view.*ENOENT/.test(file.reason)], ['deny', 'view', true]);
    assert.deepEqual(await Promise.all(([['read', '/bin/ls'], ['write', '/bin/ls'], ['write', '/tmp/x'], ['delete', '/workspace/archive/a']] as const).map(async ([op, path]) => (await ask({ kind: 'file', op, path })).verdict)), ['allow', 'deny', 'allow', 'escalate']);
    for (const request of [{ kind: 'file', op: 'rename', path: '/tmp/a' }, { kind: 'file', op: 'read', path: '/tmp/a', toPath: '/tmp/b' }, { kind: 'file', op: 'read', path: 'tmp' }, { kind: 'file', op: 'read', path: '/tmp/../root' }, { kind: 'file', op: 'read', path: '/tmp//x' }]) assert.equal(code(await api.call('POST', '/v1/policy/explain', { sandbox: 'helper', request })), 'NEMO_E_BODY', JSON.stringify(request));
    assert.equal(api.world.record.events.length, before);
  }));
});

describe('approvals over the API', () => {
  test('are listed, shown, decided once', withApi(async (api) => {
    await makeSandbox(api);
    const { id } = api.world.gateway.house.sandboxes.must('helper').record.value;
    await api.world.gateway.hold({ sandbox: id, holdId: 's1', op: 'delete', syscall: 'unlinkat', path: '/workspace/archive/a', toPath: null, dev: 1, ino: 2, pid: 3, exe: '/usr/bin/rm', rule: 0, deadline: api.world.clock.time + 60_000 });
    const [one] = z.array(approvalViewSchema).parse((await api.call('GET', '/v1/approvals?state=waiting')).json);
    assert.ok(one);
    assert.equal(statusViewSchema.parse((await api.call('GET', '/v1/status')).json).needsYou[0]?.command, `nemoclaw approvals show ${one.id}`);
    const decided = approvalViewSchema.parse((await api.call('POST', `/v1/approvals/${one.id}/decision`, { verdict: 'deny', reason: 'no' })).json);
    assert.deepEqual([decided.state, decided.by], ['rejected', 'uid:1000']);
    const again = await api.call('POST', `/v1/approvals/${one.id}/decision`, { verdict: 'approve' });
    assert.deepEqual([again.status, code(again)], [409, 'NEMO_E_DECIDED']);
    assert.deepEqual((await api.call('GET', '/v1/approvals/grants')).json, []);
  }));
});

describe('events', () => {
  test('pages follow each other', withApi(async (api) => {
    await makeSandbox(api);
    const page = z.object({ events: z.array(z.object({ sequence: z.number() })), next: z.number() });
    const first = page.parse((await api.call('GET', '/v1/events?limit=1')).json);
    const second = page.parse((await api.call('GET', `/v1/events?after=${first.next}&sandbox=helper`)).json);
    assert.deepEqual([first.events[0]?.sequence, second.events[0]?.sequence], [1, 2]);
  }));

  test('a stream goes on after the last id that was seen', withApi(async (api) => {
    await makeSandbox(api);
    const read = (headers: Record<string, string>, until: RegExp): Promise<string> =>
      new Promise((resolve, reject) => {
        const req = request({ socketPath: api.path, path: '/v1/events?follow=1', headers, agent: false }, (res) => {
          let text = '';
          res.setEncoding('utf8').on('data', (part: string) => {
            text += part;
            if (!until.test(text)) return;
            req.destroy();
            resolve(text);
          });
        });
        req.on('error', (error) => (until.test('') ? undefined : reject(error)));
        req.end();
      });
    const first = await read({}, /id: 2\n[^]*\n\n/);
    assert.match(first, /id: 1\n/);
    const live = read({ 'last-event-id': '2' }, /the later one/);
    api.world.record.emit({ time: 1, class: 'apiActivity', activity: 1, severity: 1, sandbox: '', layer: 'gateway', message: 'the later one' });
    assert.ok(!(await live).includes('id: 2\n'));
  }));
});

describe('commands', () => {
  test('bytes go both ways, signals and sizes arrive, the exit comes last', withApi(async (api) => {
    await makeSandbox(api);
    const dialogue = new Dialogue(api, '/v1/sandboxes/helper/exec', { argv: ['cat'], env: { A: 'b', PATH: '/own' } });
    const { execId } = await dialogue.frame('started');
    const exec = api.world.backend.execs[0];
    assert.ok(exec);
    assert.deepEqual(exec.request.argv, ['cat']);
    assert.equal(exec.request.cwd, '/workspace');
    assert.deepEqual(exec.request.env.filter((entry) => /^(A|PATH)=/.test(entry)), ['PATH=/own', 'A=b']);
    exec.stdin.on('data', (chunk: Buffer) => exec.stdout.write(chunk));
    dialogue.ws.send(Buffer.concat([Buffer.of(0), Buffer.from('hello')]));
    await dialogue.heard(1, 'hello');
    exec.stderr.write('oops');
    await dialogue.heard(2, 'oops');
    dialogue.ws.send(JSON.stringify({ t: 'signal', signal: 2 }));
    dialogue.ws.send(JSON.stringify({ t: 'resize', rows: 10, cols: 20 }));
    dialogue.ws.send(JSON.stringify({ t: 'eof' }));
    await once(exec.stdin, 'end');
    assert.deepEqual(api.world.backend.signals, [{ execId, signal: 2 }]);
    assert.deepEqual(api.world.backend.resizes, [{ rows: 10, cols: 20 }]);
    exec.stdout.end('last');
    exec.stderr.end();
    api.world.gateway.execExited(execId, 3, null);
    assert.deepEqual(await dialogue.frame('exit'), { t: 'exit', code: 3, signal: null });
    assert.equal(dialogue.bytes.get(1), 'hellolast');
    await dialogue.closed;
  }));

  test('what cannot start says why', withApi(async (api) => {
    await makeSandbox(api);
    const refused = async (path: string, first: unknown): Promise<string> => (await new Dialogue(api, path, first).frame('error')).error.code;
    assert.equal(await refused('/v1/sandboxes/none/exec', { argv: ['x'] }), 'NEMO_E_NOT_FOUND');
    assert.equal(await refused('/v1/sandboxes/helper/exec', {}), 'NEMO_E_BODY');
    assert.equal(await refused('/v1/sandboxes/helper/exec', 'nonsense'), 'NEMO_E_BODY');
    api.world.backend.failing.set('exec', new Error('ENOENT'));
    assert.equal(await refused('/v1/sandboxes/helper/exec', { argv: ['x'] }), 'NEMO_E_EXEC');
    await api.call('POST', '/v1/sandboxes/helper/stop');
    assert.equal(await refused('/v1/sandboxes/helper/run', { task: 'x' }), 'NEMO_E_STATE');
  }));

  test('a client that goes away takes its command with it', withApi(async (api) => {
    await makeSandbox(api);
    const dialogue = new Dialogue(api, '/v1/sandboxes/helper/exec', { argv: ['sleep', '1000'] });
    const { execId } = await dialogue.frame('started');
    dialogue.ws.terminate();
    await dialogue.closed;
    while (api.world.backend.signals.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(api.world.backend.signals[0], { execId, signal: 1 });
    api.world.gateway.execExited(execId, null, 'SIGHUP');
  }));
});

describe('input', () => {
  test('that a command does not read waits with the client, and all of it arrives', withApi(async (api) => {
    await makeSandbox(api);
    const dialogue = new Dialogue(api, '/v1/sandboxes/helper/exec', { argv: ['cat'] });
    const { execId } = await dialogue.frame('started');
    const socket = dialogue.ws;
    const stdin = api.world.backend.execs.at(-1)?.stdin;
    assert.ok(stdin);
    const frame = Buffer.concat([Buffer.of(0), Buffer.alloc(256 * 1024, 'x')]);
    for (let i = 0; i < 128; i++) socket.send(frame);
    socket.send(JSON.stringify({ t: 'eof' }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(stdin.writableLength < 8 * 1024 * 1024, String(stdin.writableLength));
    let bytes = 0;
    for await (const chunk of stdin) bytes += (chunk as Buffer).length;
    assert.equal(bytes, 128 * 256 * 1024);
    api.world.backend.execs.at(-1)?.stdout.end();
    api.world.backend.execs.at(-1)?.stderr.end();
    api.world.gateway.execExited(execId, 0, null);
    await dialogue.frame('exit');
    assert.deepEqual(dialogue.frames.slice(1, 3), [{ t: 'input', more: false }, { t: 'input', more: true }]);
  }));

  test('a client that waits when it is told is heard at once, however long the command reads nothing', withApi(async (api) => {
    await makeSandbox(api);
    const dialogue = new Dialogue(api, '/v1/sandboxes/helper/exec', { argv: ['sleep', '1000'] });
    const { execId } = await dialogue.frame('started');
    const stdin = api.world.backend.execs.at(-1)?.stdin;
    assert.ok(stdin);
    const piece = Buffer.alloc(64 * 1024);
    for (let sent = 0; dialogue.frames.length < 2; sent++) {
      assert.ok(sent < 1000);
      await new Promise<void>((done) => dialogue.ws.send(piece, () => setImmediate(done)));
    }
    const before = stdin.writableLength;
    dialogue.ws.send(JSON.stringify({ t: 'signal', signal: 2 }));
    while (api.world.backend.signals.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([api.world.backend.signals, stdin.writableLength], [[{ execId, signal: 2 }], before]);
    stdin.destroy(); // a command that closes its input is sent the rest, which goes nowhere
    while (dialogue.frames.length < 3) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(dialogue.frames.slice(1), [{ t: 'input', more: false }, { t: 'input', more: true }]);
  }));
});

describe('tasks', () => {
  test('a run is on record, known to the worker, and ends with the table of what happened', withApi(async (api) => {
    await makeSandbox(api);
    const { house } = api.world.gateway;
    const { id } = house.sandboxes.must('helper').record.value;
    const dialogue = new Dialogue(api, '/v1/sandboxes/helper/run', { task: 'log in with hunter2' });
    const { taskId, execId } = await dialogue.frame('started');
    const exec = api.world.backend.execs[0];
    assert.deepEqual(exec?.request.argv, ['/bin/bash', '-c', 'log in with hunter2']);
    assert.equal(api.world.worker.configs.get(id)?.task, taskId);
    assert.equal((await new Dialogue(api, '/v1/sandboxes/helper/run', { task: 'another' }).frame('error')).error.code, 'NEMO_E_STATE');
    const event = (verdict: 'allow' | 'deny', message: string, rule: string) =>
      api.world.record.emit({ time: api.world.clock.time, class: 'httpActivity', activity: 1, severity: 1, sandbox: id, layer: 'proxy', message, verdict, decision: { action: '', rules: [{ id: rule, file: 'network.yaml', line: 4 }], reason: '', policyVersion: 1, decidedBy: 'table', micros: 1 } });
    event('allow', 'GET https://crm.acme.example/customers/1', 'egress.allow[0]');
    event('deny', 'GET https://evil.example/\u202E', 'egress.deny[0]');
    event('deny', 'GET https://evil.example/\u202E', 'egress.deny[0]');
    await api.world.gateway.hold({ sandbox: id, holdId: 's1', op: 'delete', syscall: 'unlinkat', path: '/workspace/archive/a', toPath: null, dev: 1, ino: 2, pid: 3, exe: '/usr/bin/rm', rule: 0, deadline: api.world.clock.time + 60_000 });
    const notice = await dialogue.frame('notice');
    assert.match(notice.text, /^Waiting for approval: Delete \/workspace\/archive\/a/);
    await api.call('POST', `/v1/approvals/${notice.approvalId}/decision`, { verdict: 'approve' });
    exec?.stdout.end('done');
    exec?.stderr.end();
    api.world.gateway.execExited(execId, 0, null);
    const done = await dialogue.frame('done');
    assert.equal(done.code, 0);
    // The table was read when openshelld, ledger and worker had said that they know no more.
    assert.deepEqual([api.world.backend.flushed, api.world.record.settledAt], [[id], [7]]);
    assert.ok(api.world.worker.heard.some((message) => message.t === 'flush' && message.sandbox === id));
    assert.deepEqual(done.table.rows.map((row) => [row.verdict, row.layer, row.rule, row.at, row.count]), [
      ['Allowed', 'proxy', 'egress.allow[0]', 'network.yaml:4', 1],
      ['Denied', 'proxy', 'egress.deny[0]', 'network.yaml:4', 2],
      ['Approved', 'approval', 'filesystem.escalate[0]', 'sandbox.yaml:7', 1],
    ]);
    assert.deepEqual([done.table.totals.Allowed, done.table.totals.Denied, done.table.totals.Approved], [1, 2, 1]);
    assert.ok(done.table.rows[1]?.what.includes('\\u{202e}'));
    const view = taskViewSchema.parse((await api.call('GET', `/v1/tasks/${taskId}`)).json);
    assert.deepEqual([view.state, view.code, view.text], ['ended', 0, 'log in with [redacted]']);
    assert.ok(!JSON.stringify([await api.world.store.list(''), api.world.record.events]).includes('hunter2'));
    assert.equal(api.world.worker.configs.get(id)?.task, '');
  }));

  test('an agent that fails or is killed says so', withApi(async (api) => {
    await makeSandbox(api);
    for (const [code_, signal, wanted] of [[7, null, 7], [null, 'SIGKILL', 137], [null, null, 1]] as const) {
      const dialogue = new Dialogue(api, '/v1/sandboxes/helper/run', { task: 'x' });
      const { execId } = await dialogue.frame('started');
      const exec = api.world.backend.execs.at(-1);
      exec?.stdout.end();
      exec?.stderr.end();
      api.world.gateway.execExited(execId, code_, signal);
      assert.equal((await dialogue.frame('done')).code, wanted);
    }
  }));

  test('without the record no task starts', withApi(async (api) => {
    await makeSandbox(api);
    api.world.record.broken = true;
    assert.equal((await new Dialogue(api, '/v1/sandboxes/helper/run', { task: 'x' }).frame('error')).error.code, 'NEMO_E_RECORD');
    assert.equal(api.world.backend.execs.length, 0);
    assert.equal(api.world.gateway.house.sandboxes.must('helper').record.value.task, '');
  }));

  test('a task goes on over a restart of the gateway, and whoever gave it hears the rest', withApi(async (api) => {
    await makeSandbox(api);
    const { id } = api.world.gateway.house.sandboxes.must('helper').record.value;
    const { findTask } = await import('../tasks/task-store.ts');
    const { taskId, execId } = await new Dialogue(api, '/v1/sandboxes/helper/run', { task: 'x' }).frame('started');
    const exec = api.world.backend.execs.at(-1);
    await api.world.restart();
    await api.world.gateway.inventory({ t: 'inventory', sandboxes: [{ sandbox: id, init: 1, uid: 200_000, execs: [execId, 'ex_left'] }], holds: [], workers: ['worker:1'] });
    assert.equal((await findTask(api.world.gateway.house, taskId))?.state, 'running');
    assert.equal(api.world.gateway.house.sandboxes.must('helper').record.value.task, taskId);
    assert.deepEqual(api.world.backend.signals.at(-1), { execId: 'ex_left', signal: 1 });
    exec?.stdout.write('while nobody listened\n');
    const resumed = api.world.gateway.house.resumed.get(taskId);
    const heard = resumed === undefined ? undefined : once(resumed.running.stdout, 'data');
    exec?.stdout.end();
    exec?.stderr.end();
    assert.equal(String((await heard)?.[0]), 'while nobody listened\n');
    api.world.gateway.execExited(execId, 3, null);
    assert.equal((await resumed?.finish())?.code, 3);
    assert.deepEqual([(await findTask(api.world.gateway.house, taskId))?.state, api.world.gateway.house.sandboxes.must('helper').record.value.task], ['ended', '']);
  }));

  test('a restart of the gateway marks what it cut off', withApi(async (api) => {
    await makeSandbox(api);
    const { id } = api.world.gateway.house.sandboxes.must('helper').record.value;
    const dialogue = new Dialogue(api, '/v1/sandboxes/helper/run', { task: 'x' });
    const { taskId } = await dialogue.frame('started');
    await api.world.restart();
    await api.world.gateway.inventory({ t: 'inventory', sandboxes: [{ sandbox: id, init: 1, uid: 200_000, execs: [] }], holds: [], workers: ['worker:1'] });
    const { findTask } = await import('../tasks/task-store.ts');
    assert.equal((await findTask(api.world.gateway.house, taskId))?.state, 'interrupted');
    assert.equal(api.world.gateway.house.sandboxes.must('helper').record.value.task, '');
  }));

  test('who drives a sandbox is remembered over a restart of the gateway', withApi(async (api) => {
    await makeSandbox(api);
    const { drive } = await import('../sandboxes/drive.ts');
    await drive(api.world.gateway.house, api.world.gateway.house.sandboxes.must('helper'), 0);
    await api.world.restart();
    assert.ok(api.world.gateway.house.sandboxes.must('helper').drivers.has(0));
  }));
});
