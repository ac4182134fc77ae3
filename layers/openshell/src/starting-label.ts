/** The label that a sandbox has because of what it can read: `filesystem.labels`. */
import { joinSensitivity, type SandboxPolicy, type Sensitivity } from '@nemoclaw/contract';
import { fileRules, isShown, ruledPath } from './file-rules.ts';

export interface StartingLabel {
  readonly level: Sensitivity;
  /** The rules that it comes from, as the policy names them. */
  readonly rules: readonly string[];
}

/** The join of the labels of every subtree that the sandbox can read any part of; `public` where there is none. Nothing is seen later that would raise it, so it holds from the start. */
export function startingLabel(policy: SandboxPolicy, bindRoots?: readonly string[]): StartingLabel {
  const rules = fileRules(policy);
  let level: Sensitivity = 'public';
  const from: string[] = [];
  policy.spec.filesystem.labels.forEach((label, i) => {
    const path = ruledPath(label.path);
    const inside = rules.grants.some((grant) => grant.path.startsWith(`${path}/`) && rules.denialAt(grant.path) === undefined && isShown(grant.path, rules, bindRoots));
    if (rules.denialAt(path) !== undefined || !(isShown(path, rules, bindRoots) || inside)) return;
    level = joinSensitivity(level, label.level);
    from.push(`filesystem.labels[${i}]`);
  });
  return { level, rules: from };
}
