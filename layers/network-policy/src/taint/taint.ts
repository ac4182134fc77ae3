/** What one sandbox was told by labelled hosts, and where it may not go on. */
import { randomBytes } from 'node:crypto';
import type { Passing } from '../hooks.ts';
import type { HostResource, HttpResource } from '../judge/judge.ts';
import { undoPercent } from '../inspect/encoded-runs.ts';
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

/** The path of a request, for the record. */
export const shownPath = (passing: Passing): string => maskTainted(passing.checked.paths[0] ?? '', soughtIn(passing));
