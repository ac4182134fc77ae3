/** What `onboard` needs to know: from flags, from questions to the person, else the defaults. */
import type { CreateSandbox } from '@nemoclaw/contract';
import type { CliContext } from '../context.ts';
import { Failure, Quit } from '../failure.ts';

type ProviderKind = NonNullable<CreateSandbox['provider']>['kind'];

export interface Answers {
  readonly name: string;
  readonly blueprint: string;
  /** Undefined: the blueprint's own default. */
  readonly provider: CreateSandbox['provider'];
}
export interface AnswerFlags {
  readonly name?: string;
  readonly blueprint?: string;
  readonly provider?: string;
  readonly endpoint?: string;
  readonly model?: string;
  readonly yes?: boolean;
}

const keyVariable: Readonly<Partial<Record<ProviderKind, string>>> = {
  nvidia: 'NVIDIA_API_KEY',
  openai: 'OPENAI_API_KEY',
  anthropic: 'ANTHROPIC_API_KEY',
  compatible: 'NEMOCLAW_PROVIDER_KEY',
  nim: 'NVIDIA_API_KEY',
};
const needsEndpoint: ReadonlySet<ProviderKind> = new Set(['nim', 'vllm', 'ollama', 'compatible']);

/** Asks only a person at a terminal, and only for what no flag said. Throws Failure for a flag that makes no sense, Quit if the person breaks off. */
export async function answersFrom(context: CliContext, flags: AnswerFlags): Promise<Answers> {
  const { nameProblem, providerKinds } = await import('@nemoclaw/contract');
  const mayAsk = !flags.yes && context.world.stdin.isTTY === true && context.world.stdout.isTTY === true;
  if (!flags.yes && !mayAsk) throw new Failure('NEMO_E_USAGE', { what: '`onboard` asks questions, and there is no terminal to ask at.', fix: 'Add --yes; what no flag says then takes its default.' });
  const ask = mayAsk ? await import('@clack/prompts') : undefined;
  const answered = <T>(value: T): Exclude<T, symbol> => {
    if (typeof value === 'symbol') throw new Quit(1);
    return value as Exclude<T, symbol>;
  };

  const name = flags.name ?? (ask ? answered(await ask.text({ message: 'Name of the sandbox', initialValue: 'my-assistant', validate: (text) => nameProblem(text ?? '') })) : 'my-assistant');
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Failure('NEMO_E_NAME', { what: `'${name}' cannot name a sandbox.`, why: problem });

  const asked =
    flags.provider ??
    (ask
      ? answered(
          await ask.select({
            message: 'Who runs the model?',
            options: providerKinds.map((kind) => ({ value: kind as string, label: kind, ...(kind === 'demo' ? { hint: 'scripted model, not an AI; needs no key' } : {}) })),
          }),
        )
      : undefined);
  // The demo's blueprint answers its own questions, so it is refused with any model that is not the script.
  const blueprint = flags.blueprint ?? (asked === undefined || asked === 'demo' ? 'my-assistant' : 'assistant');
  if (asked === undefined) {
    if (flags.endpoint !== undefined || flags.model !== undefined) throw new Failure('NEMO_E_USAGE', { what: '--endpoint and --model need --provider.' });
    return { name, blueprint, provider: undefined };
  }
  const kind = providerKinds.find((known) => known === asked);
  if (kind === undefined) throw new Failure('NEMO_E_PROVIDER', { what: `There is no provider '${asked}'.`, fix: `Choose one of: ${providerKinds.join(', ')}.` });

  const endpoint =
    flags.endpoint ?? (ask && needsEndpoint.has(kind) ? answered(await ask.text({ message: 'Address of the provider, up to /v1', placeholder: 'http://127.0.0.1:8000/v1' })) : undefined);
  const model = flags.model ?? (ask && kind !== 'demo' ? answered(await ask.text({ message: 'Model' })) : undefined);
  const variable = keyVariable[kind];
  const fromEnvironment = variable === undefined ? undefined : context.world.env[variable];
  const apiKey = fromEnvironment ?? (ask && variable !== undefined ? answered(await ask.password({ message: `Key of the provider (kept by the gateway; the agent never sees it)` })) : undefined);
  return { name, blueprint, provider: { kind, ...(endpoint ? { endpoint } : {}), ...(model ? { model } : {}), ...(apiKey ? { apiKey } : {}) } };
}
