/** The data-plane process against a scripted openshelld, gateway and ledger over real sockets: either order, holds, labels, links that break. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createSocket } from 'node:dgram';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { encodeFrame, FrameDecoder, loadNetworkPolicy, loadSandboxPolicy } from '@nemoclaw/contract';
import type { FromOpenshelld, GatewayToWorker, SandboxConfig, ToOpenshelld, WorkerToGateway } from '@nemoclaw/contract';
import { compilePolicy, encodePolicy } from '@nemoclaw/decide';
import { createIntermediate, createRootCa } from '@nemoclaw/network-policy';
import { systemClock, systemIds } from '../clock.ts';
import { startWorker } from './worker.ts';
import type { Worker } from './worker.ts';

const sandboxYaml = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: tester }
spec:
  isolation: { network: restricted, filesystem: read-only, syscalls: minimal }
`;
const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-worker-'));
const root = createRootCa('test', systemClock.now());
let upstreamPort = 0;
let served: string[] = [];
const upstream = createHttp((req, res) => {
  served.push(`${req.method} ${req.url}`);
  res.end('upstream');
});
before(async () => {
  await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done));
  upstreamPort = (upstream.address() as AddressInfo).port;
});
after(() => {
  upstream.closeAllConnections();
  upstream.close();
  rmSync(folder, { recursive: true, force: true });
});

function network(rules: string): string {
  return `networkPolicy:\n  name: t\n  egress:\n${rules}`;
}
const allowAll = (): string => network(`    allow:\n      - { domain: api.test, ports: [${upstreamPort}], methods: [GET, POST], addresses: [127.0.0.1] }\n`);
const askPost = (): string => network(`    allow:\n      - { domain: api.test, ports: [${upstreamPort}], methods: [GET], addresses: [127.0.0.1] }\n    escalate:\n      - { domain: api.test, ports: [${upstreamPort}], methods: [POST], addresses: [127.0.0.1] }\n`);
const nobody = (): string => network(`    deny:\n      - { domain: "*" }\n`);

/** `httpMs`: how long a request is held. */
function config(yaml: string, version = 1, sandbox = 'sbx_1', httpMs = 60_000): SandboxConfig {
  const policy = compilePolicy({ sandboxPolicy: loadSandboxPolicy(sandboxYaml, 'sandbox.yaml'), network: loadNetworkPolicy(yaml, 'network.yaml'), role: 'tester' }, version);
  return {
    sandbox, name: 'test', role: 'tester', task: '', version, policy: Buffer.from(encodePolicy(policy)).toString('base64'), ca: createIntermediate(root, ['api.test'], systemClock.now()), providers: [], placeholderKey: 'placeholder-key-1',
    credentials: [], upstreams: [{ host: 'api.test', addresses: ['127.0.0.1'] }], label: 'public', patience: { streamMs: 60_000, httpMs, keepAliveMs: 100 },
  };
}

async function pair(): Promise<[Socket, Socket]> {
  const path = join(folder, systemIds.next('link'));
  const server = createServer();
  await new Promise<void>((done) => server.listen(path, done));
  const near = connect(path);
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  return [near, far];
}
async function freePorts(): Promise<{ tcp: number; dns: number }> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '0.0.0.0', done));
  const tcp = (server.address() as AddressInfo).port;
  await new Promise<void>((done) => server.close(() => done()));
  const udp = createSocket('udp4');
  await new Promise<void>((done) => udp.bind(0, '127.0.0.1', done));
  const dns = udp.address().port;
  await new Promise<void>((done) => udp.close(() => done()));
  return { tcp, dns };
}

/** The far side of a link: sends frames, keeps what it hears. */
class Far<In> {
  readonly heard: In[] = [];
  readonly socket: Socket;
  #wake: (() => void)[] = [];
  constructor(socket: Socket) {
    this.socket = socket;
    const decoder = new FrameDecoder();
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.heard.push(...(decoder.push(chunk) as In[]));
      for (const wake of this.#wake.splice(0)) wake();
    });
  }
  send(message: unknown): void {
    this.socket.write(encodeFrame(message));
  }
  async until(fits: (message: In) => boolean): Promise<In> {
    for (;;) {
      const found = this.heard.find(fits);
      if (found) return found;
      await new Promise<void>((wake) => this.#wake.push(wake));
    }
  }
}

