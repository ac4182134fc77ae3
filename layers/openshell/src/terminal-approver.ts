/** Asks the person at the terminal: one question at a time, one key, read from the terminal itself and never from what the agent may write to. */
import { openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { terminalQuestions, type Approver, type QuestionTerminal } from '@nemoclaw/contract';
import { closeFd } from './native.ts';

export interface TerminalApproverOptions {
  /** Opens the terminal; undefined: there is none. /dev/tty of this process if left out. */
  readonly open?: () => QuestionTerminal | undefined;
  /** Around each question: stop passing keys on and showing output, and go on. */
  readonly pause?: () => void;
  readonly resume?: () => void;
  /** Keys count only after so long without any, ms: what a person was typing when the question appeared is no answer. */
  readonly quiet?: number;
}

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
  input.on('end', () => input.destroy());
  output.on('error', () => output.destroy());
  input.setRawMode(true);
  return {
    write: (text) => void output.write(text),
    onKeys: (listener) => void input.removeAllListeners('data').on('data', (data: Buffer) => listener(data.toString('utf8'))),
    onGone: (listener) => void input.once('close', listener),
    close: () => {
      if (!input.destroyed) input.setRawMode(false);
      input.destroy();
      output.end(() => output.destroy());
    },
  };
}

/** Asks at the terminal of this process, as `terminalQuestions` of contract does. */
export function terminalApprover({ open = controllingTerminal, pause, resume, quiet }: TerminalApproverOptions = {}): Approver {
  const around = (): (() => void) => {
    pause?.();
    return () => resume?.();
  };
  return terminalQuestions({ name: 'openshell', open, pause: around, ...(quiet !== undefined && { quiet }) });
}
