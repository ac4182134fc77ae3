/** Commands in a sandbox as streams: three pipes, or a terminal. */
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { PassThrough, Writable, type Readable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { NemoError } from '@nemoclaw/contract';

/** How a command ended: `code` 0 to 255, or null where `signal` ended it, e.g. SIGKILL. */
export interface ExecEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface Running {
  /** Process id as seen inside the sandbox. */
  readonly pid: number;
  /** Resolves when the command has ended; never rejects. What it wrote may still be in the streams. */
  readonly exited: Promise<ExecEnd>;
  /** Sends a signal to the command's process group; SIGTERM if none is named. Rejects with NEMO_E_STATE if it has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export interface SandboxProcess extends Running {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Closes stdin and collects the output as UTF-8. Rejects with NEMO_E_EXEC, and kills the command, when more than `maxBytes` (16 MiB if not given) come on either. */
  output(maxBytes?: number): Promise<ExecEnd & { readonly stdout: string; readonly stderr: string }>;
}

export interface SandboxTerminal extends Running {
  /** Keys; `\x04` is end of file where the program reads lines. */
  readonly input: Writable;
  /** Everything the program shows. Ends when nothing in the sandbox has the terminal open. */
  readonly output: Readable;
  /** In characters, 1 to 65,535; the program gets SIGWINCH. */
  resize(rows: number, cols: number): Promise<void>;
}

const plenty = 16 * 2 ** 20;

export function signalNumber(signal: NodeJS.Signals): number {
  return constants.signals[signal];
}

async function collect(stream: Readable, maxBytes: number, name: string): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream) {
    const data = Buffer.from(part as Uint8Array);
    bytes += data.length;
    if (bytes > maxBytes) throw new NemoError('NEMO_E_EXEC', { what: `The command wrote more than ${maxBytes} bytes to ${name}.`, fix: 'Read the stream, or give a larger maxBytes.' });
    parts.push(data);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** `fds`: our ends of stdin, stdout and stderr; owned from now on. */
export function processOf(running: Running, fds: readonly number[]): SandboxProcess {
  const [input = -1, out = -1, err = -1] = fds;
  const stdin = new Socket({ fd: input, readable: false, writable: true });
  const stdout = new Socket({ fd: out, readable: true, writable: false });
  const stderr = new Socket({ fd: err, readable: true, writable: false });
  stdin.on('error', () => stdin.destroy()); // EPIPE: the command does not read any more
  const output = async (maxBytes = plenty): Promise<ExecEnd & { stdout: string; stderr: string }> => {
    stdin.end();
    try {
      const [end, ...texts] = await Promise.all([running.exited, collect(stdout, maxBytes, 'stdout'), collect(stderr, maxBytes, 'stderr')]);
      return { ...end, stdout: texts[0], stderr: texts[1] };
    } catch (error) {
      await running.kill('SIGKILL').catch(() => undefined);
      stdout.destroy();
      stderr.destroy();
      throw error;
    }
  };
  return { ...running, stdin, stdout, stderr, output };
}

/** `fd`: the terminal's master; owned from now on. A terminal is one descriptor for both directions, and its end is an error (EIO) that means nothing else. */
export function terminalOf(running: Running, fd: number, resize: (rows: number, cols: number) => Promise<void>): SandboxTerminal {
  const master = new ReadStream(fd);
  const output = new PassThrough();
  const over = (): void => void output.end();
  master.on('error', () => master.destroy()).on('close', over).on('end', over);
  master.pipe(output, { end: false });
  output.on('close', () => master.destroy());
  const input = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (master.destroyed) done();
      else master.write(chunk, () => done());
    },
  });
  return { ...running, input, output, resize };
}
