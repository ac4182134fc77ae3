/** What is done with one answer, told from its head alone. */
import { isGrpc } from '../protocols/grpc.ts';
import type { Passing } from '../hooks.ts';
import { valueOf, valuesOf } from '../http/fields.ts';
import { streamed } from '../http/streamed.ts';
import { encodingsOf } from './content-decoder.ts';
import { unsearchable } from './answer-kind.ts';
import { acts, answerSettings } from './findings.ts';
import type { InspectionSettings } from './findings.ts';
import { answerUnreadable, inspectedBytes, recordUninspected, settingsOf } from './report.ts';
import { isPageOfRows } from './row-ranges.ts';

export interface AnswerPlan {
  /** What may happen to what is found; undefined: it is only decoded, so that credentials in it can be masked. */
  readonly settings: InspectionSettings | undefined;
  readonly encodings: readonly string[];
  /** `hold`: until it is whole. `window`: searched as it passes. `ask`: it is not searched, and a person is asked first. `pass`: it is not searched. */
  readonly way: 'hold' | 'window' | 'ask' | 'pass';
  /** In its own case, '' for none. */
  readonly contentType: string;
  readonly length: number | undefined;
  /** It is called something that is not searched: what begins as text is searched all the same. */
  readonly opaque: boolean;
}

/** Pictures, sound, archives: what stands in them no search of bytes would find. */
const opaque = /^(?:(?:audio|video|font)\/|image\/(?!svg)|application\/(?:zip|gzip|x-gzip|x-tar|x-xz|x-bzip2?|zstd|x-7z-compressed|vnd\.rar|wasm|java-archive|pdf|vnd\.openxmlformats|x-git-)|application\/vnd\.(?:docker|oci)\.image\.(?:rootfs|layer))/i;

/** What the policy wants done about answers, where that is more than to put on record what is in them: also where they are remembered. */
export function enforced({ core, place }: Passing): InspectionSettings | undefined {
  const settings = answerSettings(settingsOf(core));
  return settings && (acts(settings) || core.ports.judge.labelOf(place.name) !== undefined) ? settings : undefined;
}

/** Whether an answer could be one to plan for: most are not, and cost no more than this look. `raw`: as the origin's controller has it. */
export function isPlain(passing: Passing, raw: unknown): boolean {
  if (enforced(passing)) return false;
  if (!Array.isArray(raw)) return true;
  const fields: readonly unknown[] = raw;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    if ((typeof name === 'string' || Buffer.isBuffer(name)) && name.length === named.length && String(name).toLowerCase() === named) return false;
  }
  return true;
}

const named = 'content-encoding';

/** Whether what comes back has to be read, so that it must come whole and in encodings that can be undone. */
export const readsAnswers = (passing: Passing): boolean => enforced(passing) !== undefined;

/** `fields`: name, value, name, value… Undefined: it passes as it is. Throws `Stopped`. */
export function planAnswer(passing: Passing, status: number, fields: readonly string[]): AnswerPlan | undefined {
  const { core, checked } = passing;
  if (checked.method === 'HEAD' || status === 204 || status === 304) return undefined;
  const types = valuesOf(fields, 'content-type');
  // Of two, readers take the one or the other: then only its bytes say what it is.
  const contentType = types.every((type) => type === types[0]) ? (types[0] ?? '') : '';
  // Its messages are looked at one by one.
  if (isGrpc(checked.contentType) && isGrpc(contentType)) return undefined;
  const encodings = encodingsOf(valuesOf(fields, 'content-encoding').join(','));
  const settings = enforced(passing);
  const unread = settings && unsearchable(contentType, (name) => valuesOf(fields, name).join(','));
  if (unread !== undefined) throw answerUnreadable(passing, 'proxy.answer-encoding', unread);
  const said = valueOf(fields, 'content-length');
  const length = /^\d{1,15}$/.test(said) ? Number(said) : undefined;
  const called = opaque.test(contentType);
  const plan = { settings, encodings, contentType, length, opaque: called };
  const cut = status === 206 && !isPageOfRows(fields);
  const partial = cut && encodings.length > 0;
  if (partial && settings) throw answerUnreadable(passing, 'proxy.answer-encoding', 'the answer is a part of an encoded one, although all of it was asked for');
  if (partial) return undefined;
  if (!settings) return encodings.length > 0 && !core.values.empty ? { ...plan, way: 'pass' } : undefined;
  if (called || streamed.test(contentType) || cut) return { ...plan, way: 'window' };
  if (length === undefined || length <= inspectedBytes(core)) return { ...plan, way: 'hold' };
  return { ...plan, way: oversize(passing) };
}

/** How an answer goes on that is larger than what is held. Throws `Stopped`. */
export function oversize(passing: Passing): 'window' | 'ask' | 'pass' {
  const { core, checked } = passing;
  const words = checked.paths.map((path) => core.ports.judge.terms(passing.resource(path))?.onOversize);
  if (words.includes('deny')) throw answerUnreadable(passing, 'inspection.maxBody', tooLarge);
  if (words.includes(undefined)) return 'window';
  const way = words.includes('escalate') ? 'ask' : 'pass';
  recordUninspected(passing, way === 'ask' ? 'escalate' : 'observe', tooLarge, 'answer');
  return way;
}

/** Too much is held already for this one to be held too: it is searched as it passes, but where its rule wants none uninspected. Throws `Stopped`. */
export function crowded(passing: Passing): 'window' {
  const { core, checked } = passing;
  const denies = checked.paths.some((path) => core.ports.judge.terms(passing.resource(path))?.onOversize === 'deny');
  if (denies) throw answerUnreadable(passing, 'inspection.maxBody', 'too much of this sandbox is held already for the answer to be inspected');
  return 'window';
}

export const tooLarge = 'the answer is larger than what is inspected';

/** Say something of the bytes that came, which are not those that go on. */
const ofTheBytes = /^(?:content-encoding|content-length|etag|last-modified|accept-ranges|content-range|content-md5|digest|repr-digest|content-digest|signature|signature-input)$/i;

/** The fields of an answer whose bytes are other ones now: `length` where it is known, `encoding` where it has one. */
export function otherBytes(fields: readonly string[], length?: number, encoding = ''): string[] {
  const out: string[] = [];
  const rows = isPageOfRows(fields);
  const stays = (name: string): boolean => !ofTheBytes.test(name) || (rows && name.toLowerCase() === 'content-range');
  for (let i = 0; i + 1 < fields.length; i += 2) if (stays(fields[i] ?? '')) out.push(fields[i] ?? '', fields[i + 1] ?? '');
  if (encoding !== '') out.push('content-encoding', encoding);
  if (length !== undefined) out.push('content-length', String(length));
  return out;
}
