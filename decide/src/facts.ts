/** What a request says about recipients and amounts, in the only forms that rules read. What cannot be read for certain is absent, and absent is the strict side. */
import type { ActionPlan } from './actions.ts';

export interface Facts {
  /** Domains of every recipient, small letters, sorted; undefined if one of them cannot be read, or there is none. */
  readonly recipientDomains: readonly string[] | undefined;
  /** Cents, rounded up; undefined if missing, negative or not a plain number. */
  readonly amountUsdCents: number | undefined;
}

/**
 * Facts of an action. `params` as `resolveTool` and `resolveHttp` give them. For a tool or request only attributes that the catalogue declares count:
 * an argument of the same name is the agent's own word.
 */
export function factsOf(plan: ActionPlan, params: ReadonlyMap<string, unknown>, stated: boolean): Facts {
  const declared = (name: string): boolean => stated || plan.ir?.attributes.some(([n]) => n === name) === true;
  const amount = declared('amountUsd') ? params.get('amountUsd') : undefined;
  return { recipientDomains: declared('recipient') ? recipients(plan, params, stated) : undefined, amountUsdCents: cents(amount) };
}

/** `recipient`, and every other declared attribute whose name begins so (recipientCc, …) where the request has it. */
function recipients(plan: ActionPlan, params: ReadonlyMap<string, unknown>, stated: boolean): string[] | undefined {
  const names = stated ? [...params.keys()].filter((n) => n.startsWith('recipient')) : (plan.ir?.attributes ?? []).map(([n]) => n).filter((n) => n.startsWith('recipient'));
  if (!params.has('recipient')) return undefined;
  const domains = new Set<string>();
  for (const name of names) {
    if (!params.has(name)) continue;
    if (!collect(params.get(name), domains)) return undefined;
  }
  return domains.size === 0 ? undefined : [...domains].toSorted();
}

const address = /^(?:[^<>@"]*<[^<>@\s"]+@([A-Za-z0-9.-]+)>|[^<>@\s"]+@([A-Za-z0-9.-]+))$/;

/** Adds the domains of one value (an address, several with commas, or a list of such); false if anything in it is not a plain address. */
function collect(value: unknown, into: Set<string>): boolean {
  const list = Array.isArray(value) ? value : [value];
  if (list.length > 1000) return false;
  for (const item of list) {
    if (typeof item !== 'string' || item.length > 10_000) return false;
    for (const part of item.split(/[,;]/)) {
      const match = address.exec(part.trim());
      if (match === null) return false;
      into.add((match[1] ?? match[2] ?? '').toLowerCase());
    }
  }
  return true;
}

function cents(amount: unknown): number | undefined {
  if (typeof amount !== 'number' || !Number.isFinite(amount) || amount < 0) return undefined;
  const value = Math.ceil(Number((amount * 100).toFixed(6)));
  return Number.isSafeInteger(value) ? value : undefined;
}
