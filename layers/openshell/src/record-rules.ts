/** Which rule of a policy a refusal belongs to: a table by path that openshelld looks a refused call up in, made of what `explain` answers. */
import { whereOf, type Path, type RecordRules, type RuleRef, type SandboxPolicy } from '@nemoclaw/contract';
import { explainer, type ExplainHost, type ExplainOp } from './explain.ts';
import { home, rootOf, workspace } from './plan-paths.ts';

/** `filesystem.deny[0]` with the place where the policy says it; `view` is nobody's rule. */
export function ruleRef(policy: SandboxPolicy, rule: string): RuleRef {
  const path: Path = ['spec', ...[...rule.matchAll(/([A-Za-z]+)|\[(\d+)\]/g)].map(([, name, index]) => name ?? Number(index))];
  const where = rule === 'view' ? undefined : whereOf(policy, path);
  return { id: rule, ...(where && { file: where.file, line: where.line }) };
}

/** Pure. The nearest path above a refused one says which rule refused reading, changing, starting there; null: none does. */
export function recordRules(policy: SandboxPolicy, host: ExplainHost): RecordRules {
  const { filesystem, process, syscalls } = policy.spec;
  const named = [...filesystem.deny, ...filesystem.readOnly, ...filesystem.readWrite, ...filesystem.escalate.map((rule) => rule.path), ...process.exec.allow, ...process.exec.escalate].map(rootOf);
  const places = [...new Set(['/', '/usr', '/opt', '/etc', '/tmp', home, workspace, ...named])].sort();
  const explain = explainer(policy, 'B', host);
  const answer = (op: ExplainOp, place: string): RuleRef | null => {
    const { verdict, rule } = explain({ op, path: `${place === '/' ? '' : place}/x` });
    return verdict === 'deny' ? ruleRef(policy, rule) : null;
  };
  return {
    paths: places.map((path) => ({ path, read: answer('read', path), write: answer('write', path), exec: answer('exec', path) })),
    calls: Object.fromEntries(syscalls.deny.map((name, index): [string, RuleRef] => [name, ruleRef(policy, `syscalls.deny[${index}]`)])),
  };
}
