/** How a command is declared: its code is loaded when it is called, and whatever it throws is told in one form. */
import { buildCommand, type Command, type FlagParametersForType, type TypedPositionalParameters } from '@stricli/core';
import type { CliContext } from './context.ts';
import { tell } from './failure.ts';

export interface CommonFlags {
  readonly json?: boolean;
}
type Run<F, A extends readonly string[]> = (this: CliContext, flags: F, ...args: A) => Promise<void>;

/** Declaration of a command that takes texts as arguments. */
export interface Declaration<F extends CommonFlags, A extends readonly string[]> {
  readonly brief: string;
  /** Shown below the usage; examples first. */
  readonly about?: string;
  readonly flags: FlagParametersForType<Omit<F, 'json'>, CliContext>;
  readonly positional?: TypedPositionalParameters<A, CliContext>;
  readonly load: () => Promise<{ readonly run: Run<F, A> }>;
}

const jsonFlag = { kind: 'boolean', optional: true, brief: 'Print the stable JSON form', withNegated: false } as const;

/** Builds the command; `--json` is understood by all. */
export function command<F extends CommonFlags, A extends readonly string[] = []>(declaration: Declaration<F, A>): Command<CliContext> {
  const flags = { json: jsonFlag, ...declaration.flags } as unknown as FlagParametersForType<F, CliContext>;
  return buildCommand<F, A, CliContext>({
    docs: { brief: declaration.brief, ...(declaration.about ? { fullDescription: declaration.about } : {}) },
    parameters: { flags, ...(declaration.positional ? { positional: declaration.positional } : {}) } as never,
    loader: async () => {
      const { run } = await declaration.load();
      return async function guarded(this: CliContext, given: F, ...args: A): Promise<void> {
        try {
          await run.call(this, given, ...args);
        } catch (error) {
          await tell(this, error, given.json === true);
        }
      };
    },
  });
}

/** A flag that takes a text. */
export const text = (brief: string, placeholder = 'text') => ({ kind: 'parsed', parse: String, optional: true, brief, placeholder }) as const;
/** A flag that is there or not. */
export const yesNo = (brief: string) => ({ kind: 'boolean', optional: true, brief, withNegated: false }) as const;
/** One argument that must be given. */
export const argument = (placeholder: string, brief: string) => ({ parse: String, brief, placeholder }) as const;
