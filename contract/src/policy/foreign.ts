/** Recognises policy files in OpenShell's own format, and what reading one leaves to say. */
import { NemoError } from '../errors.ts';
import { placeOf, type Path, type Source, type SourceMap } from './source.ts';
import type { Where } from '../errors.ts';

const openshellFields = ['filesystem_policy', 'network_policies', 'network_middlewares', 'landlock'];

/** True for a policy file in OpenShell's own format: it has a field of theirs, or `version` where ours have `kind` and `networkPolicy`. */
export function isOpenshellFile(source: Source): boolean {
  const value = source.value;
  if (typeof value !== 'object' || value === null) return false;
  const has = (field: string): boolean => Object.hasOwn(value, field);
  return openshellFields.some(has) || (has('version') && !has('kind') && !has('networkPolicy') && !has('apiVersion') && !has('name'));
}

/** Something that is done otherwise than a foreign file says; always stricter. */
export interface ForeignNote {
  readonly text: string;
  readonly where: Where;
}

const notesKey: unique symbol = Symbol('nemoclaw.foreignNotes');

/** What was read otherwise than the file says; [] for a file of our own format. */
export function foreignNotes(policy: object): readonly ForeignNote[] {
  return (policy as { [notesKey]?: readonly ForeignNote[] })[notesKey] ?? [];
}

/** Builds a policy of ours out of a foreign file, remembering where each part came from. */
export class Translation {
  readonly source: Source;
  readonly notes: ForeignNote[] = [];
  readonly #places = new Map<string, Where>();

  constructor(source: Source) {
    this.source = source;
    this.#places.set('', { file: source.map.file, line: 1, column: 1 });
  }

  /** Where a part of the foreign file stands. */
  where(theirs: Path): Where {
    return this.source.keys.get(theirs.join('/')) ?? placeOf(this.source.map, theirs);
  }

  /** Says that our part at `ours` stands where their part does. */
  from(ours: Path, theirs: Path): void {
    this.#places.set(ours.join('/'), placeOf(this.source.map, theirs));
  }

  note(theirs: Path, text: string): void {
    this.notes.push({ text, where: this.where(theirs) });
  }

  /** Throws NEMO_E_POLICY_FOREIGN: what the file says there cannot be honoured. */
  refuse(theirs: Path, what: string, fix: string): never {
    throw new NemoError('NEMO_E_POLICY_FOREIGN', { what, where: this.where(theirs), why: 'A policy that is read must mean the same here, or something stricter.', fix });
  }

  /** Our value as a source, for the schemas of our own files. */
  result(value: unknown): Translated {
    const map: SourceMap = { file: this.source.map.file, places: this.#places };
    return { source: { value, map, keys: new Map() }, finish: (loaded) => Object.assign(loaded, { [notesKey]: this.notes }) };
  }
}

export interface Translated {
  /** In our own format; places are those of the foreign file. */
  readonly source: Source;
  /** Attaches the notes to what was loaded from it. */
  finish<T extends object>(loaded: T): T;
}
