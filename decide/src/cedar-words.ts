/** How actions, triggers and facts are written in Cedar. */
import type { CedarValueJson, EntityJson, EntityUid } from '@cedar-policy/cedar-wasm/nodejs';
import type { Facts } from './facts.ts';
import type { TriggerIr } from './ir.ts';

/** A Cedar string literal. */
export function quoted(text: string): string {
  return `"${text.replace(/[\\"\u0000-\u001f\u007f]/g, (c) => (c === '"' || c === '\\' ? `\\${c}` : `\\u{${c.charCodeAt(0).toString(16)}}`))}"`;
}

/** `crm.read` -> `action == …`; `admin.*` -> `action in …` the group of all names below it; `*` -> any action of ours. */
export function actionScope(pattern: string): string {
  return pattern.endsWith('*') ? `action in Action::${quoted(pattern)}` : `action == Action::${quoted(pattern)}`;
}

/** The action as an entity: member of the group of each of its prefixes, and of `*`. Only dotted actions are; `net:…` and `file:…` are in no group. */
export function actionEntity(name: string, grouped: boolean): EntityJson {
  const parents: EntityUid[] = [];
  if (grouped) {
    parents.push({ type: 'Action', id: '*' });
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) parents.push({ type: 'Action', id: `${name.slice(0, dot)}.*` });
  }
  return { uid: { type: 'Action', id: name }, attrs: {}, parents };
}

/** The condition under which a trigger asks, over `factsContext`; undefined for `always`. */
function triggerCondition(trigger: TriggerIr, organization: readonly string[]): string | undefined {
  const t = trigger.threshold;
  if (t.kind === 'always') return undefined;
  if (t.kind === 'above') return `!(context has amountUsdCents) || context.amountUsdCents > ${Math.round(t.usd * 100)}`;
  return `!(context has recipientDomains) || !([${organization.map(quoted).join(', ')}].containsAll(context.recipientDomains))`;
}

/** A trigger as a policy that forbids until a person approved. */
export function triggerPolicy(trigger: TriggerIr, organization: readonly string[]): string {
  const condition = triggerCondition(trigger, organization);
  const when = condition === undefined ? '' : ` when { ${condition} }`;
  return `@advice("require_approval")\nforbid(principal, ${actionScope(trigger.pattern)}, resource)${when} unless { context.approved };`;
}

export function factsContext(facts: Facts, approved: boolean): Record<string, CedarValueJson> {
  return {
    approved,
    ...(facts.recipientDomains === undefined ? {} : { recipientDomains: [...facts.recipientDomains] }),
    ...(facts.amountUsdCents === undefined ? {} : { amountUsdCents: facts.amountUsdCents }),
  };
}