interface Rig {
  readonly worker: Worker;
  readonly said: ToOpenshelld[];
  readonly closedFds: number[];
  readonly ports: { tcp: number; dns: number };
  control(message: FromOpenshelld, fds?: number[]): void;
  link(peer: string): Promise<Far<never>>;
  configure(gateway: Far<WorkerToGateway>, config: SandboxConfig): Promise<WorkerToGateway>;
}
let rig: Rig;
let gateway: Far<WorkerToGateway>;
let ledger: Far<{ t: string; seq?: number; event?: Record<string, unknown>; commit?: true }>;

beforeEach(async () => {
  served = [];
  const ports = await freePorts();
  const links = new Map<number, Socket>();
  const said: ToOpenshelld[] = [];
  const closedFds: number[] = [];
  let listener: (message: FromOpenshelld, fds: number[]) => void = () => undefined;
  let next = 100;
  const worker = startWorker({
    control: { onMessage: (heard) => { listener = heard; }, send: (message) => void said.push(message) }, clock: systemClock, ids: systemIds,
    open: (fd) => links.get(fd) ?? assert.fail(`no link ${fd}`), closeFd: (fd) => void closedFds.push(fd),
    source: (fd) => (fd === 10 ? { host: '0.0.0.0', port: ports.tcp } : { host: '127.0.0.1', port: ports.dns }),
    destination: (socket) => ({ address: (socket.localAddress ?? '').replace(/^127\.(\d+)\./, (_, half) => `198.${half}.`), port: upstreamPort }), usageMs: 20,
  });
  rig = {
    worker, said, closedFds, ports, control: (message, fds = []) => listener(message, fds),
    link: async (peer) => {
      const [near, far] = await pair();
      links.set((next += 1), near);
      listener({ t: 'link', peer }, [next]);
      return new Far(far);
    },
    configure: (far, wanted) => {
      const count = far.heard.filter((message) => message.t === 'configured').length;
      far.send({ t: 'configure', config: wanted } satisfies GatewayToWorker);
      return far.until((message) => message.t === 'configured' && far.heard.filter((other) => other.t === 'configured').indexOf(message as never) >= count);
    },
  };
  gateway = await rig.link('gateway') as Far<never> as unknown as Far<WorkerToGateway>;
  ledger = await rig.link('ledger') as unknown as typeof ledger;
  const acknowledge = new FrameDecoder();
  ledger.socket.on('data', (chunk: Buffer) => {
    for (const message of acknowledge.push(chunk) as { t: string; seq?: number }[]) if (message.t === 'event') ledger.send({ t: 'ack', seq: message.seq, durable: true });
  });
});
afterEach(async () => {
  await rig.worker.stop();
  gateway.socket.destroy();
  ledger.socket.destroy();
});

async function addressOf(name: string): Promise<string | undefined> {
  const socket = createSocket('udp4');
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const ask = (): void => socket.send(Buffer.concat([Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...labels, Buffer.from([0, 0, 1, 0, 1])]), rig.ports.dns, '127.0.0.1');
  ask();
  // A datagram that comes before the listener is lost.
  const again = setInterval(ask, 500);
  const [reply] = (await once(socket, 'message')) as [Buffer];
  clearInterval(again);
  socket.close();
  return reply.readUInt16BE(6) === 1 ? [...reply.subarray(-4)].join('.') : undefined;
}
async function fetchIt(method: string, path: string, body = ''): Promise<{ status: number; text: string }> {
  const address = (await addressOf('api.test')) ?? assert.fail('no address');
  const req = request({ host: address.replace(/^198\./, '127.'), port: rig.ports.tcp, method, path, headers: { host: 'api.test', connection: 'close', 'content-length': String(body.length) } });
  req.end(body);
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of res) text += String(chunk);
  return { status: res.statusCode ?? 0, text };
}

async function canConnect(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const open = await new Promise<boolean>((done) => { socket.once('connect', () => done(true)); socket.once('error', () => done(false)); });
  socket.destroy();
  return open;
}

test('says hello, and again after a reset', () => {
  assert.deepEqual(rig.said.map((message) => message.t), ['hello']);
  rig.control({ t: 'reset' });
  assert.equal(rig.said.length, 2);
  assert.equal(rig.said[1]?.t === 'hello' && rig.said[1].role, 'worker');
});

