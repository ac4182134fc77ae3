/** Which programs a policy lets start. */
import type { SandboxPolicy } from '@nemoclaw/contract';
import { canonical, ruledPath } from './file-rules.ts';
import { isBelow } from './plan-paths.ts';

/** Folders without programs: data that the sandbox was given, and shared memory. */
export const withoutPrograms: readonly string[] = ['/etc', '/proc', '/run', '/dev'];

export interface ExecAnswer {
  readonly allowed: boolean;
  readonly rule: string;
  /** The rule by which a person is asked first, where there is one. */
  readonly asked: string | undefined;
}

/** Whether the program at `path` may be started, `real` follows the links of the host (without it paths are taken as they are). Denied and missing files aside. */
export function execRuleAt(policy: SandboxPolicy, path: string, real: (path: string) => string = (same) => same): ExecAnswer {
  const { allow, escalate } = policy.spec.process.exec;
  const at = real(canonical(path));
  const index = (list: readonly string[]): number => list.findIndex((pattern) => isBelow(at, real(ruledPath(pattern))));
  const question = index(escalate);
  const asked = question < 0 ? undefined : `process.exec.escalate[${question}]`;
  if (withoutPrograms.some((folder) => isBelow(at, folder))) return { allowed: false, rule: 'view', asked: undefined };
  if (allow.length === 0) return { allowed: true, rule: 'view', asked };
  const named = index(allow);
  return named < 0 ? { allowed: false, rule: 'process.exec.allow', asked } : { allowed: true, rule: `process.exec.allow[${named}]`, asked };
}
