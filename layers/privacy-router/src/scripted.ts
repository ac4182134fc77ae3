/** For tests and benchmarks: a scripted provider, a small policy and a router between them, all on loopback. */
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ActionRequest, Approver, Decision, HoldOutcome, HoldRequest, LedgerEvent, ProviderPlan, SandboxConfig, Sensitivity, Verdict } from '@nemoclaw/contract';
import { unlabelled } from '@nemoclaw/contract';
import { canonicalHash } from './canonical.ts';
import type { Limits, RouterParts } from './parts.ts';
import { routerFor, type Router } from './router.ts';

/** One request as the provider got it. */
export interface Seen {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

/** What the provider does with its next request. */
export type Script = (res: ServerResponse, seen: Seen) => void;

export class Provider {
  readonly seen: Seen[] = [];
  readonly scripts: Script[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Provider> {
    const server = createServer((req, res) => {
      const chunks: Buffer[] = [];
      req.on('data', (chunk: Buffer) => chunks.push(chunk));
      req.on('end', () => {
        const seen: Seen = { path: req.url ?? '', headers: req.headers, body: JSON.parse(Buffer.concat(chunks).toString()) };
        provider.seen.push(seen);
        const script = provider.scripts.length > 1 ? provider.scripts.shift() : provider.scripts[0];
        if (script) script(res, seen);
        else res.writeHead(500).end();
      });
    });
    const provider = new Provider(server);
    await listen(server);
    return provider;
  }

  plan(more: Partial<ProviderPlan> = {}): ProviderPlan {
    return { name: 'scripted', kind: 'compatible', dialect: 'openai-chat', baseUrl: `http://127.0.0.1:${portOf(this.#server)}/v1`, apiKey: 'sk-outside', model: 'real-model', location: 'local', ...more };
  }

  close(): Promise<void> {
    return closeServer(this.#server);
  }
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
}
function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}
function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** A stream of these chunks, in pieces of `cut` bytes (0: whole). */
export function streamOf(events: readonly unknown[], cut = 0): Script {
  return (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const bytes = sseBytes(events);
    if (cut === 0) res.end(bytes);
    else {
      let at = 0;
      const next = (): void => {
        if (at >= bytes.length) {
          res.end();
          return;
        }
        res.write(bytes.subarray(at, at + cut));
        at += cut;
        setImmediate(next);
      };
      next();
    }
  };
}

/** The bytes of a chat stream that ends with [DONE]. */
export function sseBytes(events: readonly unknown[]): Buffer {
  return Buffer.from(`${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`);
}

/** A chat chunk as a provider sends it. */
export function chunk(delta: unknown, finish: string | null = null): unknown {
  return { id: 'up-1', object: 'chat.completion.chunk', created: 1, model: 'real-model', choices: [{ index: 0, delta, finish_reason: finish }] };
}
export const usageChunk = { id: 'up-1', object: 'chat.completion.chunk', created: 1, model: 'real-model', choices: [], usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 } };

/** The chunk that carries one whole tool call. */
export function callChunk(index: number, id: string, name: string, args: string): unknown {
  return chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: args } }] });
}

/** A whole answer. */
export function wholeOf(message: unknown, finish = 'stop'): Script {
  return (res) => {
    const body = JSON.stringify({ id: 'up-1', object: 'chat.completion', created: 1, model: 'real-model', choices: [{ index: 0, message, finish_reason: finish }], usage: usageChunk.usage });
    res.writeHead(200, { 'content-type': 'application/json' }).end(body);
  };
}

/** Decides by the name of the tool: `crm_*` allow, `ask_*` escalate, `bash` and `read` local, all others deny. */
function verdictOf(name: string): Verdict {
  if (name.startsWith('crm_') || name === 'bash' || name === 'read') return 'allow';
  return name.startsWith('ask_') ? 'escalate' : 'deny';
}

/** An approver whose answers the test gives. */
export class ScriptedApprover implements Approver {
  readonly asked: { readonly hold: HoldRequest; readonly signal: AbortSignal; readonly answer: (outcome: HoldOutcome) => void }[] = [];
  readonly grants = new Set<string>();
  #waiters: (() => void)[] = [];