for (const order of ['attach first', 'configuration first']) {
  test(`serves once it has both: ${order}`, async () => {
    if (order === 'attach first') rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
    const answer = await rig.configure(gateway, config(allowAll()));
    assert.deepEqual(answer, { t: 'configured', sandbox: 'sbx_1', version: 1 });
    if (order !== 'attach first') {
      rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
      while (!(await canConnect(rig.ports.tcp)));
    }
    assert.deepEqual(await fetchIt('GET', '/x'), { status: 200, text: 'upstream' });
    const event = await ledger.until((message) => message.t === 'event' && message.event?.['class'] === 'httpActivity');
    assert.equal(event.event?.['verdict'], 'allow');
    await gateway.until((message) => message.t === 'usage' && message.requests === 1);
  });
}

test('what a rate has left is told at once, and who serves the sandbox next goes on with it; where nobody knows, nothing is left', async () => {
  const limits = network(`    allow:\n      - { domain: api.test, ports: [${upstreamPort}], methods: [GET], addresses: [127.0.0.1], rate: 2/h }\n`);
  let count = 0;
  const serve = async (rates?: SandboxConfig['rates']): Promise<number[]> => {
    count += 1;
    const sandbox = `sbx_${count}`;
    rig.control({ t: 'attach', sandbox }, [10, 11]);
    await rig.configure(gateway, { ...config(limits, 1, sandbox), ...(rates ? { rates } : {}) });
    const statuses = [(await fetchIt('GET', '/x')).status, (await fetchIt('GET', '/x')).status, (await fetchIt('GET', '/x')).status];
    gateway.send({ t: 'remove', sandbox });
    while (await canConnect(rig.ports.tcp));
    return statuses;
  };
  assert.deepEqual(await serve([]), [200, 200, 429]);
  const told = await gateway.until((message) => message.t === 'rates' && (message.rates[0]?.left ?? 9) < 1);
  assert.ok(told.t === 'rates' && told.rates[0]?.key === 'egress.allow[0] 2/3600000');
  assert.deepEqual(await serve(told.rates), [429, 429, 429]);
  assert.deepEqual(await serve([{ key: 'egress.allow[0] 2/3600000', left: 1, at: systemClock.now() }]), [200, 429, 429]);
  assert.deepEqual(await serve(), [429, 429, 429]);
});

test('a second pair of descriptors for the same sandbox is closed, detach ends service', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(allowAll()));
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [20, 21]);
  await fetchIt('GET', '/x');
  assert.deepEqual(rig.closedFds, [20, 21]);
  gateway.send({ t: 'remove', sandbox: 'sbx_1' });
  while (await canConnect(rig.ports.tcp));
});

test('a new version is in force when it is acknowledged; a damaged one changes nothing', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(allowAll()));
  const damaged = await rig.configure(gateway, { ...config(nobody(), 2), policy: 'bm90IGEgcG9saWN5' });
  assert.match(damaged.t === 'configured' ? (damaged.error ?? '') : '', /compiled policy/);
  assert.equal((await fetchIt('GET', '/x')).status, 200);
  await rig.configure(gateway, config(nobody(), 3));
  assert.equal(await addressOf('api.test'), undefined);
  const event = await ledger.until((message) => message.event?.['layer'] === 'dns');
  assert.match(JSON.stringify(event.event), /egress\.deny\[0\]/);
});

test('what is prepared is not in force before the switch; only the version prepared last can be switched to, once', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(allowAll()));
  const switchTo = async (version: number): Promise<string> => {
    gateway.send({ t: 'switch', sandbox: 'sbx_1', version });
    const answer = await gateway.until((message) => message.t === 'configured' && message.version === version);
    return answer.t === 'configured' ? (answer.error ?? '') : '';
  };
  gateway.send({ t: 'prepare', config: config(nobody(), 2) });
  assert.match(await switchTo(3), /not prepared/);
  assert.equal((await fetchIt('GET', '/x')).status, 200);
  gateway.send({ t: 'prepare', config: config(nobody(), 4) });
  gateway.send({ t: 'prepare', config: { ...config(nobody(), 5), policy: 'bm90IGEgcG9saWN5' } });
  assert.match(await switchTo(4), /not prepared/);
  assert.match(await switchTo(5), /not prepared/);
  assert.equal((await fetchIt('GET', '/x')).status, 200);
  gateway.send({ t: 'prepare', config: config(nobody(), 6) });
  assert.equal((await fetchIt('GET', '/x')).status, 200);
  assert.equal(await switchTo(6), '');
  assert.equal(await addressOf('api.test'), undefined);
});

