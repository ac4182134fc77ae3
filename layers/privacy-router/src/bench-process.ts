/** The processes of the router's benchmark: a provider that answers at once, a ledger, a bare hop, and a router with 200 rules between them. Started by `bench.ts`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { connect, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { catalogueSchema, networkPolicySchema, sandboxPolicySchema, type SandboxConfig } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { LedgerReader, LinkSink, openLedger, redactor, serveLink } from '@nemoclaw/ledger';
import { Agent } from 'undici';
import { createRouter } from './create.ts';

const clock = { now: () => Date.now(), monotonic: () => performance.now() };
let count = 0;
const ids = { next: (prefix: string) => `${prefix}_${process.pid}_${++count}` };

/** Says where it listens, then works until the parent goes. */
function serve(server: Server): void {
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.send?.(typeof address === 'object' && address ? address.port : 0);
  });
}

function provider(): void {
  const answer = JSON.stringify({ id: 'a', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'x'.repeat(800) }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1 } });
  serve(
    createServer((req, res) => {
      req.resume();
      req.on('end', () => res.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length }).end(answer));
    }),
  );
}

async function ledger(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-bench-'));
  process.prependListener('disconnect', () => rmSync(dir, { recursive: true, force: true }));
  const writer = await openLedger({ dir: join(dir, 'ledger'), redact: redactor(), sign: () => Promise.resolve(), clock, ids, onFailure: (error) => process.send?.(String(error)) });
  const reader = new LedgerReader(writer);
  const path = join(dir, 'link.sock');
  createNetServer((socket) => void serveLink(socket, { writer, reader, name: 'worker', mayRead: false, now: clock.now })).listen(path, () => process.send?.(path));
}

/** The least a proxy in Node does: parse the body, pass it on, pass the answer back. */
function hop(providerPort: number): void {
  const pool = new Agent({ connections: 64 });
  const failed = (res: ServerResponse): void => void res.writeHead(502).end();
  serve(
    createServer((req, res) => {
      const chunks: Buffer[] = [];
      req.on('data', (chunk: Buffer) => chunks.push(chunk));
      req.on('end', () => {
        const body = Buffer.concat(chunks);
        JSON.parse(body.toString());
        pool.dispatch(
          { origin: `http://127.0.0.1:${providerPort}`, path: '/v1/chat/completions', method: 'POST', headers: { 'content-type': 'application/json', 'content-length': String(body.length) }, body },
          {
            onRequestStart: () => {},
            onResponseStart: (_c, status, headers) => void res.writeHead(status, { 'content-type': String(headers['content-type']), 'content-length': String(headers['content-length']) }),
            onResponseData: (_c, chunk) => void res.write(chunk),
            onResponseEnd: () => void res.end(),
            onResponseError: () => failed(res),
          },
        );
      });
    }),
  );
}

function router(providerPort: number, ledgerPath: string): void {
  const names = Array.from({ length: 60 }, (_, i) => i);
  const policy = compilePolicy(
    {
      role: '',
      sandboxPolicy: sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 'bench' }, spec: { isolation: {}, permissions: { allowedAPIs: names.map((i) => `app${i}.read`), deniedAPIs: ['admin.*'] } } }),
      network: networkPolicySchema.parse({ networkPolicy: { name: 'bench', egress: { allow: names.map((i) => ({ domain: `host${i}.example` })), deny: [{ domain: '*' }] } } }),
      catalogue: catalogueSchema.parse({ actions: names.map((i) => ({ name: `app${i}.read`, match: [{ tool: `app${i}_read` }] })) }),
    },
    1,
  );
  const config: SandboxConfig = {
    sandbox: 'bench', name: 'bench', role: '', task: 't', version: 1, policy: '', ca: { certPem: '', keyPem: '', rootPem: '' }, credentials: [], upstreams: [], label: 'public', placeholderKey: 'placeholder',
    providers: [{ name: 'p', kind: 'compatible', dialect: 'openai-chat', baseUrl: `http://127.0.0.1:${providerPort}/v1`, apiKey: 'sk-bench', model: 'm', location: 'local' }],
    patience: { streamMs: 60_000, httpMs: 1000, keepAliveMs: 10_000 },
  };
  const audit = new LinkSink({ clock, ids });
  audit.attach(connect(ledgerPath));
  const made = createRouter({
    sandbox: 'bench',
    config: () => config,
    policy: () => policy,
    decider: { version: 1, decide: (request) => decide(policy, request) },
    approver: { ask: async () => ({ verdict: 'unavailable', reason: 'Nobody is here.' }), consumeGrant: async () => false, pending: () => undefined },
    audit,
    labels: { current: () => 'public', raise: async () => {} },
    clock,
    ids,
  });
  serve(createServer((req, res) => made.handle(req, res)));
}

const [, , role, first, second] = process.argv;
process.on('disconnect', () => process.exit(0));
if (role === 'provider') provider();
else if (role === 'ledger') await ledger();
else if (role === 'hop') hop(Number(first));
else if (role === 'router') router(Number(first), second ?? '');
