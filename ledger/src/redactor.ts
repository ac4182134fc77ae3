/** Makes an event fit for the record: known secrets and detected secrets and personal data masked in every string and key, payloads withheld, size and depth bounded. */
import { ocsfClass, type LedgerEvent } from '@nemoclaw/contract';
import { compileKnown, redact, scan, type FindingType } from '@nemoclaw/detect';
import { sha256 } from './chain.ts';

export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** From anything a source sent to an event that may be recorded. Never throws. */
export type Redact = (event: unknown) => LedgerEvent;

export interface RedactorOptions {
  /** Exact values to mask wherever they occur (credentials, placeholder keys). */
  readonly known?: readonly string[];
  /** `never`: what stands under a payload key is replaced by its size. `as-marked`: kept (redacted) where the event's data says `logPayloads: true`. */
  readonly payloads?: 'never' | 'as-marked';
  /** Largest event in characters of JSON; larger ones keep their words and lose their data. Default 256 Ki. */
  readonly maxSize?: number;
}

/** Keys under which sources put content rather than facts about it. */
const payloadKeys: ReadonlySet<string> = new Set(['payload', 'body', 'requestBody', 'responseBody', 'content', 'prompt', 'completion', 'messages']);
/** Keys whose plain string value is a secret whatever it looks like. */
const secretKey = /^(?:[^]{0,64}[-_.])?(?:password|passwd|passphrase|secret|api[-_]?key|apikey|access[-_]?token|refresh[-_]?token|auth[-_]?token|private[-_]?key|authorization|cookie|set-cookie)$/i;
/** Addresses are what a record of connections is about, and every network event carries one; all other kinds are masked. */
const keep: ReadonlySet<FindingType> = new Set<FindingType>(['ip']);
const maxDepth = 24;
const layers: ReadonlySet<string> = new Set(['view', 'mounts', 'uid', 'landlock', 'seccomp', 'limits', 'netns', 'dns', 'proxy', 'gate', 'router', 'approval', 'gateway', 'openshelld', 'ledger', 'kernel']);
const verdicts: ReadonlySet<string> = new Set(['allow', 'deny', 'escalate', 'approved', 'rejected', 'observe']);

/** Builds the function that every event passes before it is chained. */
export function redactor(options: RedactorOptions = {}): Redact {
  const known = compileKnown(options.known ?? []);
  const maxSize = options.maxSize ?? 256 * 1024;
  const text = (value: string): string => redact(value.toWellFormed(), known, keep);

  const walk = (value: unknown, depth: number, payloads: boolean): Json => {
    if (typeof value === 'string') return text(value);
    if (typeof value === 'number') return Number.isFinite(value) ? value : null;
    if (typeof value === 'boolean' || value === null) return value;
    if (typeof value === 'bigint') return value.toString();
    if (typeof value !== 'object') return null;
    if (depth >= maxDepth) return 'withheld: nested too deep';
    if (Array.isArray(value)) return value.map((item) => walk(item, depth + 1, payloads));
    const out = Object.create(null) as JsonObject;
    for (const [key, item] of Object.entries(value)) {
      const name = text(key);
      if (item === undefined) continue;
      if (!payloads && payloadKeys.has(key) && (typeof item === 'string' || typeof item === 'object')) out[name] = withheld(item);
      else if (typeof item === 'string' && item !== '' && secretKey.test(key)) out[name] = '[redacted:secret]';
      else out[name] = walk(item, depth + 1, payloads);
    }
    return out;
  };

  /** Most events are plain and clean: one look at their JSON says so, and they are taken as they are. */
  const clean = (event: LedgerEvent, json: string): boolean =>
    json.length <= maxSize && !json.includes('\\') && json.isWellFormed() && isPlain(event, 0) && scan(json, { known }).every(({ type }) => keep.has(type));

  const mask = (event: unknown): LedgerEvent => {
    const raw = asObject(event);
    const data = asObject(raw['data']);
    const payloads = options.payloads === 'as-marked' && data['logPayloads'] === true;
    const asItIs = wellShaped(raw);
    if (asItIs && clean(asItIs, JSON.stringify(asItIs))) return asItIs;
    const kept = plainEvent(raw, text, raw['data'] === undefined ? undefined : (walk(data, 0, payloads) as JsonObject), (value) => walk(value, 0, false) as JsonObject);
    const size = JSON.stringify(kept).length;
    if (size <= maxSize) return kept;
    return {
      ...kept,
      message: kept.message.slice(0, 2048),
      ...(kept.decision && { decision: { ...kept.decision, rules: kept.decision.rules.slice(0, 16), reason: kept.decision.reason.slice(0, 2048), action: kept.decision.action.slice(0, 256) } }),
      data: { withheld: 'the event was too large', characters: size, sha256: sha256(JSON.stringify(kept)) },
    };
  };
  return (event) => {
    try {
      return mask(event);
    } catch (error) {
      // Nothing a source sends may end the record; what cannot be taken apart is recorded as that.
      return unreadable(error);
    }
  };
}

