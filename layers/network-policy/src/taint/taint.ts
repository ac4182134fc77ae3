/** What one sandbox was told by labelled hosts, and where it may not go on. */
import { randomBytes } from 'node:crypto';
import type { ActionRequest } from '@nemoclaw/contract';
import type { Passing } from '../hooks.ts';
import type { HostResource, HttpResource } from '../judge/judge.ts';
import { base64Runs, foldForms, undoPercent } from '../inspect/encoded-runs.ts';
import { messageText } from '../inspect/protobuf-view.ts';
import { readText } from '../inspect/read-text.ts';
import { hashesOf, Memory, taintedIn, type Sought } from './memory.ts';
import { valuesIn } from './pieces.ts';

/** How values of an answer are remembered; can be handed to another thread. */
export interface Remembering {
  readonly key: string;
  readonly level: 'confidential' | 'restricted';
}

/** What is told of a request: who asks, and where it goes. */
type Told = Pick<Passing, 'core' | 'place'>;

/** The hashes of what a body says. `contentType` in any case. */
export function hashesIn(bytes: Buffer, contentType: string, key: string): Uint32Array {
  return hashesOf(key, valuesIn(readText(bytes, contentType.toLowerCase()).text));
}

/** The same of a message of protobuf. */
export function hashesInMessage(bytes: Uint8Array, key: string): Uint32Array {
  return hashesOf(key, valuesIn(messageText(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))));
}

/** Of one sandbox; nothing of it outlives the process, and no value is kept, only its hash under a key of this memory. */
export class Taint {
  readonly #key = randomBytes(32).toString('hex');
  #memory: Memory | undefined;
  #recorded = 0;

  get empty(): boolean {
    return this.#memory === undefined;
  }

  /** Undefined: answers from this place are not remembered. */
  remembering({ core, place }: Told): Remembering | undefined {
    const level = core.ports.judge.labelOf(place.name);
    return level && { key: this.#key, level };
  }

  /** Before any of it is delivered. */
  remember({ core }: Told, hashes: Uint32Array, { level }: Remembering): void {
    if (hashes.length === 0) return;
    this.#memory ??= new Memory(this.#key);
    this.#memory.add(hashes, level);
    const { forgotten } = this.#memory;
    // On record at the first, and then each time that they are twice as many.
    if (forgotten === 0 || forgotten < 2 * this.#recorded) return;
    this.#recorded = forgotten;
    core.ports.audit.emit({
      time: core.ports.clock.now(), class: 'dataSecurityFinding', activity: 1, severity: 3, sandbox: core.ports.sandbox, layer: 'proxy', verdict: 'observe',
      message: `more values came from labelled hosts than are remembered: ${forgotten} are forgotten`, data: { forgotten },
    });
  }

  /** What a text says that came from there. */
  rememberText(told: Told, text: string): void {
    const remember = this.remembering(told);
    if (remember) this.remember(told, hashesOf(remember.key, valuesIn(text)), remember);
  }

  /** What may not be sent to this place; undefined where nothing is known, or all of it may. `resources`: the request, as the policy is asked about it. */
  sought({ core, place }: Told, resources: readonly (HttpResource | HostResource)[]): Sought | undefined {
    if (!this.#memory) return undefined;
    const { judge } = core.ports;
    const label = judge.labelOf(place.name);
    const accepted = resources.map((resource) => judge.terms(resource)?.accepts);
    if (label === 'restricted' || (accepted.length > 0 && accepted.every((one) => one === 'restricted'))) return undefined;
    const some = label === 'confidential' || (accepted.length > 0 && accepted.every((one) => one !== undefined));
    return this.#memory.sought(some ? 'restricted' : undefined);
  }
}

/** `sought` of an HTTP request. */
export function soughtIn(passing: Passing): Sought | undefined {
  const { core, checked, asked } = passing;
  if (core.taint.empty) return undefined;
  return core.taint.sought(passing, checked.paths.flatMap((path) => {
    const resource = passing.resource(path);
    return asked.length > 1 ? asked.map(({ message }) => ({ ...resource, message })) : [resource];
  }));
}

/** A text for people and the record, without what may not be sent to where it goes. */
export function maskTainted(given: string, sought: Sought | undefined): string {
  if (!sought) return given;
  const masked = maskPieces(given, sought);
  // A part of a path is a whole value too.
  return masked.includes('/') ? masked.split(/([/?])/).map((part) => maskPieces(part, sought)).join('') : masked;
}

function maskPieces(given: string, sought: Sought): string {
  const plain = undoPercent(given) ?? given;
  const inPlain = taintedIn(plain, sought);
  const inGiven = taintedIn(given, sought);
  const [text, pieces] = inPlain.length > inGiven.length ? [plain, inPlain] : [given, inGiven];
  let out = '';
  let at = 0;
  for (const { start, end } of pieces) {
    out += `${text.slice(at, start)}[redacted:tainted]`;
    at = end;
  }
  return out + text.slice(at);
}

/** Whether something of a path, a query or a header (its bytes one by one, as headers are read) is tainted, plain or in one encoding. */
export function carriesTainted(text: string, sought: Sought | undefined): boolean {
  if (!sought) return false;
  const written = /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : undefined;
  // A part of a path is a whole value too; base64 has slashes, and begins behind one.
  const apart = (form: string): string => form.replaceAll('/', '\t');
  const forms = [text, written, undoPercent(text), foldForms(text), ...[...base64Runs(text), ...base64Runs(apart(text))].map((run) => run.text)];
  return forms.some((form) => form !== undefined && (taintedIn(form, sought).length > 0 || taintedIn(apart(form), sought).length > 0));
}

/** Whether something tainted would be kept of a question about a request: of its target, or of what the policy is asked about. */
export function keepsTainted({ resource, params }: ActionRequest, target: string, sought: Sought | undefined): boolean {
  const said = resource.kind === 'http' ? [resource.headers, resource.message] : resource.kind === 'host' ? [resource.message] : [];
  return [target, ...[...said, [...params]].map((one) => JSON.stringify(one ?? ''))].some((text) => carriesTainted(text, sought));
}
