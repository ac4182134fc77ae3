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
  /** Calls whose body or answer is awaited. */
  readonly underWay: { count: number };
}

const bodyBytes = 1 << 20;
const triesPerSecond = 100;
const refusalsPerSecond = 5;
/** Calls into one sandbox. */
const maxUnderWay = 64;
/** ms for a whole body. */
const bodyMs = 10_000;

const empty: Buffer = Buffer.alloc(0);
const tooLarge = `the body is larger than ${bodyBytes} bytes`;

interface Admitted {
  readonly sandbox: IngressSandbox;
  readonly rule: IngressRule;
  /** Of every rule for this path: a caller may bring more than the one that admits it. */
  readonly proofs: readonly IngressRule['proof'][];
  readonly rate: TokenBucket | undefined;
  readonly checked: CheckedRequest;
  readonly target: string;
  readonly body: Buffer;
  readonly from: string;
  /** Where nothing of it reached the sandbox. */
  readonly giveBack: () => void;
}

const json = (status: number, error: string, last = false, retryAfter = 0): OuterAnswer => ({ status, contentType: 'application/json', body: Buffer.from(`${JSON.stringify({ error })}\n`), retryAfter, last });
// One answer for every no: who has no proof learns neither which sandboxes there are nor which paths.
const notFound = json(404, 'not_found', true);

