/** Decides one request from outside: to which sandbox it goes, by which rule, whether its caller is proven; then carries it there. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AuditSink, Clock, LedgerEvent } from '@nemoclaw/contract';
import { safeLine } from '@nemoclaw/contract';
import { compilePath, matchPath, strictSegments } from '@nemoclaw/decide';
import { checkRequest, isProblem } from '../http/request-check.ts';
import type { CheckedRequest } from '../http/request-check.ts';
import { TokenBucket } from '../fairness/token-bucket.ts';
import { callerOf } from './caller.ts';
import { forward } from './forward.ts';
import { ProofCheck } from './proof.ts';
import type { IngressRule } from './rules.ts';

export interface IngressSandbox {
  readonly id: string;
  /** First part of the path; '' where nothing else is behind this address: then paths are the rules' own. */
  readonly name: string;
  readonly rules: readonly IngressRule[];
  /** A connection to a port on its loopback. */
  connect(port: number): Promise<Duplex>;
  /** Why the body of an answer must not leave the sandbox, undefined if it may. */
  withhold(body: Buffer): string | undefined;
}

export interface OuterAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
  /** Seconds; 0: not said. */
  readonly retryAfter: number;
  /** Nothing more is read from this connection. */
  readonly last: boolean;
}

interface Open {
  sandbox: IngressSandbox;
  patterns: readonly ReturnType<typeof compilePath>[];
  /** Of all tries, proven or not. */
  readonly tries: TokenBucket;
  rates: readonly (TokenBucket | undefined)[];
}

const bodyBytes = 1 << 20;
const triesPerSecond = 100;
const refusalsPerSecond = 5;
const maxUnderWay = 64;

const json = (status: number, error: string, last = false, retryAfter = 0): OuterAnswer => ({ status, contentType: 'application/json', body: Buffer.from(`${JSON.stringify({ error })}\n`), retryAfter, last });
// One answer for every no: who has no proof learns neither which sandboxes there are nor which paths.
const notFound = json(404, 'not_found', true);

export class Admission {
  readonly #ports: { readonly clock: Clock; readonly audit: AuditSink; readonly recording: () => boolean };
  readonly #byId = new Map<string, Open>();
  readonly #proofs: ProofCheck;
  readonly #told: TokenBucket;
  #untold = 0;
  #underWay = 0;

  constructor(ports: { readonly clock: Clock; readonly audit: AuditSink; readonly recording: () => boolean }) {
    this.#ports = ports;
    this.#proofs = new ProofCheck(ports.clock);
    this.#told = new TokenBucket(ports.clock, refusalsPerSecond, 4 * refusalsPerSecond);
  }

  set(id: string, sandbox: IngressSandbox | undefined): void {
    if (sandbox === undefined || sandbox.rules.length === 0) {
      this.#byId.delete(id);
      return;
    }
    const { clock } = this.#ports;
    const former = this.#byId.get(id);
    const rates = sandbox.rules.map((rule, i) => {
      const old = former?.sandbox.rules[i];
      // An unrelated change of the policy gives nobody new tokens.
      if (old && former.rates[i] && JSON.stringify([old.id, old.path, old.rate]) === JSON.stringify([rule.id, rule.path, rule.rate])) return former.rates[i];
      return rule.rate === null ? undefined : new TokenBucket(clock, (rule.rate.count * 1000) / rule.rate.windowMs, rule.rate.count);
    });
    this.#byId.set(id, { sandbox, patterns: sandbox.rules.map((rule) => compilePath(rule.path)), tries: former?.tries ?? new TokenBucket(clock, triesPerSecond, triesPerSecond), rates });
  }

