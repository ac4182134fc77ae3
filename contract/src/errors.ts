/** The one table of errors that a person can get: a stable code, a plain title and how to fix it. */

import { safeBlock } from './agent-text.ts';

/** Where in a person's input something is wrong; 1-based line and column. */
export interface Where {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface ErrorEntry {
  readonly title: string;
  readonly fix: string;
  /** Exit code of the CLI: 1 failed, 2 usage, 3 denied by policy, 4 waiting for approval, 5 no daemon. */
  readonly exit: 1 | 2 | 3 | 4 | 5;
}

const table = {
  // general
  NEMO_E_USAGE: { title: 'The command was not understood', fix: 'Run the command with --help.', exit: 2 },
  NEMO_E_NO_DAEMON: { title: 'NemoClaw is not running', fix: 'Run `nemoclaw up`.', exit: 5 },
  NEMO_E_INTERNAL: { title: 'Something failed inside NemoClaw', fix: 'Run `nemoclaw doctor` and look at `nemoclaw logs`.', exit: 1 },
  // policy files
  NEMO_E_POLICY_YAML: { title: 'The file is not valid YAML', fix: 'Correct the syntax at the place shown.', exit: 2 },
  NEMO_E_POLICY_UNKNOWN_FIELD: { title: 'Unknown field', fix: 'Remove the field, or correct its name.', exit: 2 },
  NEMO_E_POLICY_TYPE: { title: 'Wrong type or value', fix: 'docs/policy.md says what this field takes.', exit: 2 },
  NEMO_E_POLICY_PATTERN: { title: 'Pattern not accepted', fix: 'Use a narrower pattern.', exit: 2 },
  NEMO_E_POLICY_NEEDS: { title: 'The policy needs what this host cannot enforce', fix: 'Run on a host that can, or say `enforcement: best-effort`.', exit: 2 },
  NEMO_E_POLICY_SINK: { title: 'Unknown audit destination', fix: 'Configure the sink by this name, or use siem://security-events.', exit: 2 },
  NEMO_E_POLICY_CHANNEL: { title: 'Unknown approval channel', fix: 'Configure the channel, or use `terminal`.', exit: 2 },
  NEMO_E_POLICY_FOREIGN: { title: "Something in an OpenShell policy file cannot be honoured", fix: 'Change it at the place shown, or write it as kind: SandboxPolicy and networkPolicy.', exit: 2 },
  NEMO_E_POLICY_DAMAGED: { title: 'A compiled policy is damaged', fix: 'Apply the policy again.', exit: 1 },
  // network-policy alone
  NEMO_E_CAPTURE: { title: 'The network of the command could not be made', fix: 'Run it as root, or on a host that lets a plain user make namespaces; see the reason.', exit: 1 },
  NEMO_E_CREDENTIALS: { title: 'The credentials cannot be used', fix: 'Correct what is named. What holds a secret must belong to whoever starts network-policy, and nobody else may read it (`chmod 600 FILE`).', exit: 2 },
  // gateway and its API
  NEMO_E_NAME: { title: 'Name not accepted', fix: 'Choose another name, e.g. my-assistant.', exit: 2 },
  NEMO_E_BODY: { title: 'The request was not understood', fix: 'Send the fields that the API describes.', exit: 2 },
  NEMO_E_NOT_FOUND: { title: 'There is no such thing', fix: 'Look at `nemoclaw list`.', exit: 1 },
  NEMO_E_CONFLICT: { title: 'It is no longer as it was', fix: 'Look at the present state and try again.', exit: 1 },
  NEMO_E_DECIDED: { title: 'Already decided', fix: 'Look at it with `nemoclaw approvals show`.', exit: 1 },
  NEMO_E_PEER: { title: 'This user may not use NemoClaw', fix: 'Ask the administrator to add you to the group nemoclaw-operators.', exit: 3 },
  NEMO_E_STATE: { title: 'The sandbox is not in the right state for this', fix: 'Look at `nemoclaw list`.', exit: 1 },
  NEMO_E_NOT_YOURS: { title: 'This sandbox works in another person\'s folder', fix: 'Make a sandbox of your own, or ask its owner.', exit: 3 },
  NEMO_E_SELF_APPROVAL: { title: 'Nobody approves what their own agent asks', fix: 'Ask another operator to decide.', exit: 3 },
  NEMO_E_PROVIDER: { title: 'The model provider cannot be used', fix: 'Choose another provider, or give its endpoint, model and key.', exit: 2 },
  NEMO_E_BLUEPRINT: { title: 'The blueprint cannot be used', fix: 'Look at `nemoclaw blueprint list`.', exit: 2 },
  NEMO_E_DEMO_ANSWERS: { title: 'Scripted approvals are only for the demo provider', fix: 'Remove `demo.approvedRequests` from the blueprint, or use the provider demo.', exit: 2 },
  NEMO_E_WORKSPACE: { title: 'The workspace cannot be used', fix: 'Register the folder again.', exit: 1 },
  NEMO_E_UNCHECKED: { title: 'A workspace was given back without a check', fix: 'Before you open the folder, look at what changed in it at names that shells, git, editors or agents obey by themselves (`.envrc`, `.git/hooks`, `.vscode`).', exit: 1 },
  NEMO_E_CREATE: { title: 'The sandbox could not be made', fix: 'Run `nemoclaw doctor`.', exit: 1 },
  NEMO_E_PROBE: { title: 'The sandbox did not prove that it holds', fix: 'Run `nemoclaw doctor`; nothing was started.', exit: 1 },
  NEMO_E_APPLY: { title: 'The policy could not be put in force', fix: 'The former version is still in force; run `nemoclaw doctor`.', exit: 1 },
  NEMO_E_EXEC: { title: 'The command could not be started', fix: 'Check the command and that the sandbox runs.', exit: 1 },
  NEMO_E_RECORD: { title: 'The record cannot be written', fix: 'Run `nemoclaw doctor`; nothing is approved or changed without the record.', exit: 1 },
  NEMO_E_BACKEND: { title: 'openshelld did not answer', fix: 'Run `nemoclaw doctor`.', exit: 1 },
  // command line
  NEMO_E_ROOT: { title: 'This needs root', fix: 'Run the same command with sudo.', exit: 1 },
  NEMO_E_SETUP: { title: 'A step of the set-up failed', fix: 'Correct the cause that is shown and run the command again; what is done is kept.', exit: 1 },
  // sandbox plans and the launcher
  NEMO_E_PLAN_SYSCALL: { title: 'System call not accepted', fix: 'Remove the name from syscalls.allow or syscalls.deny.', exit: 2 },
  NEMO_E_PLAN_PATH: { title: 'Path cannot be shown in a sandbox', fix: 'Name a path under /workspace, /tmp or the home, or have root add it to the bind roots.', exit: 2 },
  NEMO_E_NATIVE: { title: 'The native part is not built', fix: 'Run `make -C layers/openshell/native`.', exit: 1 },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof table;

/** Every error code with its entry, for documentation and tests. */
export const errorTable: Readonly<Record<ErrorCode, ErrorEntry>> = table;

export interface NemoErrorDetails {
  /** What happened, one sentence, safe to show; never a secret. */
  readonly what: string;
  readonly where?: Where;
  /** Why it is refused. */
  readonly why?: string;
  /** How to fix it; the table's line when left out. */
  readonly fix?: string;
  /** For the log only. */
  readonly cause?: unknown;
}

/** The only error class that reaches a person. */
export class NemoError extends Error {
  readonly code: ErrorCode;
  readonly where: Where | undefined;
  readonly why: string | undefined;
  readonly fix: string;

  constructor(code: ErrorCode, details: NemoErrorDetails) {
    super(details.what, { cause: details.cause });
    this.name = 'NemoError';
    this.code = code;
    this.where = details.where;
    this.why = details.why;
    this.fix = details.fix ?? errorTable[code].fix;
  }

  get exit(): number {
    return errorTable[this.code].exit;
  }

  toJSON(): { code: ErrorCode; what: string; where: Where | undefined; why: string | undefined; fix: string } {
    return { code: this.code, what: this.message, where: this.where, why: this.why, fix: this.fix };
  }
}

/** The plain-text form: what, where, why, how to fix, code; one line each. What a file of somebody else's says in it cannot steer a terminal. */
export function renderError(error: NemoError): string {
  const lines = [`error: ${error.message}`];
  if (error.where) lines.push(`  at:  ${error.where.file}:${error.where.line}:${error.where.column}`);
  if (error.why) lines.push(`  why: ${error.why}`);
  lines.push(`  fix: ${error.fix}`, `  code: ${error.code}`);
  return safeBlock(lines.join('\n'));
}
