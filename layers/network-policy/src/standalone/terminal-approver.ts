/** The terminal of this process, where the person is asked about one held request after the other. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { terminalQuestions, type Approver, type QuestionTerminal } from '@nemoclaw/contract';

function controllingTerminal(): QuestionTerminal | undefined {
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

/** `pause`: stops the command while a question stands; gives what lets it go on. */
export const terminalApprover = (pause: () => () => void): Approver => terminalQuestions({ name: 'network-policy', open: controllingTerminal, pause });

/** A terminal that went away is noticed where it is read. */
function writeTo(fd: number, text: string): void {
  try {
    writeSync(fd, text);
  } catch {
    // gone
  }
}
