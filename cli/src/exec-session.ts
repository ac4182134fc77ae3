/** A command or task inside a sandbox, over WebSocket: its streams, its terminal, its signals and how it ended. */
import { WebSocket, type RawData } from 'ws';
import type { ExecClientFrame, ExecServerFrame, ExecStart, RunStart } from '@nemoclaw/contract';
import type { CliContext, Output } from './context.ts';
import { outputTo, passInput, type PassedInput } from './exec-streams.ts';
import { AnsweredFailure, Failure, Quit } from './failure.ts';
import { unreachable } from './gateway-client.ts';
import { sandboxPath } from './sandbox-path.ts';

export type Ended = Extract<ExecServerFrame, { t: 'exit' } | { t: 'done' }>;

export interface SessionOptions {
  readonly kind: 'exec' | 'run';
  readonly start: ExecStart | RunStart;
  /** Where the command's output goes. */
  readonly stdout: Output;
  readonly stderr: Output;
  /** The person's keys and window size go to a terminal inside. */
  readonly terminal: boolean;
  /** Standard input is passed on. */
  readonly input: boolean;
  readonly onNotice: (text: string, approvalId: string) => void;
  readonly onStarted?: (frame: Extract<ExecServerFrame, { t: 'started' }>) => void;
}

/** Normal screen, visible cursor, no mouse, no bracketed paste, no focus events, usual keys, no colours, a new line and nothing below it. */
const plainTerminal = '\u001b[?1047l\u001b[?25h\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l\u001b[?1004l\u001b[?2004l\u001b[<u\u001b[>4;0m\u001b[0m\n\u001b[J';
/** What becomes of a command whose gateway went away. */
const afterBreak = {
  exec: 'The command does not go on: it is ended when the gateway is back, at the latest with its sandbox. Look at `nemoclaw status`, then run it again.',
  run: 'A task that had begun goes on for as long as its sandbox does; look at `nemoclaw status` and the logs.',
} as const;
const signalNumber = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Runs it and resolves with its last frame. Ctrl-C is passed on (as a byte to a terminal, else as a signal; the third one breaks off, which ends the command).
 * Throws AnsweredFailure, Failure or Quit; the terminal is always put back.
 */
export async function runSession(context: CliContext, options: SessionOptions): Promise<Ended> {
  const { world } = context;
  const socket = new WebSocket(`ws+unix:${context.places.gatewaySocket}:${sandboxPath(context.sandbox, `/${options.kind}`)}`, { perMessageDeflate: false });
  const tidy: (() => void)[] = [];
  let ended = false;
  let input: PassedInput | undefined;
  const show = outputTo(socket, options);
  const sendFrame = (frame: ExecClientFrame): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  };
  try {
    return await new Promise<Ended>((resolve, reject) => {
      socket.on('open', () => {
        socket.send(JSON.stringify(options.start));
        tidy.push(...passSignals(context, options.terminal, sendFrame, () => reject(new Quit(128 + signalNumber.SIGINT))));
        if (options.terminal) tidy.push(...openTerminal(context, sendFrame));
        if (options.input) input = passInput(world.stdin, socket, () => sendFrame({ t: 'eof' }));
      });
      socket.on('message', (data, binary) => {
        if (binary) return show(bytesOf(data));
        const frame = JSON.parse(bytesOf(data).toString('utf8')) as ExecServerFrame;
        if (frame.t === 'started') options.onStarted?.(frame);
        else if (frame.t === 'notice') options.onNotice(frame.text, frame.approvalId);
        else if (frame.t === 'input') input?.wanted(frame.more);
        else if (frame.t === 'error') reject(new AnsweredFailure(frame.error));
        else {
          ended = true;
          resolve(frame);
        }
      });
      socket.on('unexpected-response', (_request, response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () => reject(answered(text, response.statusCode ?? 0)));
      });
      socket.on('error', (error) => reject(unreachable(context, error)));
      socket.on('close', () =>
        reject(new Failure('NEMO_E_NO_DAEMON', { what: 'The connection to the gateway ended before the command did.', fix: afterBreak[options.kind] })),
      );
    });
  } finally {
    for (const undo of tidy) undo();
    input?.stop();
    // a program that had no chance to tidy up may have left another screen, a hidden cursor or its key codes
    if (options.terminal && !ended && tidy.length > 0) options.stdout.write(plainTerminal);
    world.stdin.pause();
    socket.removeAllListeners('close');
    socket.on('error', () => undefined);
    if (ended) socket.close();
    else socket.terminate();
  }
}

function answered(text: string, status: number): Error {
  try {
    const body = JSON.parse(text) as { error?: AnsweredFailure['body'] };
    if (typeof body.error?.code === 'string') return new AnsweredFailure(body.error);
  } catch {
    // not JSON: told with its status below
  }
  return new AnsweredFailure({ code: 'NEMO_E_INTERNAL', what: `The gateway answered ${status} without saying why.`, fix: 'Run `nemoclaw doctor`.' });
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

/** Raw keys and the window's size; what it gives back puts both back. */
function openTerminal(context: CliContext, sendFrame: (frame: ExecClientFrame) => void): (() => void)[] {
  const { stdin, stdout } = context.world;
  stdin.setRawMode?.(true);
  context.world.unprocessed();
  const resized = (): void => sendFrame({ t: 'resize', rows: stdout.rows || 24, cols: stdout.columns || 80 });
  stdout.on?.('resize', resized);
  return [() => stdin.setRawMode?.(false), () => stdout.off?.('resize', resized)];
}

function passSignals(context: CliContext, terminal: boolean, sendFrame: (frame: ExecClientFrame) => void, breakOff: () => void): (() => void)[] {
  let interrupts = 0;
  return (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((name) => {
    const passed = (): void => {
      if (name === 'SIGINT' && !terminal && (interrupts += 1) > 2) breakOff();
      sendFrame({ t: 'signal', signal: signalNumber[name] });
    };
    context.world.signals.on(name, passed);
    return () => context.world.signals.off(name, passed);
  });
}

/** Exit code of a shell for how a command ended: its code, or 128 and the signal's number. */
export function exitCodeOf(ended: Extract<Ended, { t: 'exit' }>, numbers: Readonly<Record<string, number>>): number {
  if (ended.code !== null) return ended.code;
  return 128 + (ended.signal === null ? 0 : (numbers[ended.signal] ?? Number(ended.signal.replace(/\D/g, '') || 0)));
}
