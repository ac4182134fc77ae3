/** Which fields a zod schema knows at a path, for "did you mean". */
import type { z } from 'zod';
import type { Path } from './source.ts';

interface Def {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly element?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly options?: readonly z.ZodType[];
}

/** Names of the fields of the object at `path`; empty if there is none. */
export function knownFields(schema: z.ZodType, path: Path): string[] {
  let here: z.ZodType[] = [schema];
  for (const part of path) here = here.flatMap((s) => step(s, part));
  return [...new Set(here.flatMap(unwrap).flatMap((s) => Object.keys(def(s).shape ?? {})))];
}

function def(schema: z.ZodType): Def {
  return schema.def as unknown as Def;
}

function unwrap(schema: z.ZodType): z.ZodType[] {
  const d = def(schema);
  const inner = d.innerType ?? (d.type === 'pipe' ? d.in : undefined);
  if (inner) return unwrap(inner);
  return d.options ? d.options.flatMap(unwrap) : [schema];
}

function step(schema: z.ZodType, part: string | number): z.ZodType[] {
  return unwrap(schema).flatMap((s) => {
    const d = def(s);
    const next = typeof part === 'number' ? d.element : (d.shape?.[part] ?? d.valueType);
    return next ? [next] : [];
  });
}
