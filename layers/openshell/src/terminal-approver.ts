/** Asks the person at the terminal: one question at a time, one key, read from the terminal itself and never from what the agent may write to. */
import { openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { safeLine, type Approver, type HoldOutcome, type HoldRequest } from '@nemoclaw/contract';
import { closeFd } from './native.ts';

/** A person's terminal while a question stands. */
export interface QuestionTerminal {
  write(text: string): void;
  /** Keys as they come; the listener is replaced by the next call. */
  onKeys(listener: (keys: string) => void): void;
  close(): void;
}

export interface TerminalApproverOptions {
  /** Opens the terminal; undefined: there is none. /dev/tty of this process if left out. */
  readonly open?: () => QuestionTerminal | undefined;
  /** Around each question: stop passing keys on and showing output, and go on. */
  readonly pause?: () => void;
  readonly resume?: () => void;
  /** Keys count only after so long without any, ms: what a person was typing when the question appeared is no answer. */
  readonly quiet?: number;
}

/**
 * Soft reset, colours off, plain character set, out of a line: the agent's program may have left the terminal in any state,
 * also one in which the question could not be read.
 */
const plainScreen = '\x1b[!p\x1b[0m\x1b(B\x0f\r\n';

function controllingTerminal(): QuestionTerminal | undefined {
  let fd: number;
  let out: number;
  try {
    fd = openSync('/dev/tty', 'r+');
  } catch {
    return undefined;
  }
  try {
    out = openSync('/dev/tty', 'r+');
  } catch {
    closeFd(fd);
    return undefined;
  }
  const input = new ReadStream(fd);
  const output = new WriteStream(out);
  input.on('error', () => input.destroy());
  output.on('error', () => output.destroy());
  input.setRawMode(true);
  return {
    write: (text) => void output.write(text),
    onKeys: (listener) => void input.removeAllListeners('data').on('data', (data: Buffer) => listener(data.toString('utf8'))),
    close: () => {
      input.setRawMode(false);
      input.destroy();
      output.end(() => output.destroy());
    },
  };
}

function question(request: HoldRequest): string {
  const rule = request.decision.rules[0];
  const place = rule === undefined ? '' : `${rule.id}${rule.file === undefined ? '' : ` at ${safeLine(rule.file)}:${rule.line ?? 1}`}`;
  return [`${plainScreen}openshell asks:`, `  ${request.summary}`, ...(place === '' ? [] : [`  rule: ${place}`]), `  a: allow this once    d: deny    (denied by itself in ${Math.round(request.patienceMs / 1000)} s) `].join('\r\n');
}

/**
 * An approver for a program that is run by hand. `a` allows, `d`, Escape, Ctrl-C and Ctrl-D deny, other keys do nothing. Without a terminal
 * every question is answered `unavailable`, which denies. It keeps no grants.
 */
export function terminalApprover(options: TerminalApproverOptions = {}): Approver {
  const open = options.open ?? controllingTerminal;
  let last: Promise<unknown> = Promise.resolve();
  const one = async (request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> => {
    if (signal.aborted) return { verdict: 'unavailable', reason: 'the question was withdrawn' };
    const terminal = open();
    if (terminal === undefined) return { verdict: 'unavailable', reason: 'there is no terminal to ask at' };
    options.pause?.();
    try {
      terminal.write(question(request));
      const key = await answer(terminal, signal, options.quiet ?? 400);
      terminal.write(`${key === 'a' ? 'allowed' : key === 'd' ? 'denied' : 'it has ended'}\r\n`);
      if (key === undefined) return { verdict: 'unavailable', reason: 'the question was withdrawn' };
      return key === 'a' ? { verdict: 'allow', approvalId: request.holdId, by: 'the terminal' } : { verdict: 'deny', approvalId: request.holdId, by: 'the terminal', reason: '' };
    } finally {
      terminal.close();
      options.resume?.();
    }
  };
  return {
    ask(request, signal) {
      const asked = last.then(() => one(request, signal));
      last = asked.catch(() => undefined);
      return asked;
    },
    consumeGrant: () => Promise.resolve(false),
    pending: () => undefined,
  };
}

/** `a` or `d`; undefined: the question was withdrawn. */
function answer(terminal: QuestionTerminal, signal: AbortSignal, quiet: number): Promise<'a' | 'd' | undefined> {
  return new Promise((resolve) => {
    let armed = false;
    let timer = setTimeout(arm, quiet);
    function arm(): void {
      armed = true;
    }
    function finish(key: 'a' | 'd' | undefined): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', withdrawn);
      terminal.onKeys(() => undefined);
      resolve(key);
    }
    const withdrawn = (): void => finish(undefined);
    signal.addEventListener('abort', withdrawn);
    terminal.onKeys((keys) => {
      if (!armed) {
        clearTimeout(timer);
        timer = setTimeout(arm, quiet);
        return;
      }
      // More than one at once is pasted or typed ahead; a denial may come in any way.
      if (keys === 'a' || keys === 'A') finish('a');
      else if (/[dD\x03\x04]/.test(keys) || keys === '\x1b') finish('d');
    });
  });
}
