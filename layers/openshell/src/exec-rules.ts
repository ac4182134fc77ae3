/** Which programs a policy lets start. */
import { sandboxFiles, type SandboxPolicy } from '@nemoclaw/contract';
import { ruledPath } from './file-rules.ts';

export const { withoutPrograms } = sandboxFiles;

/** The rules that ask about starting programs, as the policy names them. `path` as it is ruled, links of the host not followed. */
export function startRules(policy: SandboxPolicy): readonly { readonly path: string; readonly folder: boolean; readonly rule: string }[] {
  const { filesystem, process } = policy.spec;
  const one = (pattern: string, rule: string) => ({ path: ruledPath(pattern), folder: pattern.endsWith('/**'), rule });
  return [
    ...filesystem.escalate.flatMap((asked, i) => (asked.on.includes('exec') ? [one(asked.path, `filesystem.escalate[${i}]`)] : [])),
    ...process.exec.escalate.map((pattern, i) => one(pattern, `process.exec.escalate[${i}]`)),
  ];
}

/** The same policy where nobody can be asked in time: what it would ask about before a start is denied, as `filesystem.deny` denies. `ruleOf` gives a denial its own name back. */
export function withStartsDenied(policy: SandboxPolicy, real: (path: string) => string): { readonly policy: SandboxPolicy; ruleOf(rule: string): string } {
  const rules = startRules(policy);
  if (rules.length === 0) return { policy, ruleOf: (rule) => rule };
  const { spec } = policy;
  const first = spec.filesystem.deny.length;
  const names = new Map(rules.map(({ rule }, i) => [`filesystem.deny[${first + i}]`, rule]));
  const escalate = spec.filesystem.escalate.map((rule) => ({ ...rule, on: rule.on.filter((op) => op !== 'exec') }));
  const filesystem = { ...spec.filesystem, deny: [...spec.filesystem.deny, ...rules.map(({ path, folder }) => `${real(path)}${folder ? '/**' : ''}`)], escalate };
  return { policy: { ...policy, spec: { ...spec, filesystem, process: { ...spec.process, exec: { ...spec.process.exec, escalate: [] } } } }, ruleOf: (rule) => names.get(rule) ?? rule };
}

/** As `sandboxFiles.execRuleAt`, of a whole policy. */
export function execRuleAt(policy: SandboxPolicy, path: string, real?: (path: string) => string): sandboxFiles.ExecAnswer {
  return sandboxFiles.execRuleAt(policy.spec.process.exec, path, real);
}
