/** The Privacy Router of one sandbox: the only way from an agent to a model. */
import { timingSafeEqual, hash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ActionRequest, SandboxConfig } from '@nemoclaw/contract';
import { emptyHistory, unlabelled } from '@nemoclaw/contract';
import { parseJson, readBody } from './body.ts';
import { chatDialect } from './chat/dialect.ts';
import type { Answer, Dialect, Turn } from './dialect.ts';
import { refusedEvent } from './events.ts';
import { Exchange, type Surroundings } from './exchange.ts';
import { sendError, sendJson, StreamListener, WholeListener, type Listener } from './listener.ts';
import { defaultLimits, type FilledParts, type RouterParts } from './parts.ts';
import { eligible, Pools } from './providers.ts';
import { denied, malformed, RequestRefused } from './refused.ts';
import { Sealed } from './sealed.ts';
import { Turns } from './turns.ts';

export interface Router {
  /** Answers one request to inference.local. Never throws. */
  handle(req: IncomingMessage, res: ServerResponse): void;
  /** Withdraws open questions and closes connections to providers. */
  close(): Promise<void>;
}

/** How long the end of a former connection may take to be noticed when its turn is repeated, ms. */
const detachMs = 500;

/** A router for `parts.sandbox`. */
export function routerFor(parts: RouterParts): Router {
  const filled: FilledParts = { ...parts, limits: { ...defaultLimits, ...parts.limits } };
  const dialect: Dialect = chatDialect(filled.limits.maxDepth);
  const pools = new Pools(filled.limits.upstreamSilenceMs);
  const turns = new Turns(dialect, filled.limits.maxHeld);
  const around: Surroundings = { parts: filled, dialect, pools, sealed: new Sealed(), turns };
  const live = new Set<Exchange>();
  let closed = false;
  let open = 0;

  /** Counts from the first byte of the body to the answer, so that one sandbox cannot fill the worker. */
  async function counted(req: IncomingMessage, res: ServerResponse, config: SandboxConfig): Promise<void> {
    checkKey(req, config.placeholderKey);
    if (open >= filled.limits.maxOpen) {
      throw new RequestRefused({ status: 429, code: 'too_many', rule: 'router.open', message: 'Too many model requests are open.', hint: 'Wait for their answers.' });
    }
    open += 1;
    try {
      await answer(req, res, config);
    } finally {
      open -= 1;
    }
  }

  async function answer(req: IncomingMessage, res: ServerResponse, config: SandboxConfig): Promise<void> {
    if (closed) throw denied('closed', 'The sandbox is being closed.', 'Stop.');
    if (req.method === 'GET' && req.url === '/v1/models') {
      const models = config.providers.map((provider) => ({ id: provider.model, owner: provider.name }));
      sendJson(res, 200, dialect.models(models, Math.floor(filled.clock.now() / 1000)));
      return;
    }
    if (req.method !== 'POST' || req.url !== dialect.turnPath) {
      throw denied('path', 'This request is not served here.', `Use POST ${dialect.turnPath} or GET /v1/models.`);
    }
    checkForm(req);
    const turn = dialect.readTurn(parseJson(await readBody(req, filled.limits.maxBody), filled.limits.maxDepth));
    for (const url of turn.fetches) checkFetch(filled, config, url);
    const former = turns.find(turn, config.task);
    if (former && (await former.whenAbandoned(detachMs)) && former.state !== 'over') {
      former.attach(listenerFor(req, res, turn, former.answer, config));
      return;
    }
    const providers = eligible(config.providers, filled.labels.current(), turn.model);
    const [first] = providers;
    if (!first) {
      throw denied('sensitivity', `Data labelled ${filled.labels.current()} may only go to a local model, and none is configured.`, 'Ask your operator to configure a local model provider.');
    }
    const fresh: Answer = {
      id: filled.ids.next('chatcmpl'),
      created: Math.floor(filled.clock.now() / 1000),
      model: first.model,
      deltas: [],
      calls: [],
      finish: undefined,
      usage: undefined,
      tokens: { prompt: 0, completion: 0 },
    };
    const exchange = new Exchange(around, config, turn, fresh);
    exchange.attach(listenerFor(req, res, turn, fresh, config));
    live.add(exchange);
    await exchange.run(providers);
    live.delete(exchange);
  }

  function listenerFor(req: IncomingMessage, res: ServerResponse, turn: Turn, given: Answer, config: SandboxConfig): Listener {
    const writer = dialect.writer(given, turn.wantsUsage);
    return turn.stream ? new StreamListener(req, res, writer, config.patience.keepAliveMs) : new WholeListener(req, res, writer);
  }

  return {
    handle(req, res) {
      let task = '';
      try {
        const config = parts.config();
        task = config.task;
        counted(req, res, config).catch((error: unknown) => refuse(filled, task, res, error));
      } catch (error) {
        refuse(filled, task, res, error);
      }
    },
    async close() {
      closed = true;
      turns.close();
      for (const exchange of live) exchange.withdraw();
      await pools.close();
    },
  };
}

function refuse(parts: FilledParts, task: string, res: ServerResponse, error: unknown): void {
  if (!(error instanceof RequestRefused)) {
    if (!res.destroyed) sendError(res, 500, 'The request failed inside the router.', 'internal');
    return;
  }
  parts.audit.emit(refusedEvent(parts, task, error));
  const { status, rule } = error.refusal;
  sendJson(res, status, error.body(), { 'x-nemoclaw-rule': rule, ...(status === 413 ? { connection: 'close' } : {}) });
}

/** The placeholder says which sandbox speaks; compared in constant time. Throws RequestRefused 401. */
function checkKey(req: IncomingMessage, expected: string): void {
  const [, given] = /^Bearer ([^\s]{1,512})$/i.exec(req.headers.authorization ?? '') ?? [];
  const digest = (text: string): Buffer => hash('sha256', text, 'buffer');
  if (expected === '' || given === undefined || !timingSafeEqual(digest(given), digest(expected))) {
    throw new RequestRefused({ status: 401, code: 'invalid_api_key', rule: 'router.key', message: 'The placeholder key is missing or wrong.', hint: 'Use the key that stands in the environment of the sandbox.' });
  }
}

function checkForm(req: IncomingMessage): void {
  const type = req.headers['content-type'] ?? 'application/json';
  if (!/^application\/json\s*(;\s*charset=utf-8\s*)?$/i.test(type)) throw malformed('The request must be application/json in UTF-8.');
  if ((req.headers['content-encoding'] ?? 'identity') !== 'identity') throw malformed('The request must not be compressed.');
}

/** A URL that the provider would fetch is decided as if the sandbox fetched it. Throws RequestRefused 403. */
function checkFetch(parts: FilledParts, config: SandboxConfig, url: URL): void {
  const tls = url.protocol === 'https:';
  const request: ActionRequest = {
    sandbox: parts.sandbox,
    role: config.role,
    task: config.task,
    source: 'http',
    action: '',
    resource: { kind: 'http', host: url.hostname, port: url.port === '' ? (tls ? 443 : 80) : Number(url.port), method: 'GET', path: url.pathname, query: [...url.searchParams], tls },
    params: new Map(),
    labels: unlabelled,
    provenance: new Map(),
    history: emptyHistory,
  };
  const decision = parts.decider.decide(request);
  if (decision.verdict === 'allow') return;
  const message = `The provider may not fetch from ${url.hostname}: ${decision.reason}`;
  throw new RequestRefused({ status: 403, code: 'fetch', rule: decision.rules[0]?.id ?? 'router.fetch', message, hint: 'Send the content itself as a data: URL.' }).inside('messages');
}
