/** Builds a router from a compiled policy: tools are resolved, requests keyed and secrets masked by the rooms that own these. */
import type { SandboxConfig } from '@nemoclaw/contract';
import { requestKey, resolveTool, type CompiledPolicy } from '@nemoclaw/decide';
import { compileKnown, redact, redactForCard, shownOnCards, type KnownSet } from '@nemoclaw/detect';
import type { RouterParts } from './parts.ts';
import { routerFor, type Router } from './router.ts';

export interface RouterOptions extends Omit<RouterParts, 'resolveTool' | 'requestKey' | 'redact'> {
  /** The policy in force; `decider` decides by the same one. */
  readonly policy: () => CompiledPolicy;
}

/** The Privacy Router of one sandbox. Mount `handle` where inference.local is served. */
export function createRouter(options: RouterOptions): Router {
  const { policy, ...parts } = options;
  const secrets = new WeakMap<SandboxConfig, KnownSet>();
  const known = (config: SandboxConfig): KnownSet => {
    let set = secrets.get(config);
    if (!set) secrets.set(config, (set = compileKnown([...config.providers.map((provider) => provider.apiKey), ...config.credentials.map((credential) => credential.value)])));
    return set;
  };
  return routerFor({
    ...parts,
    requestKey,
    resolveTool: (name, args) => {
      const resolved = resolveTool(policy(), name, args);
      return { ...resolved, attributes: attributeNames(policy(), resolved.action) };
    },
    redact: (text, where) => (where === 'card' ? redactForCard(text, known(parts.config()), shownOnCards.tool) : redact(text, known(parts.config()))),
  });
}

/** Names of what the catalogue takes from the arguments of an action. */
function attributeNames(policy: CompiledPolicy, action: string): readonly string[] {
  return policy.ir.actions.find((entry) => entry.name === action)?.attributes.map(([name]) => name) ?? [];
}
