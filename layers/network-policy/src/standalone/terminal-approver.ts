/** Asks the person at the terminal about one held request after the other; where there is no terminal the answer is no. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { safeLine } from '@nemoclaw/contract';
import type { Approver, HoldOutcome, HoldRequest } from '@nemoclaw/contract';

export interface Question {
  write(text: string): void;
  onKeys(listener: (keys: string) => void): void;
  /** The terminal went away. */
  onGone(listener: () => void): void;
  close(): void;
}

function controllingTerminal(): Question | undefined {
  let input: ReadStream;
  let out: number;
  try {
    input = new ReadStream(openSync('/dev/tty', 'r+'));
    out = openSync('/dev/tty', 'w');
  } catch {
    return undefined;
  }
  const stream = openWriter(out);
  input.on('error', () => input.destroy());
  input.on('end', () => input.destroy());
  input.setRawMode(true);
  return {
    write: stream.write,
    onKeys: (listener) => void input.removeAllListeners('data').on('data', (data: Buffer) => listener(data.toString('utf8'))),
    onGone: (listener) => void input.once('close', listener),
    close: () => {
      if (!input.destroyed) input.setRawMode(false);
      input.destroy();
      stream.close();
    },
  };
}

const openWriter = (fd: number): { write: (text: string) => void; close: () => void } => ({ write: (text) => writeTo(fd, text), close: () => closeSync(fd) });

/** `around`: stops the command while a question stands, so that it neither takes the answer's key nor writes over the question; gives what lets it go on. */
export function terminalApprover(around: () => () => void, open: () => Question | undefined = controllingTerminal): Approver {
  let last: Promise<unknown> = Promise.resolve();
  const one = async (request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome> => {
    if (signal.aborted) return { verdict: 'unavailable', reason: 'the question was withdrawn' };
    const terminal = open();
    if (terminal === undefined) return { verdict: 'unavailable', reason: 'there is no terminal to ask at' };
    const goOn = around();
    try {
      const rule = request.decision.rules[0];
      // Colours off, plain characters, a new line: the command may have left the terminal in any state.
      terminal.write(`\x1b[!p\x1b[0m\x1b(B\x0f\r\nnetwork-policy asks:\r\n  ${safeLine(request.summary, 400)}\r\n${rule === undefined ? '' : `  rule: ${safeLine(rule.id)}\r\n`}  a: allow this once    d: deny    (denied by itself in ${Math.round(request.patienceMs / 1000)} s) `);
      const key = await answer(terminal, signal, request.patienceMs);
      terminal.write(`${key === 'a' ? 'allowed' : 'denied'}\r\n`);
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

// Keys count only after so long without any, ms: what was being typed when the question appeared is no answer.
const quiet = 400;

function answer(terminal: Question, signal: AbortSignal, patienceMs: number): Promise<'a' | 'd' | undefined> {
  return new Promise((resolve) => {
    let armed = false;
    const arm = (): void => {
      armed = true;
    };
    let timer = setTimeout(arm, quiet);
    const finish = (key: 'a' | 'd' | undefined): void => {
      clearTimeout(timer);
      clearTimeout(late);
      signal.removeEventListener('abort', withdrawn);
      terminal.onKeys(() => undefined);
      resolve(key);
    };
    const withdrawn = (): void => finish(undefined);
    const late = setTimeout(withdrawn, patienceMs);
    signal.addEventListener('abort', withdrawn);
    terminal.onGone(withdrawn);
    terminal.onKeys((keys) => {
      if (!armed) {
        clearTimeout(timer);
        timer = setTimeout(arm, quiet);
      } else if (keys === 'a' || keys === 'A') finish('a');
      else if (/[dD\x03\x04]/.test(keys) || keys === '\x1b') finish('d');
    });
  });
}

/** A terminal that went away is noticed where it is read. */
function writeTo(fd: number, text: string): void {
  try {
    writeSync(fd, text);
  } catch {
    // gone
  }
}
