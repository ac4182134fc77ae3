/** Which programs a policy lets start. */
import { sandboxFiles, type SandboxPolicy } from '@nemoclaw/contract';

export const { withoutPrograms } = sandboxFiles;

/** As `sandboxFiles.execRuleAt`, of a whole policy. */
export function execRuleAt(policy: SandboxPolicy, path: string, real?: (path: string) => string): sandboxFiles.ExecAnswer {
  return sandboxFiles.execRuleAt(policy.spec.process.exec, path, real);
}
