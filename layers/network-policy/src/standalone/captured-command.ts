/** The native helper: makes or enters a network namespace, hands over its two sockets, and becomes the command when told so; or connects into it from outside. */
import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
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

interface Helped {
  readonly child: ChildProcess;
  readonly fds: readonly number[];
  readonly said: string;
  go(): void;
  close(): void;
}

/** Starts the helper; it has `extra` descriptors after its channel. Resolves with the `wanted` descriptors that it hands over; rejects with its reason, and then nothing of it is left. */
function help(args: readonly string[], stdio: 'inherit' | 'ignore', extra: readonly number[], env: NodeJS.ProcessEnv, wanted: number): Promise<Helped> {
  const binding = createRequire(import.meta.url)(fileURLToPath(new URL('binding.node', build))) as Binding;
  const [ours, theirs] = binding.pair(1);
  return new Promise((resolve, reject) => {
    const channels: StdioOptions = [stdio, stdio, 'inherit', theirs, ...extra];
    const child = spawn(helperPath, args, { stdio: channels, env });
    binding.closeFd(theirs);
    let open = true;
    const close = (): void => {
      if (open) binding.close(handle);
      open = false;
    };
    const fail = (why: string): void => {
      close();
      reject(new Error(why));
    };
    const handle = binding.open(ours, (packet, fds) => {
      if (packet && fds.length === wanted) resolve({ child, fds, said: packet.toString('utf8'), close, go: () => void binding.send(ours, Buffer.from([1]), []) });
      else fail(packet ? packet.toString('utf8') : 'the helper ended without a word');
    });
    child.once('error', (error) => fail(error.message));
  });
}

export interface Captured {
  readonly child: ChildProcess;
  /** The transparent listener and the DNS socket. */
  readonly tcp: number;
  readonly dns: number;
  /** Cookie of the network namespace that they are in (socket(7), SO_NETNS_COOKIE), decimal. */
  readonly network: string;
  /** Lets the command start. */
  go(): void;
  /** Lets go of the channel; a command that was not started ends. */
  close(): void;
}

/** `args`: of the helper. Rejects with NEMO_E_CAPTURE, and then nothing of it is left. */
export async function capture(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Captured> {
  const { fds: [tcp = -1, dns = -1], said: network, ...helped } = await help(args, 'inherit', [], env, 2).catch((error: unknown) => {
    throw new NemoError('NEMO_E_CAPTURE', { what: 'The network of the command could not be made.', why: error instanceof Error ? error.message : String(error) });
  });
  return { ...helped, tcp, dns, network };
}

/** A connection to a port on the loopback of the network that the listener `tcp` is in. Rejects where nobody listens there. */
export async function dial(tcp: number, port: number): Promise<Socket> {
  const { fds: [fd], close } = await help(['dial', String(port)], 'ignore', [tcp], {}, 1);
  close();
  return new Socket({ fd, readable: true, writable: true });
}
