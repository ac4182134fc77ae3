/** The box at the end of `onboard`. */
import type { SandboxView } from '@nemoclaw/contract';
import { modelOf } from './commands/list.ts';

/** Sandbox, model and the next commands. */
export function summaryBox(sandbox: SandboxView): string {
  const line = '─'.repeat(50);
  const name = sandbox.name;
  return [
    line,
    `Sandbox  ${name} (Landlock+seccomp+netns)`,
    `Model    ${modelOf(sandbox)}`,
    line,
    `Run:     nemoclaw ${name} connect`,
    `         nemoclaw ${name} run "Work through the open tickets"`,
    `Status:  nemoclaw ${name} status`,
    `Logs:    nemoclaw ${name} logs --follow`,
    `Asked:   nemoclaw approvals list`,
    line,
    '[INFO] === Installation complete ===',
  ].join('\n');
}
