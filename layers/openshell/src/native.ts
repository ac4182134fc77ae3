/** The native binding and the paths of the native programs; loaded when first used, so that pure code needs no build. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Handle of an open packet channel. */
export type ChannelHandle = { readonly channelHandle: unique symbol };

/** Who is at the other end of a connected Unix socket, as the kernel saw it at connect. */
export interface PeerCred {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** What `native/binding.c` offers. */
export interface Binding {
  /** Takes over `fd`; `null` is the end of the channel. Descriptors given to the callback belong to it. */
  open(fd: number, onPacket: (packet: Buffer | null, fds: number[]) => void): ChannelHandle;
  close(handle: ChannelHandle): void;
  /** False: the socket is full, nothing was sent. The caller still owns `fds`. Throws with code EPIPE, EMSGSIZE or EIO. */
  send(fd: number, packet: Buffer, fds: readonly number[]): boolean;
  peerCred(fd: number): PeerCred;
  closeFd(fd: number): void;
  /** The terminal `fd` shows output as it comes, without making two characters of a line feed; Node's raw mode leaves that on. */
  unprocessed(fd: number): void;
  /** A connected pair: 1 packets (SEQPACKET), 0 a stream. */
  pair(packets: 0 | 1): [number, number];
}

const build = new URL('../native/build/', import.meta.url);

/** Absolute paths of the built native programs. */
export const nativePaths = {
  supervisor: fileURLToPath(new URL('openshell-supervisor', build)),
  openshelld: fileURLToPath(new URL('openshelld', build)),
  shim: fileURLToPath(new URL('openshell-shim', build)),
  binding: fileURLToPath(new URL('binding.node', build)),
} as const;

/** The launcher that needs no daemon. */
export const launcherPath = fileURLToPath(new URL('openshell-launch', build));

let loaded: Binding | undefined;

/** The binding. Throws if the native part is not built. */
export function binding(): Binding {
  loaded ??= createRequire(import.meta.url)(nativePaths.binding) as Binding;
  return loaded;
}

/** SO_PEERCRED of a connected Unix socket. Throws on anything else. */
export function peerCred(fd: number): PeerCred {
  return binding().peerCred(fd);
}

/** Closes a received descriptor that nobody wraps. */
export function closeFd(fd: number): void {
  binding().closeFd(fd);
}