  ask(hold: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> {
    return new Promise((resolve) => {
      this.asked.push({ hold, signal, answer: resolve });
      for (const wake of this.#waiters.splice(0)) wake();
    });
  }
  async consumeGrant(_sandbox: string, key: string): Promise<boolean> {
    return this.grants.delete(key);
  }
  pending(): string | undefined {
    return 'apr_pending';
  }
  /** The n-th question, from 1; waits for it. */
  async question(n: number): Promise<(typeof this.asked)[number]> {
    for (;;) {
      const found = this.asked[n - 1];
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** The request ended before its answer did. */
  readonly broken: boolean;
}

/** A router with its provider, its policy and somebody to ask. */
export class Stage {
  readonly provider: Provider;
  readonly approver = new ScriptedApprover();
  readonly events: LedgerEvent[] = [];
  label: Sensitivity = 'public';
  config: SandboxConfig;
  /** Overrides the verdict of a tool or host. */
  readonly verdicts = new Map<string, Verdict>();
  commitFails = false;
  readonly #server: Server;
  readonly #router: Router;

  private constructor(provider: Provider, limits: Partial<Limits>) {
    this.provider = provider;
    this.config = {
      sandbox: 'sbx-1', name: 'demo', role: 'support', task: 'task-1', version: 1, policy: '', ca: { certPem: '', keyPem: '', rootPem: '' },
      providers: [provider.plan()], placeholderKey: 'placeholder', credentials: [], upstreams: [], label: 'public',
      patience: { streamMs: 60_000, httpMs: 1000, keepAliveMs: 60_000 },
    };
    this.#router = routerFor(this.#parts(limits));
    this.#server = createServer((req, res) => this.#router.handle(req, res));
  }

  static async open(limits: Partial<Limits> = {}): Promise<Stage> {
    const stage = new Stage(await Provider.start(), { retryPauseMs: 1, ...limits });
    await listen(stage.#server);
    return stage;
  }

  get port(): number {
    return portOf(this.#server);
  }

  #parts(limits: Partial<Limits>): RouterParts {
    let count = 0;
    return {
      sandbox: 'sbx-1',
      config: () => this.config,
      decider: { version: 1, decide: (request) => this.#decide(request) },
      approver: this.approver,
      audit: {
        emit: (event) => void this.events.push(event),
        commit: async (event) => {
          if (this.commitFails) throw new Error('the record is gone');
          this.events.push(event);
        },
      },
      labels: { current: () => this.label, raise: async (to) => void (this.label = to) },
      clock: { now: () => Date.parse('2026-01-01T00:00:00Z'), monotonic: () => performance.now() },
      ids: { next: (prefix) => `${prefix}_${++count}` },
      resolveTool: (name, args) => ({ action: name.replace('_', '.'), params: args, labels: { ...unlabelled, reversibility: 'fully-reversible' }, local: name === 'bash' || name === 'read', attributes: ['amount', 'note', 'deep'] }),
      requestKey: (request) => canonicalHash([request.task, request.action, [...request.params]]),
      redact: (text) => text.replaceAll(/SECRET-\w+/g, '[secret]'),
      limits,
    };
  }

  #decide(request: ActionRequest): Decision {
    const { resource } = request;
    const name = resource.kind === 'tool' ? resource.name : resource.kind === 'http' ? resource.host : '';
    const verdict = this.verdicts.get(name) ?? verdictOf(name);
    return { verdict, action: request.action, rules: [{ id: `test.${verdict}` }], reason: `It is ${verdict}.`, hint: 'Ask for something else.', intent: request.labels, policyVersion: 1, decidedBy: 'table', micros: 1 };
  }

  /** Sends a request as an agent; `watch` sees the text as it comes, `abort` hangs up. */
  send(body: unknown, options: { readonly path?: string; readonly method?: string; readonly headers?: Record<string, string>; readonly watch?: (text: string) => void; readonly abort?: AbortSignal } = {}): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const req = httpRequest(
        {
          host: '127.0.0.1', port: this.port, path: options.path ?? '/v1/chat/completions', method: options.method ?? 'POST', agent: false,
          headers: { authorization: 'Bearer placeholder', 'content-type': 'application/json', ...options.headers },
        },
        (res) => {
          let text = '';
          const done = (broken: boolean): void => resolve({ status: res.statusCode ?? 0, headers: res.headers, text, broken });
          res.setEncoding('utf8');
          res.on('data', (part: string) => {
            text += part;
            options.watch?.(text);
          });
          res.on('end', () => done(false));
          res.on('error', () => done(true));
        },
      );
      req.on('error', (error) => (options.abort?.aborted === true ? resolve({ status: 0, headers: {}, text: '', broken: true }) : reject(error)));
      options.abort?.addEventListener('abort', () => req.destroy());
      req.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async close(): Promise<void> {
    await this.#router.close();
    await closeServer(this.#server);
    await this.provider.close();
  }
}

/** A request that offers these tools. */
export function ask(messages: readonly unknown[], tools: readonly string[] = [], more: Record<string, unknown> = {}): Record<string, unknown> {
  const offered = tools.map((name) => ({ type: 'function', function: { name, description: name, parameters: { type: 'object', properties: {} } } }));
  return { model: 'any', messages, ...(offered.length > 0 ? { tools: offered } : {}), stream: true, ...more };
}

export interface ReadCall {
  readonly index: number;
  readonly id: string;
  readonly name: string;
  readonly args: string;
}

/** What an agent makes of a stream: text, calls, finish reason, usage. */
export function readStream(text: string): { readonly content: string; readonly calls: ReadCall[]; readonly finish: string | undefined; readonly usage: unknown; readonly done: boolean; readonly error: unknown; readonly chunks: Record<string, unknown>[] } {
  const out = { content: '', calls: [] as ReadCall[], finish: undefined as string | undefined, usage: undefined as unknown, done: false, error: undefined as unknown, chunks: [] as Record<string, unknown>[] };
  for (const block of text.split('\n\n')) {
    if (block === '') continue;
    const data = block.slice('data: '.length);
    if (data === '[DONE]') {
      out.done = true;
      continue;
    }
    const event = JSON.parse(data);
    out.chunks.push(event);
    out.error ??= event.error;
    out.usage ??= event.usage;
    const choice = event.choices?.[0];
    if (!choice) continue;
    out.content += choice.delta.content ?? '';
    out.finish = choice.finish_reason ?? out.finish;
    for (const call of choice.delta.tool_calls ?? []) out.calls.push({ index: call.index, id: call.id, name: call.function.name, args: call.function.arguments });
  }
  return out;
}
