/** Runs Cedar for the few rules that need it: loaded on first need, policy slices kept parsed inside the wasm. */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type * as CedarModule from '@cedar-policy/cedar-wasm/nodejs';
import type { ActionPlan } from './actions.ts';
import { actionEntity, factsContext, triggerPolicy } from './cedar-words.ts';
import type { Facts } from './facts.ts';
import type { TriggerIr } from './ir.ts';

export type Cedar = typeof CedarModule;

let loaded: Cedar | undefined;
/** The Cedar engine: 4 MB of wasm, about 30 ms at the first call. */
export function cedar(): Cedar {
  // required, not imported, so that a policy without Cedar rules never pays for it
  loaded ??= createRequire(import.meta.url)('@cedar-policy/cedar-wasm/nodejs') as Cedar;
  return loaded;
}

/** Parsed slices live in the wasm under a slot name; names are used again, the longest unused first, so that many policy versions do not grow it. */
const free = Array.from({ length: 256 }, (_, i) => `nemoclaw-${i}`);
const bySlice = new Map<string, string>();

/** Name of the slot that holds the slice, parsed now if need be; undefined if Cedar refuses it. */
function slot(key: string, policies: Readonly<Record<string, string>>): string | undefined {
  const there = bySlice.get(key);
  if (there !== undefined) {
    bySlice.delete(key);
    bySlice.set(key, there);
    return there;
  }
  const oldest = free.length === 0 ? bySlice.entries().next().value : undefined;
  if (oldest !== undefined) bySlice.delete(oldest[0]);
  const name = oldest?.[1] ?? free.pop();
  if (name === undefined) return undefined;
  if (cedar().preparsePolicySet(name, { staticPolicies: { ...policies } }).type !== 'success') {
    free.push(name);
    return undefined;
  }
  bySlice.set(key, name);
  return name;
}

export interface CedarSlice {
  readonly key: string;
  readonly policies: Readonly<Record<string, string>>;
  readonly triggers: ReadonlyMap<string, TriggerIr>;
}

/** The triggers of one action as a policy set of their own, over a permit: the table has already said that the action is allowed. */
export function sliceOf(plan: ActionPlan, organization: readonly string[]): CedarSlice {
  const policies: Record<string, string> = Object.create(null) as Record<string, string>;
  policies['table'] = 'permit(principal, action, resource);';
  const triggers = new Map<string, TriggerIr>();
  for (const trigger of plan.conditional) {
    policies[trigger.ref.id] = triggerPolicy(trigger, organization);
    triggers.set(trigger.ref.id, trigger);
  }
  return { key: createHash('sha256').update(JSON.stringify(Object.entries(policies))).digest('base64'), policies, triggers };
}

/** Parses the slice ahead of the first decision, and runs it once, since the first run costs tens of ms; false if Cedar refuses it. */
export function warm(slice: CedarSlice, plan: ActionPlan): boolean {
  if (bySlice.has(slice.key)) return true;
  return evaluate(slice, plan, '', { recipientDomains: [], amountUsdCents: 0 }).verdict !== 'error';
}

export type CedarVerdict = { readonly verdict: 'allow' | 'escalate' | 'deny'; readonly triggers: readonly TriggerIr[] } | { readonly verdict: 'error'; readonly why: string };

/** Evaluates without and, where that denies, with approval. A policy that cannot be evaluated is skipped by Cedar: here every error is a denial. */
export function evaluate(slice: CedarSlice, plan: ActionPlan, sandbox: string, facts: Facts): CedarVerdict {
  const name = slot(slice.key, slice.policies);
  if (name === undefined) return { verdict: 'error', why: 'the approval rules cannot be parsed' };
  const ask = (approved: boolean) =>
    cedar().statefulIsAuthorized({
      principal: { type: 'Sandbox', id: sandbox },
      action: { type: 'Action', id: plan.name },
      resource: { type: 'Action', id: plan.name },
      context: factsContext(facts, approved),
      preparsedPolicySetId: name,
      entities: [actionEntity(plan.name, true)],
    });
  const first = ask(false);
  if (first.type !== 'success' || first.response.diagnostics.errors.length > 0) return { verdict: 'error', why: 'an approval rule failed' };
  if (first.response.decision === 'allow') return { verdict: 'allow', triggers: [] };
  // Cedar names the reasons in no order; ours is the file's
  const reasons = new Set(first.response.diagnostics.reason);
  const triggers = [...slice.triggers].filter(([id]) => reasons.has(id)).map(([, trigger]) => trigger);
  const second = ask(true);
  if (second.type !== 'success' || second.response.diagnostics.errors.length > 0) return { verdict: 'error', why: 'an approval rule failed' };
  return { verdict: second.response.decision === 'allow' ? 'escalate' : 'deny', triggers };
}
