/** Bytes between the person's streams and a command: each side waits for the other, so that little of them is in memory. */
import type { WebSocket } from 'ws';
import type { Input, Output } from './context.ts';

const stream = { stdin: 0, stdout: 1, stderr: 2 } as const;
/** Bytes of input that may be on their way: a signal comes after them. */
const mostOnTheWay = 64 * 1024;

/** Takes the frames with the command's output. An output that is full holds back the socket until it has room. */
export function outputTo(socket: WebSocket, outputs: { readonly stdout: Output; readonly stderr: Output }): (bytes: Buffer) => void {
  const full = new Set<Output>();
  return (bytes) => {
    const output = bytes[0] === stream.stdout ? outputs.stdout : bytes[0] === stream.stderr ? outputs.stderr : undefined;
    if (output?.write(bytes.subarray(1)) !== false || output.once === undefined || full.has(output)) return;
    full.add(output);
    socket.pause();
    output.once('drain', () => {
      full.delete(output);
      if (full.size === 0) socket.resume();
    });
  };
}

export interface PassedInput {
  /** Whether the command takes more at the moment. */
  wanted(more: boolean): void;
  stop(): void;
}

/** Passes input on while the gateway and the command take it; `onEnd` at its end. */
export function passInput(stdin: Input, socket: WebSocket, onEnd: () => void): PassedInput {
  let open = true;
  let held = false;
  const goOn = (): void => {
    if (open && !held && socket.bufferedAmount <= mostOnTheWay) stdin.resume();
  };
  stdin.on('data', (chunk) => {
    if (!open || socket.readyState !== socket.OPEN) return;
    socket.send(Buffer.concat([Buffer.from([stream.stdin]), chunk]), goOn);
    if (socket.bufferedAmount > mostOnTheWay) stdin.pause();
  });
  stdin.on('end', () => {
    if (open) onEnd();
  });
  stdin.resume();
  return {
    wanted: (more) => {
      held = !more;
      if (held) stdin.pause();
      else goOn();
    },
    stop: () => {
      open = false;
    },
  };
}
