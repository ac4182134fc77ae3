/** Checks a source against a zod schema and turns the first problem by position into a NemoError that teaches. */
import type { z } from 'zod';
import { NemoError, type ErrorCode, type Where } from '../errors.ts';
import { nearest } from './nearest.ts';
import { knownFields } from './fields.ts';
import { placeOf, readSource, sourceKey, type Path, type Source, type SourceMap } from './source.ts';

/** What a refinement of ours adds to a zod issue: `params: problem(code, why, fix)`. */
export interface ProblemParams {
  readonly [key: string]: unknown;
  readonly nemo: ErrorCode;
  readonly why?: string;
  readonly fix?: string;
}
export function problem(nemo: ErrorCode, why?: string, fix?: string): ProblemParams {
  return { nemo, ...(why === undefined ? {} : { why }), ...(fix === undefined ? {} : { fix }) };
}

export type Loaded<T> = T & { readonly [sourceKey]: SourceMap };

/** Reads and checks `text`; throws NemoError at the first problem by position, with the number of further ones. */
export function loadWith<S extends z.ZodType>(schema: S, text: string, file: string): Loaded<z.output<S>> {
  return checkSource(schema, readSource(text, file));
}

/** The second half of `loadWith`, for a source that was looked at first. */
export function checkSource<S extends z.ZodType>(schema: S, source: Source): Loaded<z.output<S>> {
  const result = schema.safeParse(source.value);
  if (!result.success) throw firstError(schema, source, result.error.issues);
  return Object.assign(result.data as object, { [sourceKey]: source.map }) as Loaded<z.output<S>>;
}

interface Finding {
  readonly where: Where;
  readonly code: ErrorCode;
  readonly what: string;
  readonly why?: string;
  readonly fix?: string;
}

function firstError(schema: z.ZodType, source: Source, issues: readonly z.core.$ZodIssue[]): NemoError {
  const findings = issues.flatMap((issue) => explain(schema, source, issue)).sort((a, b) => a.where.line - b.where.line || a.where.column - b.where.column);
  const first = findings[0] ?? { where: placeOf(source.map, []), code: 'NEMO_E_POLICY_TYPE' as const, what: 'The file is not what it should be.' };
  const more = findings.length - 1;
  const what = more > 0 ? `${first.what} (and ${more} more ${more === 1 ? 'problem' : 'problems'} in this file)` : first.what;
  return new NemoError(first.code, { what, where: first.where, ...(first.why === undefined ? {} : { why: first.why }), ...(first.fix === undefined ? {} : { fix: first.fix }) });
}

function explain(schema: z.ZodType, source: Source, issue: z.core.$ZodIssue): Finding[] {
  const path = issue.path.filter((part): part is string | number => typeof part !== 'symbol');
  const where = placeOf(source.map, path);
  const name = show(path);
  if (issue.code === 'unrecognized_keys') {
    const known = knownFields(schema, path);
    return issue.keys.map((key) => {
      const guess = nearest(key, known);
      return {
        where: source.keys.get([...path, key].join('/')) ?? where,
        code: 'NEMO_E_POLICY_UNKNOWN_FIELD' as const,
        what: `Unknown field \`${key}\`${path.length > 0 ? ` in \`${name}\`` : ''}.`,
        why: 'A field that is not understood would silently not be enforced.',
        fix: guess === undefined ? `Remove it. Known here: ${known.join(', ')}.` : `Did you mean \`${guess}\`?`,
      };
    });
  }
  if (issue.code === 'custom') {
    const params = issue.params as ProblemParams | undefined;
    return [{ where, code: params?.nemo ?? 'NEMO_E_POLICY_TYPE', what: `\`${name}\`: ${issue.message}`, ...(params?.why === undefined ? {} : { why: params.why }), ...(params?.fix === undefined ? {} : { fix: params.fix }) }];
  }
  const code = 'NEMO_E_POLICY_TYPE' as const;
  const given = valueAt(source.value, path);
  if (given === undefined) {
    return [{ where, code, what: path.length > 0 ? `The field \`${name}\` is missing.` : 'The file is empty.', fix: expected(issue) ?? `Add \`${String(path.at(-1) ?? '')}\`.` }];
  }
  if (issue.code === 'invalid_value') {
    const values = issue.values.map(String);
    const guess = typeof given === 'string' ? nearest(given, values) : undefined;
    return [{ where, code, what: `\`${name}\` cannot be ${quote(given)}.`, fix: `${guess === undefined ? '' : `Did you mean \`${guess}\`? `}Use ${values.length > 1 ? 'one of ' : ''}${values.join(', ')}.` }];
  }
  if (issue.code === 'invalid_type') return [{ where, code, what: `\`${name}\` must be ${article(issue.expected)}, not ${kind(given)}.`, fix: issue.expected === 'string' && typeof given !== 'object' ? 'Put it in quotes.' : (expected(issue) ?? 'Correct the value.') }];
  if (issue.code === 'invalid_union') return [{ where, code, what: `\`${name}\` cannot be ${quote(given)}.` }];
  const fix = bound(issue);
  return [{ where, code, what: `\`${name}\`: ${issue.message}.`, ...(fix === undefined ? {} : { fix }) }];
}

/** What is within the bounds that were left. */
function bound(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code !== 'too_small' && issue.code !== 'too_big') return undefined;
  const limit = issue.code === 'too_small' ? `at least ${issue.minimum}` : `at most ${issue.maximum}`;
  return issue.origin === 'string' ? `Give text of ${limit} characters.` : issue.origin === 'array' ? `Give a list of ${limit}.` : `Give a number of ${limit}.`;
}

function expected(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code === 'invalid_type') return `Give ${article(issue.expected)}.`;
  if (issue.code === 'invalid_value') return `Use ${issue.values.map(String).join(', ')}.`;
  return undefined;
}

/** `spec.resources.maxCPU`, `egress.allow[2].domain` */
export function show(path: Path): string {
  let out = '';
  for (const part of path) out += typeof part === 'number' ? `[${part}]` : out === '' ? part : `.${part}`;
  return out === '' ? 'the file' : out;
}

function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const part of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, part)) return undefined;
    here = (here as Record<string | number, unknown>)[part];
  }
  return here;
}

function quote(value: unknown): string {
  return typeof value === 'object' && value !== null ? kind(value) : JSON.stringify(value);
}
function kind(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a group of fields' : article(typeof value);
}
function article(type: string): string {
  const words: Readonly<Record<string, string>> = { object: 'a group of fields', record: 'a group of fields', array: 'a list', string: 'text', number: 'a number', int: 'a whole number', boolean: 'true or false' };
  return words[type] ?? type;
}