test('what one gateway prepared, the next cannot switch to', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(allowAll()));
  gateway.send({ t: 'prepare', config: config(nobody(), 2) });
  await new Promise((done) => setTimeout(done, 50));
  gateway = await rig.link('gateway') as unknown as Far<WorkerToGateway>;
  gateway.send({ t: 'switch', sandbox: 'sbx_1', version: 2 });
  const answer = await gateway.until((message) => message.t === 'configured' && message.version === 2);
  assert.match(answer.t === 'configured' ? (answer.error ?? '') : '', /not prepared/);
  assert.equal((await fetchIt('GET', '/x')).status, 200);
});

test('a held request waits for the gateway, is committed, then goes out', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(askPost()));
  const answer = fetchIt('POST', '/send', '{"a":1}');
  const asked = await gateway.until((message) => message.t === 'grant.consume');
  assert.ok(asked.t === 'grant.consume');
  gateway.send({ t: 'no', id: asked.id, reason: 'none' });
  const hold = await gateway.until((message) => message.t === 'hold');
  assert.ok(hold.t === 'hold');
  assert.equal(hold.hold.key, asked.key);
  assert.deepEqual(hold.hold.request.params, [['a', 1]]);
  assert.equal(served.length, 0);
  gateway.send({ t: 'hold.outcome', sandbox: 'sbx_other', holdId: hold.hold.holdId, outcome: { verdict: 'allow', approvalId: 'apr_x', by: 'nobody' } });
  gateway.send({ t: 'hold.outcome', sandbox: 'sbx_1', holdId: hold.hold.holdId, outcome: { verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' } });
  assert.equal((await answer).status, 200);
  assert.ok(ledger.heard.some((message) => message.commit === true && message.event?.['verdict'] === 'approved'));
});

test('patience: the question stays, a late approval is good once', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(askPost(), 1, 'sbx_1', 2000));
  gateway.socket.on('data', () => {
    for (const message of gateway.heard) if (message.t === 'grant.consume') gateway.send({ t: 'no', id: message.id, reason: 'none' });
  });
  const answer = fetchIt('POST', '/send', '{"a":1}');
  const hold = await gateway.until((message) => message.t === 'hold');
  assert.ok(hold.t === 'hold');
  gateway.send({ t: 'pending', sandbox: 'sbx_1', entries: [{ key: hold.hold.key, approvalId: 'apr_9' }] });
  const waiting = await answer;
  assert.equal(waiting.status, 503);
  assert.match(waiting.text, /"approvalId":"apr_9"/);
  await gateway.until((message) => message.t === 'hold.withdrawn' && message.why === 'patience');
  gateway.send({ t: 'hold.outcome', sandbox: 'sbx_1', holdId: hold.hold.holdId, outcome: { verdict: 'allow', approvalId: 'apr_9', by: 'uid:0' } });
  // What was said before this question has been heard when it is answered.
  gateway.send({ t: 'switch', sandbox: 'sbx_1', version: 9 });
  await gateway.until((message) => message.t === 'configured' && message.version === 9);
  assert.equal((await fetchIt('POST', '/send', '{"a":1}')).status, 200);
  assert.notEqual((await fetchIt('POST', '/send', '{"a":1}')).status, 200);
  assert.equal(served.length, 1);
});

