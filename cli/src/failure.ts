/** Failures of a command: thrown where they happen, told in one form, turned into an exit code. The table of errors is loaded only when one happened. */
import type { ErrorBody, ErrorCode, NemoErrorDetails } from '@nemoclaw/contract';
import { sayJson, type CliContext } from './context.ts';

/** Something a person must know; `code` is in the contract's table. */
export class Failure extends Error {
  readonly code: ErrorCode;
  readonly details: NemoErrorDetails;

  constructor(code: ErrorCode, details: NemoErrorDetails) {
    super(details.what, { cause: details.cause });
    this.name = 'Failure';
    this.code = code;
    this.details = details;
  }
}

/** An error that the gateway answered; its code may be newer than this program. */
export class AnsweredFailure extends Error {
  readonly body: ErrorBody['error'];

  constructor(body: ErrorBody['error']) {
    super(body.what);
    this.name = 'AnsweredFailure';
    this.body = body;
  }
}

/** Ends a command with an exit code after everything has been said. */
export class Quit extends Error {
  readonly exit: number;

  constructor(exit: number) {
    super(`exit ${exit}`);
    this.name = 'Quit';
    this.exit = exit;
  }
}

/** Tells the failure on stderr (as JSON on stdout if `json`) and sets the exit code. Anything unexpected is told as NEMO_E_INTERNAL, with its stack only if NEMOCLAW_DEBUG is set. */
export async function tell(context: CliContext, thrown: unknown, json: boolean): Promise<void> {
  if (thrown instanceof Quit) {
    context.world.setExit(thrown.exit);
    return;
  }
  const { body, exit } = await describe(thrown);
  if (json) sayJson(context, { error: body });
  else {
    // Reasons may quote logs, policies or what a program said.
    const { safeBlock } = await import('@nemoclaw/contract');
    context.world.stderr.write(`${safeBlock(render(body))}\n`);
  }
  if (context.world.env['NEMOCLAW_DEBUG'] && thrown instanceof Error) context.world.stderr.write(`${thrown.stack ?? ''}\n`);
  context.world.setExit(exit);
}

async function describe(thrown: unknown): Promise<{ body: ErrorBody['error']; exit: number }> {
  const { NemoError, errorTable, isErrorCode } = await import('@nemoclaw/contract');
  if (thrown instanceof AnsweredFailure) {
    return { body: thrown.body, exit: isErrorCode(thrown.body.code) ? errorTable[thrown.body.code].exit : 1 };
  }
  const error =
    thrown instanceof NemoError
      ? thrown
      : thrown instanceof Failure
        ? new NemoError(thrown.code, thrown.details)
        : new NemoError('NEMO_E_INTERNAL', { what: thrown instanceof Error ? thrown.message : String(thrown) });
  const body: ErrorBody['error'] = { code: error.code, what: error.message, fix: error.fix, ...(error.why ? { why: error.why } : {}), ...(error.where ? { where: { ...error.where } } : {}) };
  return { body, exit: error.exit };
}

/** What, where, why, how to fix it, code: the form of the contract's `renderError`, also for codes this program does not know. */
function render(body: ErrorBody['error']): string {
  const lines = [`error: ${body.what}`];
  if (body.where) lines.push(`  at:  ${body.where.file}:${body.where.line}:${body.where.column}`);
  if (body.why) lines.push(`  why: ${body.why}`);
  lines.push(`  fix: ${body.fix}`, `  code: ${body.code}`);
  return lines.join('\n');
}
