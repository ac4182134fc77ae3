/** Reads YAML or JSON text into a plain value that remembers the line and column of every part. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from 'yaml';
import { NemoError, type Where } from '../errors.ts';

export type Path = readonly (string | number)[];

/** Largest policy file read, in characters. */
const maxPolicyText = 1024 * 1024;

/** Where the parts of a loaded file stand; `places` by path joined with '/'. */
export interface SourceMap {
  readonly file: string;
  readonly places: ReadonlyMap<string, Where>;
}

/** Key under which a loaded policy keeps its SourceMap; it survives a spread and is invisible to JSON. */
export const sourceKey: unique symbol = Symbol('nemoclaw.source');

/** The place of the part at `path` of a loaded policy, or of its nearest parent; undefined for a policy that was not loaded from text. */
export function whereOf(policy: object, path: Path): Where | undefined {
  const map = (policy as { [sourceKey]?: SourceMap })[sourceKey];
  return map === undefined ? undefined : placeOf(map, path);
}

/** True if the file itself says something at `path`: false for a default, and for an object that no file made. */
export function isStated(policy: object, path: Path): boolean {
  return (policy as { [sourceKey]?: SourceMap })[sourceKey]?.places.has(path.join('/')) === true;
}

/** Like `whereOf`, for a SourceMap. The file's start if nothing nearer is known. */
export function placeOf(map: SourceMap, path: Path): Where {
  for (let length = path.length; length >= 0; length -= 1) {
    const place = map.places.get(path.slice(0, length).join('/'));
    if (place !== undefined) return place;
  }
  return { file: map.file, line: 1, column: 1 };
}

export interface Source {
  readonly value: unknown;
  readonly map: SourceMap;
  /** Places of the keys themselves (for unknown fields), by path joined with '/'. */
  readonly keys: ReadonlyMap<string, Where>;
}

/** Parses `text`. Throws NEMO_E_POLICY_YAML with the place for anything that is not one plain document. */
export function readSource(text: string, file: string): Source {
  if (text.length > maxPolicyText) {
    throw new NemoError('NEMO_E_POLICY_YAML', { what: `The file is larger than ${maxPolicyText} characters.`, where: { file, line: 1, column: 1 }, fix: 'Split it, or remove what is not policy.' });
  }
  const counter = new LineCounter();
  const at = (offset: number): Where => {
    const { line, col } = counter.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  let document: Document;
  try {
    document = parseDocument(text, { lineCounter: counter, prettyErrors: false, uniqueKeys: true, stringKeys: true });
  } catch (cause) {
    throw new NemoError('NEMO_E_POLICY_YAML', { what: 'The file cannot be read as YAML: it is nested too deeply.', where: { file, line: 1, column: 1 }, cause });
  }
  const problem = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0])[0];
  if (problem) {
    const star = problem.code === 'BAD_ALIAS' || /alias/i.test(problem.message);
    throw new NemoError('NEMO_E_POLICY_YAML', {
      what: `Not valid YAML: ${firstLine(problem.message)}`,
      where: at(problem.pos[0]),
      ...(star ? { fix: 'A text that starts with * must stand in quotes: "*.example.com".' } : {}),
    });
  }
  const places = new Map<string, Where>();
  const keys = new Map<string, Where>();
  const value = document.contents === null ? null : plain(document.contents as Node, [], { at, places, keys, file });
  return { value, map: { file, places }, keys };
}

interface Walk {
  readonly at: (offset: number) => Where;
  readonly places: Map<string, Where>;
  readonly keys: Map<string, Where>;
  readonly file: string;
}

/** Node -> plain value without prototype surprises: maps become null-prototype objects, aliases and odd keys are refused. */
function plain(node: Node, path: Path, walk: Walk): unknown {
  const place = walk.at(node.range?.[0] ?? 0);
  const key = path.join('/');
  if (!walk.places.has(key)) walk.places.set(key, place);
  if (isAlias(node)) {
    throw new NemoError('NEMO_E_POLICY_YAML', { what: 'Anchors and aliases are not accepted in a policy.', where: place, why: 'What a rule says must stand where the rule stands.', fix: 'Write the value out; a text that starts with * must stand in quotes.' });
  }
  if (path.length > 32) throw new NemoError('NEMO_E_POLICY_YAML', { what: 'The file is nested too deeply.', where: place });
  if (isMap(node)) {
    const out = Object.create(null) as Record<string, unknown>;
    for (const pair of node.items) {
      const name = isScalar(pair.key) ? pair.key.value : undefined;
      const keyPlace = walk.at((pair.key as Node | null)?.range?.[0] ?? node.range?.[0] ?? 0);
      if (typeof name !== 'string' || name === '__proto__') {
        throw new NemoError('NEMO_E_POLICY_YAML', { what: 'A field name must be plain text.', where: keyPlace });
      }
      const childPath = [...path, name];
      walk.keys.set(childPath.join('/'), keyPlace);
      // a field is shown at its name, where a person looks for it; an empty value has no place of its own
      walk.places.set(childPath.join('/'), isScalar(pair.value) && pair.value.value !== null ? walk.at(pair.value.range?.[0] ?? 0) : keyPlace);
      out[name] = pair.value === null ? null : plain(pair.value as Node, childPath, walk);
    }
    return out;
  }
  if (isSeq(node)) return node.items.map((item, index) => plain(item as Node, [...path, index], walk));
  if (isScalar(node)) return node.value;
  throw new NemoError('NEMO_E_POLICY_YAML', { what: 'This kind of YAML is not accepted in a policy.', where: place });
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? text;
}