test('without a gateway a hold runs to its end and is denied; over a new link it is asked again', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  const withoutGateway = async (): Promise<void> => {
    gateway.socket.destroy();
    await once(gateway.socket, 'close');
  };
  await rig.configure(gateway, config(askPost(), 1, 'sbx_1', 500));
  await withoutGateway();
  assert.equal((await fetchIt('POST', '/send', '1')).status, 403);
  // The next one waits for as long as a new link may take.
  gateway = await rig.link('gateway') as unknown as Far<WorkerToGateway>;
  await rig.configure(gateway, config(askPost(), 2));
  await withoutGateway();
  const answer = fetchIt('POST', '/send', '2');
  await new Promise((done) => setTimeout(done, 100));
  gateway = await rig.link('gateway') as unknown as Far<WorkerToGateway>;
  await rig.configure(gateway, config(askPost(), 3));
  const hold = await gateway.until((message) => message.t === 'hold');
  assert.ok(hold.t === 'hold');
  gateway.send({ t: 'hold.outcome', sandbox: 'sbx_1', holdId: hold.hold.holdId, outcome: { verdict: 'allow', approvalId: 'apr_2', by: 'uid:0' } });
  assert.equal((await answer).status, 200);
});

test('without the ledger an approved request is not made', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(askPost()));
  ledger.socket.destroy();
  const answer = fetchIt('POST', '/send', '1');
  const asked = await gateway.until((message) => message.t === 'grant.consume');
  if (asked.t === 'grant.consume') gateway.send({ t: 'ok', id: asked.id });
  assert.equal((await answer).status, 503);
  assert.equal(served.length, 0);
});

test('descriptors that belong to nothing are closed', () => {
  rig.control({ t: 'link', peer: 'somebody' }, []);
  rig.control({ t: 'peer.gone', peer: 'gateway' }, [30, 31]);
  rig.control({ t: 'attach', sandbox: 'sbx_9' }, [40]);
  assert.deepEqual(rig.closedFds, [30, 31, 40]);
});

test('an error that nobody caught is on record and nothing else happens', async () => {
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, config(allowAll()));
  rig.worker.report(new Error('boom'));
  await ledger.until((message) => /nobody caught: Error at (?!.*boom)/.test(String(message.event?.['message'] ?? '')));
  assert.equal((await fetchIt('GET', '/x')).status, 200);
});

test('which program connects is asked of openshelld where a rule wants to know, also over its restart; what it does not know is not let through', async () => {
  const wanted = config(network(`    allow:\n      - { domain: api.test, ports: [${upstreamPort}], binaries: [/usr/bin/git], addresses: [127.0.0.1] }\n`));
  rig.control({ t: 'attach', sandbox: 'sbx_1' }, [10, 11]);
  await rig.configure(gateway, wanted);
  type Question = Extract<ToOpenshelld, { t: 'connection.owner' }>;
  const questions = (): Question[] => rig.said.filter((message): message is Question => message.t === 'connection.owner');
  const question = async (count: number): Promise<Question> => {
    for (;;) {
      const found = questions()[count];
      if (found) return found;
      await new Promise((done) => setTimeout(done, 5));
    }
  };
  const answers: readonly (readonly [object, number])[] = [
    [{ ok: true, result: { pid: 7, exe: '/usr/bin/git', startTime: 1 } }, 200],
    [{ ok: true, result: { pid: 7, exe: '/usr/bin/curl', startTime: 1 } }, 403],
    [{ ok: true, result: { pid: 7, exe: '', startTime: 1 } }, 403],
    [{ ok: false, code: 'unknown', error: 'nothing is kept of this connection' }, 403],
    [{ ok: false, code: 'not-seen', error: 'not seen' }, 403],
  ];
  for (const [i, [answer, status]] of answers.entries()) {
    const fetched = fetchIt('GET', '/x');
    const { id, sandbox, destinationPort } = await question(i);
    assert.deepEqual([sandbox, destinationPort], ['sbx_1', rig.ports.tcp]);
    rig.control({ t: 'reply', id, ...answer } as FromOpenshelld);
    assert.equal((await fetched).status, status, JSON.stringify(answer));
  }
  const over = fetchIt('GET', '/x');
  await question(answers.length);
  rig.control({ t: 'reset' });
  rig.control({ t: 'reply', id: (await question(answers.length + 1)).id, ok: true, result: { pid: 7, exe: '/usr/bin/git', startTime: 1 } });
  assert.equal((await over).status, 200);
  // Content with what the host can do: then, and only then, not seeing programs is no denial.
  await rig.configure(gateway, { ...wanted, version: 2, bestEffort: true });
  const content = fetchIt('GET', '/x');
  rig.control({ t: 'reply', id: (await question(answers.length + 2)).id, ok: false, code: 'not-seen', error: 'not seen' });
  assert.equal((await content).status, 200);
});
