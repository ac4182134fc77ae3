/** The processes beside the benchmark's client: an upstream that answers at once, the proxy with a real record, and the record's writer. Started by bench.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTls } from 'node:tls';
import { createServer as createHttps } from 'node:https';
import { Pool } from 'undici';
import { loadNetworkPolicy, loadSandboxPolicy } from '@nemoclaw/contract';
import type { Approver } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { LedgerReader, LinkSink, openLedger, redactor, serveLink } from '@nemoclaw/ledger';
import { files } from './bench-files.ts';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import { createEgress } from '../egress.ts';
import { testClock, testIds } from '../testing/testing-egress.ts';

const host = 'api.bench.test';
/** What a role says once it is ready. */
export interface Ready {
  readonly port: number;
  readonly dns?: number;
  readonly caPem?: string;
  readonly path?: string;
}
/** What the proxy is told: where upstream and record are. */
export interface ProxyPlan {
  readonly upstreamPort: number;
  readonly caPem: string;
  readonly ledgerPath: string;
  /** What its policy says; by default `searched`, as of a policy that says nothing. */
  readonly mode?: Mode;
}
/** TLS passed on as it is, opened, or opened and its text searched both ways. */
export type Mode = 'passthrough' | 'intercepted' | 'searched';

const body = 'x'.repeat(1024);
const response = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`);

/** Answers every request head with 1 KiB; parses nothing, so that it costs next to nothing. */
function answerHeads(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    for (let at = chunk.indexOf('\r\n\r\n'); at >= 0; at = chunk.indexOf('\r\n\r\n', at + 4)) socket.write(response);
  });
}

async function upstream(): Promise<Ready> {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('bench', now);
  const server = createTls({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now) }, answerHeads);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { port: (server.address() as AddressInfo).port, caPem: root.certPem };
}

async function record(): Promise<Ready> {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-bench-'));
  const writer = await openLedger({ dir, redact: redactor({ payloads: 'as-marked' }), sign: async () => undefined, clock: testClock, ids: testIds, onFailure: () => process.exit(1) });
  const reader = new LedgerReader(writer);
  const path = join(dir, 'link.sock');
  const server = createServer((socket) => serveLink(socket, { writer, reader, name: 'worker:1', mayRead: false, now: () => testClock.now() }));
  await new Promise<void>((done) => server.listen(path, done));
  process.once('disconnect', () => rmSync(dir, { recursive: true, force: true }));
  return { port: 0, path };
}

/** What Node alone costs: TLS in, TLS out, headers copied, nothing decided and nothing recorded. */
async function bare(plan: ProxyPlan): Promise<Ready> {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('bench', now);
  const pool = new Pool(`https://${host}:${plan.upstreamPort}`, { connections: 128, pipelining: 1, connect: { ca: plan.caPem, servername: host, lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]) } });
  const server = createHttps({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now) }, (req, res) => {
    pool.dispatch({ path: req.url ?? '/', method: 'GET', headers: req.rawHeaders }, {
      onRequestStart: () => undefined,
      onResponseStart: (_controller, status, headers) => void res.writeHead(status, headers),
      onResponseData: (_controller, chunk) => void res.write(chunk),
      onResponseEnd: () => void res.end(),
      onResponseError: () => void res.destroy(),
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { port: (server.address() as AddressInfo).port, caPem: root.certPem };
}

/** 200 rules, the one that matters in the middle. */
function policyText(port: number, mode: Mode): string {
  const rules = Array.from({ length: 199 }, (_, i) => `      - { domain: host${i}.example.com, methods: [GET, POST], paths: [/v1/**] }`);
  const what = mode === 'passthrough' ? 'tls: passthrough' : 'methods: [GET, POST], paths: [/v1/**]';
  rules.splice(100, 0, `      - { domain: ${host}, ports: [${port}], ${what}, addresses: [127.0.0.1]${mode === 'passthrough' ? '' : ', upstream: http1'} }`);
  return `networkPolicy:\n  name: bench\n  egress:\n    allow:\n${rules.join('\n')}\n    deny:\n      - { domain: "*" }\n  inspection: { tlsDecrypt: true, scanForPII: ${String(mode === 'searched')} }\n`;
}
const sandboxText = 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: bench }\nspec:\n  isolation: { network: restricted, filesystem: read-only, syscalls: minimal }\n';
const nobody: Approver = { ask: async () => ({ verdict: 'unavailable', reason: 'nobody' }), consumeGrant: async () => false, pending: () => undefined };

async function proxy(plan: ProxyPlan): Promise<Ready> {
  const now = testClock.now();
  const policy = compilePolicy({ sandboxPolicy: loadSandboxPolicy(sandboxText, 's.yaml'), network: loadNetworkPolicy(policyText(plan.upstreamPort, plan.mode ?? 'searched'), 'n.yaml'), role: '' }, 1);
  const root = createRootCa('bench', now);
  const sink = new LinkSink({ clock: testClock, ids: testIds });
  sink.attach(connect(plan.ledgerPath));
  const egress = createEgress({
    sandbox: 'sbx_bench', tcp: { host: '0.0.0.0', port: 0 }, dns: { host: '127.0.0.1', port: 0 }, policy: () => policy, decider: { decide: (request) => decide(policy, request), version: 1 },
    config: { role: '', task: '', version: 1, ca: createIntermediate(root, policy.network.interceptNames, now), credentials: [], upstreams: [{ host, addresses: ['127.0.0.1'], caPem: plan.caPem, http1: true }], patience: { httpMs: 1000 } },
    approver: nobody, audit: sink, clock: testClock, ids: testIds, local: new Map(), limits: { handshakesPerSecond: 100_000, helloMs: 60_000, headMs: 60_000 },
    destination: (socket) => ({ address: (socket.localAddress ?? '').replace(/^127\.(\d+)\./, (_, half: string) => `198.${half}.`), port: plan.upstreamPort }),
  });
  await egress.ready;
  process.on('message', (message) => {
    if (message === 'cpu') {
      const { user, system } = process.cpuUsage();
      process.send?.({ cpu: user + system, stats: egress.stats(), sink: sink.stats() });
    }
  });
  const bound = egress.bound();
  return { port: bound.tcp, dns: bound.dns, caPem: root.certPem };
}

async function main(): Promise<void> {
  const role = process.argv[2];
  if (role === 'upstream') process.send?.(await upstream());
  else if (role === 'files') process.send?.(await files(host));
  else if (role === 'record') process.send?.(await record());
  else process.once('message', (plan) => void (role === 'bare' ? bare : proxy)(plan as ProxyPlan).then((ready) => process.send?.(ready)));
  process.once('disconnect', () => process.exit(0));
}

if (import.meta.main) await main();