/** The event itself if every fixed field is what the contract says and nothing else is in it. */
function wellShaped(raw: Record<string, unknown>): LedgerEvent | undefined {
  const { class: cls, activity, severity, time, sandbox, layer, message, verdict, decision, correlation, data, ...rest } = raw;
  if (typeof cls !== 'string' || !Object.hasOwn(ocsfClass, cls) || !isCount(activity, 99) || !isCount(severity, 6) || severity === 0 || !isCount(time, Number.MAX_SAFE_INTEGER)) return undefined;
  if (typeof sandbox !== 'string' || sandbox.length > 256 || typeof layer !== 'string' || !layers.has(layer) || typeof message !== 'string') return undefined;
  if (verdict !== undefined && !(typeof verdict === 'string' && verdicts.has(verdict))) return undefined;
  if (correlation !== undefined && !(typeof correlation === 'string' && correlation.length <= 256)) return undefined;
  if (decision !== undefined && !isDecision(decision)) return undefined;
  if (data !== undefined && (typeof data !== 'object' || data === null || Array.isArray(data))) return undefined;
  return Object.keys(rest).length === 0 ? (raw as unknown as LedgerEvent) : undefined;
}

function isCount(value: unknown, most: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

const decisionKeys: ReadonlySet<string> = new Set(['action', 'rules', 'reason', 'policyVersion', 'decidedBy', 'micros']);

function isDecision(value: unknown): boolean {
  const d = asObject(value);
  return (
    Object.keys(d).every((key) => decisionKeys.has(key)) &&
    typeof d['action'] === 'string' &&
    typeof d['reason'] === 'string' &&
    typeof d['decidedBy'] === 'string' &&
    isCount(d['policyVersion'], Number.MAX_SAFE_INTEGER) &&
    typeof d['micros'] === 'number' &&
    Array.isArray(d['rules']) &&
    d['rules'].every((rule) => typeof asObject(rule)['id'] === 'string' && Object.keys(asObject(rule)).every((key) => key === 'id' || key === 'file' || key === 'line'))
  );
}

/** Only finite numbers, strings, booleans, null, arrays and objects, not too deep, and no key whose value is withheld by name. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || depth >= maxDepth) return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1));
  for (const [key, item] of Object.entries(value)) if (!isPlainKey(key) || !isPlain(item, depth + 1)) return false;
  return true;
}

/** Judged keys; sources use a few dozen, and strange ones are not remembered beyond a bound. */
const judged = new Map<string, boolean>();

function isPlainKey(key: string): boolean {
  const before = judged.get(key);
  if (before !== undefined) return before;
  const is = !payloadKeys.has(key) && !secretKey.test(key) && key !== '__proto__';
  if (judged.size < 4096 && key.length < 64) judged.set(key, is);
  return is;
}

function unreadable(error: unknown): LedgerEvent {
  const why = error instanceof Error ? error.name : 'unknown';
  return { time: 0, class: 'detectionFinding', activity: 1, severity: 4, sandbox: '', layer: 'ledger', message: 'A source sent an event that could not be read.', data: { malformed: ['event'], why } };
}

function withheld(item: unknown): JsonObject {
  const size = typeof item === 'string' ? item.length : (JSON.stringify(item) ?? '').length;
  return { withheld: true, characters: size };
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** Reads the fixed fields one by one; a field that is not what the contract says makes the event an admitted finding, never a lost one. */
function plainEvent(raw: Record<string, unknown>, text: (s: string) => string, data: JsonObject | undefined, walk: (value: unknown) => JsonObject): LedgerEvent {
  const wrong: string[] = [];
  const pick = <T>(field: string, ok: boolean, value: T, fallback: T): T => {
    if (ok) return value;
    wrong.push(field);
    return fallback;
  };
  const { class: cls, activity, severity, time, sandbox, layer, message, verdict, decision, correlation } = raw;
  const knownClass = typeof cls === 'string' && Object.hasOwn(ocsfClass, cls);
  const event = {
    class: pick('class', knownClass, cls as LedgerEvent['class'], 'detectionFinding'),
    activity: pick('activity', Number.isInteger(activity) && (activity as number) >= 0 && (activity as number) <= 99, activity as number, 0),
    severity: pick('severity', [1, 2, 3, 4, 5, 6].includes(severity as number), severity as LedgerEvent['severity'], 4),
    time: pick('time', Number.isSafeInteger(time) && (time as number) >= 0, time as number, 0),
    sandbox: pick('sandbox', typeof sandbox === 'string', text(words(sandbox)).slice(0, 256), ''),
    layer: pick('layer', typeof layer === 'string' && layers.has(layer), layer as LedgerEvent['layer'], 'ledger'),
    message: pick('message', typeof message === 'string', text(words(message)), 'A source sent an event without a message.'),
    ...(verdict !== undefined && verdicts.has(verdict as string) && { verdict: verdict as NonNullable<LedgerEvent['verdict']> }),
    ...(typeof correlation === 'string' && { correlation: text(correlation).slice(0, 256) }),
    ...(typeof decision === 'object' && decision !== null && { decision: plainDecision(walk(decision)) }),
  };
  if (verdict !== undefined && !verdicts.has(verdict as string)) wrong.push('verdict');
  if (wrong.length === 0) return data === undefined ? event : { ...event, data };
  return { ...event, data: { ...data, malformed: wrong } };
}

function words(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function plainDecision(d: JsonObject): NonNullable<LedgerEvent['decision']> {
  const rules = Array.isArray(d['rules']) ? d['rules'] : [];
  return {
    action: words(d['action']),
    rules: rules.map((rule) => {
      const r = asObject(rule);
      return { id: words(r['id']), ...(typeof r['file'] === 'string' && { file: r['file'] }), ...(typeof r['line'] === 'number' && { line: r['line'] }) };
    }),
    reason: words(d['reason']),
    policyVersion: typeof d['policyVersion'] === 'number' ? d['policyVersion'] : 0,
    decidedBy: (words(d['decidedBy']) || 'error') as NonNullable<LedgerEvent['decision']>['decidedBy'],
    micros: typeof d['micros'] === 'number' ? d['micros'] : 0,
  };
}
