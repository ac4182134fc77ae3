/** A person at a terminal as approver: one question after the other, one key each. The terminal itself is passed in; no I/O. */
import { safeLine } from './agent-text.ts';
import type { Approver, HoldOutcome, HoldRequest } from './ports.ts';

/** A person's terminal while a question stands. */
export interface QuestionTerminal {
  write(text: string): void;
  /** Keys as they come; the listener is replaced by the next call. */
  onKeys(listener: (keys: string) => void): void;
  /** The terminal went away. */
  onGone?(listener: () => void): void;
  close(): void;
}

export interface TerminalQuestions {
  /** Who asks. */
  readonly name: string;
  /** Opens the terminal; undefined: there is none. */
  readonly open: () => QuestionTerminal | undefined;
  /** Before each question: keeps the command from taking the keys and from writing over it. Gives what lets it go on. */
  readonly pause: () => () => void;
  /** Keys count only after so long without any, ms (400 if left out): what a person was typing when the question appeared is no answer. */
  readonly quiet?: number;
}

/**
 * Soft reset, colours off, plain character set, out of a line: the agent's program may have left the terminal in any state,
 * also one in which the question could not be read.
 */
const plainScreen = '\x1b[!p\x1b[0m\x1b(B\x0f\r\n';

/** Lines of a request that are shown, and characters of each. */
const mostLines = 30;
const longestLine = 200;

/** What a request says besides its place, as its card has it. */
function detailOf({ kind, detail }: HoldRequest): string[] {
  if (kind !== 'http' || detail === '') return [];
  const lines = detail.split('\n');
  const more = lines.length > mostLines ? [`  | … (${lines.length - mostLines} more lines, which are not shown)`] : [];
  return [...lines.slice(0, mostLines).map((line) => `  | ${safeLine(line, longestLine)}`), ...more];
}

function question(name: string, request: HoldRequest): string {
  const rule = request.decision.rules[0];
  const place = rule === undefined ? [] : [`  rule: ${safeLine(rule.id)}${rule.file === undefined ? '' : ` at ${safeLine(rule.file)}:${rule.line ?? 1}`}`];
  return [`${plainScreen}${name} asks:`, `  ${safeLine(request.summary, 5000)}`, ...detailOf(request), ...place, `  a: allow this once    d: deny    (denied by itself in ${Math.round(request.patienceMs / 1000)} s) `].join('\r\n');
}

/**
 * An approver for a program that is run by hand. `a` allows, `d`, Escape, Ctrl-C and Ctrl-D deny, other keys do nothing. Without a terminal, when
 * it goes away, when the question is withdrawn and after its patience the answer is `unavailable`, which denies. It keeps no grants.
 */
export function terminalQuestions({ name, open, pause, quiet = 400 }: TerminalQuestions): Approver {
  let last: Promise<unknown> = Promise.resolve();
  const one = async (request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> => {
    if (signal.aborted) return { verdict: 'unavailable', reason: 'the question was withdrawn' };
    const terminal = open();
    if (terminal === undefined) return { verdict: 'unavailable', reason: 'there is no terminal to ask at' };
    const goOn = pause();
    try {
      terminal.write(question(name, request));
      const key = await answer(terminal, signal, request.patienceMs, quiet);
      terminal.write(`${key === 'a' ? 'allowed' : key === 'd' ? 'denied' : 'it has ended'}\r\n`);
      if (key === undefined) return { verdict: 'unavailable', reason: 'nobody answered' };
      return key === 'a' ? { verdict: 'allow', approvalId: request.holdId, by: 'the terminal' } : { verdict: 'deny', approvalId: request.holdId, by: 'the terminal', reason: 'refused at the terminal' };
    } finally {
      terminal.close();
      goOn();
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

/** `a` or `d`; undefined: nobody answered. */
function answer(terminal: QuestionTerminal, signal: AbortSignal, patienceMs: number, quiet: number): Promise<'a' | 'd' | undefined> {
  return new Promise((resolve) => {
    let armed = false;
    const arm = (): void => {
      armed = true;
    };
    let timer = setTimeout(arm, quiet);
    const finish = (key: 'a' | 'd' | undefined): void => {
      clearTimeout(timer);
      clearTimeout(late);
      signal.removeEventListener('abort', nobody);
      terminal.onKeys(() => undefined);
      resolve(key);
    };
    const nobody = (): void => finish(undefined);
    const late = setTimeout(nobody, patienceMs);
    signal.addEventListener('abort', nobody);
    terminal.onGone?.(nobody);
    terminal.onKeys((keys) => {
      if (!armed) {
        clearTimeout(timer);
        timer = setTimeout(arm, quiet);
      } else if (keys === 'a' || keys === 'A') finish('a'); // more than one at once is pasted or typed ahead
      else if (/[dD\x03\x04]/.test(keys) || keys === '\x1b') finish('d'); // a denial may come in any way
    });
  });
}
