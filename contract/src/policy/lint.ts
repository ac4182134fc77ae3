/** What `policy validate` reports about a bundle that loads: rules that do less than they seem to. */
import type { Where } from '../errors.ts';
import type { PolicyBundle } from './folder.ts';
import { whereOf } from './source.ts';

export interface LintFinding {
  /** `advisory-only`: an action that is denied or asks, but is seen only in the model's own words. `no-effect`: a rule that can never matter. */
  readonly code: 'advisory-only' | 'no-effect';
  readonly text: string;
  readonly where?: Where;
}

/** True if `name` is `pattern`, or below it where the pattern ends in `.*`; `*` matches all. */
export function actionMatches(pattern: string, name: string): boolean {
  if (pattern === '*') return true;
  return pattern.endsWith('.*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}

/** Findings of one bundle, in the order of its files. */
export function lintBundle(bundle: Pick<PolicyBundle, 'sandboxPolicy' | 'approvals' | 'catalogue'>): LintFinding[] {
  const out: LintFinding[] = [];
  const { allowedAPIs, deniedAPIs } = bundle.sandboxPolicy.spec.permissions;
  const triggers = bundle.approvals?.triggers ?? [];
  const place = (policy: object | undefined, path: readonly (string | number)[]): { where?: Where } => {
    const where = policy === undefined ? undefined : whereOf(policy, path);
    return where === undefined ? {} : { where };
  };
  bundle.catalogue?.actions.forEach((action, index) => {
    if (action.local !== undefined) return;
    const denied = deniedAPIs.some((p) => actionMatches(p, action.name)) || !allowedAPIs.some((p) => actionMatches(p, action.name));
    const asks = triggers.some((t) => actionMatches(t.action, action.name));
    if ((denied || asks) && action.match.every((m) => m.http === undefined)) {
      out.push({ code: 'advisory-only', text: `${action.name} is ${denied ? 'denied' : 'held'} only when the model names the tool: a program in the sandbox can do the same without it. Add the HTTP request that carries it out.`, ...place(bundle.catalogue, ['actions', index]) });
    }
  });
  allowedAPIs.forEach((pattern, index) => {
    if (deniedAPIs.some((d) => d === pattern || actionMatches(d, pattern))) out.push({ code: 'no-effect', text: `permissions.allowedAPIs[${index}] (${pattern}) never matters: deniedAPIs denies all of it.`, ...place(bundle.sandboxPolicy, ['spec', 'permissions', 'allowedAPIs', index]) });
  });
  return out;
}
