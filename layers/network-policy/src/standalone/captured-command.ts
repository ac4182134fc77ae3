/** The native helper: makes or enters a network namespace, hands over its two sockets, and becomes the command when told so. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { NemoError } from '@nemoclaw/contract';

interface Binding {
  open(fd: number, onPacket: (packet: Buffer | null, fds: number[]) => void): unknown;
  close(handle: unknown): void;
  send(fd: number, packet: Buffer, fds: readonly number[]): boolean;
  closeFd(fd: number): void;
  pair(packets: 0 | 1): [number, number];
}

const build = new URL('../../native/build/', import.meta.url);
const helperPath = fileURLToPath(new URL('network-capture', build));

export interface Captured {
  readonly child: ChildProcess;
  /** The transparent listener and the DNS socket. */
  readonly tcp: number;
  readonly dns: number;
  /** Lets the command start. */
  go(): void;
  /** Lets go of the channel; a command that was not started ends. */
  close(): void;
}

/** `args`: of the helper. Rejects with NEMO_E_CAPTURE, and then nothing of it is left. */
export function capture(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Captured> {
  const binding = createRequire(import.meta.url)(fileURLToPath(new URL('binding.node', build))) as Binding;
  const [ours, theirs] = binding.pair(1);
  return new Promise((resolve, reject) => {
    const child = spawn(helperPath, args, { stdio: ['inherit', 'inherit', 'inherit', theirs], env });
    binding.closeFd(theirs);
    let open = true;
    const close = (): void => {
      if (open) binding.close(handle);
      open = false;
    };
    const fail = (why: string): void => {
      close();
      reject(new NemoError('NEMO_E_CAPTURE', { what: 'The network of the command could not be made.', why }));
    };
    const handle = binding.open(ours, (packet, fds) => {
      const [tcp, dns] = fds;
      if (packet && tcp !== undefined && dns !== undefined) resolve({ child, tcp, dns, close, go: () => void binding.send(ours, Buffer.from([1]), []) });
      else fail(packet ? packet.toString('utf8') : 'the helper ended without a word');
    });
    child.once('error', (error) => fail(error.message));
  });
}