  /** PEM of every authority that a rule names. */
  authorities(): string[] {
    return [...this.#byId.values()].flatMap(({ sandbox }) => sandbox.rules.flatMap(({ proof }) => (proof.kind === 'mtls' ? [proof.caPem] : [])));
  }

  /** `goOn` answers `Expect: 100-continue`. Never throws for what a caller sends. */
  async answer(req: IncomingMessage, goOn: () => void): Promise<OuterAnswer> {
    const from = req.socket.remoteAddress ?? '?';
    const checked = checkRequest(req, placeOf(req));
    if (isProblem(checked)) return this.#no('', from, req, `malformed: ${checked.why}`, json(checked.status, 'bad_request', true));
    const found = this.#route(checked);
    if (found === undefined) return this.#no('', from, req, 'no sandbox or no plain path');
    const { open, path, target } = found;
    const { sandbox } = open;
    const rules = sandbox.rules.flatMap((rule, i) => (matchPath(open.patterns[i] ?? compilePath(rule.path), strictSegments(path)) ? [{ rule, rate: open.rates[i] }] : []));
    if (rules.length === 0) return this.#no(sandbox.id, from, req, 'no rule for this path');
    if (!open.tries.take()) return this.#no(sandbox.id, from, req, 'too many tries', json(429, 'too_many_requests', true, 1));
    if (this.#underWay >= maxUnderWay) return json(503, 'busy', true, 1);
    this.#underWay += 1;
    try {
      if (req.headers.expect !== undefined) goOn();
      const body = await readBody(req);
      if (body === undefined) return this.#no(sandbox.id, from, req, `the body is larger than ${bodyBytes} bytes`, json(413, 'too_large', true));
      const reasons: string[] = [];
      for (const { rule, rate } of rules) {
        const unproven = await this.#proofs.check(rule, callerOf(req, body));
        // The rule, or the sandbox, may be gone since: the body and the proof took their time.
        if (unproven === undefined && !this.#stands(sandbox.id, rule)) return this.#no(sandbox.id, from, req, 'the policy changed');
        if (unproven === undefined) return await this.#admit(sandbox, rule, rate, checked, target, body, from);
        reasons.push(`${rule.id}: ${unproven}`);
      }
      return this.#no(sandbox.id, from, req, reasons.join('; '));
    } finally {
      this.#underWay -= 1;
    }
  }

  #stands(id: string, rule: IngressRule): boolean {
    const text = JSON.stringify(rule);
    return this.#byId.get(id)?.sandbox.rules.some((now) => JSON.stringify(now) === text) ?? false;
  }

  async #admit(sandbox: IngressSandbox, rule: IngressRule, rate: TokenBucket | undefined, checked: CheckedRequest, target: string, body: Buffer, from: string): Promise<OuterAnswer> {
    const { audit, recording } = this.#ports;
    const tell = (verdict: 'allow' | 'deny', message: string, data: Readonly<Record<string, unknown>> = {}): void => audit.emit(this.#event(sandbox.id, from, checked.method, target, verdict, message, { rule: rule.id, source: rule.source, ...data }));
    if (!recording()) return json(503, 'unavailable', true, 5);
    if (rate && !rate.take()) {
      tell('deny', `over its rate (${rule.id})`);
      return json(429, 'too_many_requests', false, Math.max(1, Math.ceil((rule.rate?.windowMs ?? 1000) / 1000 / (rule.rate?.count ?? 1))));
    }
    tell('allow', `admitted by ${rule.id}`, { proof: rule.proof.kind, bytes: body.length });
    try {
      const to = await sandbox.connect(rule.port);
      const answer = await forward(to, rule.port, checked, target, passedOn(checked.headers, rule), body);
      const withheld = answer.body.length > 0 ? sandbox.withhold(answer.body) : undefined;
      if (withheld === undefined) return { ...answer, retryAfter: 0, last: false };
      tell('deny', `the body of the answer was withheld: ${withheld}`);
      return { status: answer.status, contentType: answer.contentType, body: Buffer.alloc(0), retryAfter: 0, last: false };
    } catch (error) {
      tell('deny', `could not be carried into the sandbox: ${error instanceof Error ? error.message.slice(0, 200) : 'unknown error'}`);
      return json(502, 'no_answer');
    }
  }

  #route(checked: CheckedRequest): { readonly open: Open; readonly path: string; readonly target: string } | undefined {
    const [path = ''] = checked.paths;
    // A path that some server might read otherwise belongs to no rule here.
    if (checked.paths.length !== 1 || !checked.target.startsWith(path)) return undefined;
    const [, name = '', ...rest] = path.split('/');
    const alone = [...this.#byId.values()].find((open) => open.sandbox.name === '');
    if (alone) return { open: alone, path, target: checked.target };
    for (const open of this.#byId.values()) if (open.sandbox.name === name && rest.length > 0) return { open, path: `/${rest.join('/')}`, target: checked.target.slice(name.length + 1) };
    return undefined;
  }

  #no(sandbox: string, from: string, req: IncomingMessage, why: string, answer = notFound): OuterAnswer {
    if (!this.#told.take()) {
      this.#untold += 1;
      return answer;
    }
    const data = this.#untold > 0 ? { notTold: this.#untold } : {};
    this.#untold = 0;
    this.#ports.audit.emit(this.#event(sandbox, from, req.method ?? '', (req.url ?? '').split('?')[0] ?? '', 'deny', why, data));
    return answer;
  }

  #event(sandbox: string, from: string, method: string, path: string, verdict: 'allow' | 'deny', message: string, data: Readonly<Record<string, unknown>>): LedgerEvent {
    const shown = safeLine(path.split('?')[0] ?? '', 300);
    return {
      time: this.#ports.clock.now(), class: 'httpActivity', activity: 99, severity: verdict === 'deny' ? 3 : 1, sandbox, layer: 'proxy', verdict,
      message: `ingress ${safeLine(method, 24)} ${shown} from ${safeLine(from, 64)}: ${message}`, data: { direction: 'ingress', method: safeLine(method, 24), path: shown, from: safeLine(from, 64), ...data },
    };
  }
}

/** Whatever name the caller used for this machine: it decides nothing, and the sandbox is told `localhost`. */
function placeOf(req: IncomingMessage): { readonly name: string; readonly port: number; readonly tls: boolean } {
  const [name = '', port] = (req.headers.host ?? '').toLowerCase().split(':');
  return { name, port: Number(port ?? 443), tls: 'encrypted' in req.socket };
}

/** Proofs stay outside: with a token or a signature the agent could speak for its caller elsewhere. */
function passedOn(headers: readonly string[], rule: IngressRule): string[] {
  const dropped = new Set(['content-length', 'forwarded', 'via', ...(rule.proof.kind === 'jwt' ? ['authorization'] : []), ...(rule.proof.kind === 'hmac' ? [rule.proof.header.toLowerCase()] : [])]);
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase();
    if (!dropped.has(name) && !name.startsWith('x-forwarded-') && !name.startsWith('x-nemoclaw-')) out.push(headers[i] ?? '', headers[i + 1] ?? '');
  }
  return [...out, 'x-nemoclaw-rule', rule.id];
}

async function readBody(req: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of req as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > bodyBytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