export class Admission {
  readonly #ports: { readonly clock: Clock; readonly audit: AuditSink; readonly recording: () => boolean };
  readonly #byId = new Map<string, Open>();
  readonly #proofs: ProofCheck;
  readonly #told: TokenBucket;
  #untold = 0;

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
    this.#byId.set(id, { sandbox, patterns: sandbox.rules.map((rule) => compilePath(rule.path)), tries: former?.tries ?? new TokenBucket(clock, triesPerSecond, triesPerSecond), rates, underWay: former?.underWay ?? { count: 0 } });
  }

  /** PEM of every authority that a rule names. */
  authorities(): string[] {
    return [...this.#byId.values()].flatMap(({ sandbox }) => sandbox.rules.flatMap(({ proof }) => (proof.kind === 'mtls' ? [proof.caPem] : [])));
  }

  /** `goOn` answers `Expect: 100-continue`. Never throws for what a caller sends. */
  async answer(req: IncomingMessage, goOn: () => void): Promise<OuterAnswer> {
    const from = req.socket.remoteAddress ?? '?';
    const checked = checkRequest({ method: req.method, url: req.url, httpVersion: req.httpVersion, rawHeaders: withoutClaims(req.rawHeaders) }, placeOf(req));
    if (isProblem(checked)) return this.#no('', from, req, `malformed: ${checked.why}`, json(checked.status, 'bad_request', true));
    const found = this.#route(checked);
    if (found === undefined) return this.#no('', from, req, 'no sandbox or no plain path');
    const { open, path, target } = found;
    const { sandbox } = open;
    const rules = sandbox.rules.flatMap((rule, i) => (matchPath(open.patterns[i] ?? compilePath(rule.path), strictSegments(path)) ? [{ rule, rate: open.rates[i] }] : []));
    if (rules.length === 0) return this.#no(sandbox.id, from, req, 'no rule for this path');
    if (!open.tries.take()) return this.#no(sandbox.id, from, req, 'too many tries', json(429, 'too_many_requests', true, 1));
    if (open.underWay.count >= maxUnderWay) return this.#no(sandbox.id, from, req, 'too many calls at once', json(503, 'busy', true, 1));
    open.underWay.count += 1;
    try {
      const reasons: string[] = [];
      const proven = async (tried: typeof rules, body: Buffer): Promise<(typeof rules)[number] | undefined> => {
        for (const one of tried) {
          const unproven = await this.#proofs.check(one.rule, callerOf(req, body));
          if (unproven === undefined) return one;
          reasons.push(`${one.rule.id}: ${unproven}`);
        }
        return undefined;
      };
      // Who has to prove nothing by a body is heard only then: nobody else keeps a place by sending one slowly.
      const signed = rules.filter(({ rule }) => rule.proof.kind === 'hmac');
      const known = await proven(rules.filter(({ rule }) => rule.proof.kind !== 'hmac'), empty);
      if (!known && signed.length === 0) return this.#no(sandbox.id, from, req, reasons.join('; '));
      if (req.headers.expect !== undefined) goOn();
      const body = await readBody(req);
      if (typeof body === 'string') return this.#no(sandbox.id, from, req, body, body === tooLarge ? json(413, 'too_large', true) : json(408, 'too_slow', true));
      const by = known ?? (await proven(signed, body));
      if (!by) return this.#no(sandbox.id, from, req, reasons.join('; '));
      // The rule, or the sandbox, may be gone since: the body and the proof took their time.
      if (!this.#stands(sandbox.id, by.rule)) return this.#no(sandbox.id, from, req, 'the policy changed');
      const use = this.#proofs.use(by.rule, callerOf(req, body), sandbox.id);
      if (typeof use === 'string') return this.#no(sandbox.id, from, req, `${by.rule.id}: ${use}`);
      return await this.#admit({ sandbox, ...by, proofs: rules.map(({ rule }) => rule.proof), checked, target, body, from, giveBack: use.giveBack });
    } finally {
      open.underWay.count -= 1;
    }
  }

  #stands(id: string, rule: IngressRule): boolean {
    const text = JSON.stringify(rule);
    return this.#byId.get(id)?.sandbox.rules.some((now) => JSON.stringify(now) === text) ?? false;
  }

  async #admit({ sandbox, rule, proofs, rate, checked, target, body, from, giveBack }: Admitted): Promise<OuterAnswer> {
    const { audit, recording } = this.#ports;
    const tell = (verdict: 'allow' | 'deny', message: string, data: Readonly<Record<string, unknown>> = {}): void => audit.emit(this.#event(sandbox.id, from, checked.method, target, verdict, message, { rule: rule.id, source: rule.source, ...data }));
    if (!recording()) {
      giveBack();
      return json(503, 'unavailable', true, 5);
    }
    if (rate && !rate.take()) {
      giveBack();
      tell('deny', `over its rate (${rule.id})`);
      return json(429, 'too_many_requests', false, Math.max(1, Math.ceil((rule.rate?.windowMs ?? 1000) / 1000 / (rule.rate?.count ?? 1))));
    }
    tell('allow', `admitted by ${rule.id}`, { proof: rule.proof.kind, bytes: body.length });
    let to: Duplex | undefined;
    try {
      to = await sandbox.connect(rule.port);
      const answer = await forward(to, rule.port, checked, target, passedOn(checked.headers, rule, proofs), body);
      const withheld = answer.body.length > 0 ? sandbox.withhold(answer.body) : undefined;
      if (withheld === undefined) return { ...answer, retryAfter: 0, last: false };
      tell('deny', `the body of the answer was withheld: ${withheld}`);
      return { status: answer.status, contentType: 'application/octet-stream', body: empty, retryAfter: 0, last: false };
    } catch (error) {
      if (!to) giveBack();
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
  const [, name = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec((req.headers.host ?? '').toLowerCase()) ?? [];
  return { name: name.replace(/^\[|\]$/g, ''), port: Number(port ?? 443), tls: 'encrypted' in req.socket };
}

/** What whoever stands before us, or who calls, says of the caller: it is proven otherwise, and the agent is not to believe it. CGI and its heirs read `_` as `-`. */
const claims = /^(?:forwarded|via|x-forwarded-.*|x-nemoclaw-.*|x-original-host|x-real-ip|true-client-ip|cf-connecting-ip)$/;

function withoutClaims(headers: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) if (!claims.test((headers[i] ?? '').toLowerCase().replaceAll('_', '-'))) out.push(headers[i] ?? '', headers[i + 1] ?? '');
  return out;
}

/** Proofs stay outside: with a token or a signature the agent could speak for its caller elsewhere. */
function passedOn(headers: readonly string[], rule: IngressRule, proofs: Admitted['proofs']): string[] {
  const dropped = new Set(['content-length', ...proofs.flatMap((proof) => (proof.kind === 'jwt' ? ['authorization'] : proof.kind === 'hmac' ? [proof.header.toLowerCase()] : []))]);
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) if (!dropped.has((headers[i] ?? '').toLowerCase())) out.push(headers[i] ?? '', headers[i + 1] ?? '');
  return [...out, 'x-nemoclaw-rule', rule.id];
}

/** Text says why there is none; the caller is still there then, and is told. */
async function readBody(req: IncomingMessage): Promise<Buffer | string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => { timer = setTimeout(() => resolve(`the body did not come within ${bodyMs / 1000} s`), bodyMs); });
  try {
    return await Promise.race([collected(req), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function collected(req: IncomingMessage): Promise<Buffer | string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of req as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > bodyBytes) return tooLarge;
    parts.push(part);
  }
  return Buffer.concat(parts);
}
