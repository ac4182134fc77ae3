/** Registering a workspace at $RUN/register.sock: one JSON line each way over a Unix stream socket; who registers is read from the socket (SO_PEERCRED), never from the message. */

/** `path` is absolute; it is opened once, with the caller's own file-system identity, and never again by name. At most 4095 bytes. */
export interface RegisterRequest {
  readonly t: 'register';
  readonly path: string;
}

/** Why a folder was refused:
 * `identity` the caller is a service or a sandbox; `path` not absolute or too long; `open` cannot be opened as the caller (the text has the errno);
 * `not-yours` neither owned nor writable by the caller; `system` a folder of the system or of NemoClaw itself; `full` too many registrations; `protocol` not understood. */
export type RegisterRefusal = 'identity' | 'path' | 'open' | 'not-yours' | 'system' | 'full' | 'protocol';

/** `id` is what a create request names; the same folder registered again by the same person keeps its id. */
export type RegisterReply =
  | { readonly ok: true; readonly id: string; readonly path: string }
  | { readonly ok: false; readonly code: RegisterRefusal; readonly error: string };

/** The one line to send. */
export function encodeRegister(path: string): string {
  return `${JSON.stringify({ t: 'register', path } satisfies RegisterRequest)}\n`;
}

/** The answer from the line that came back. Throws SyntaxError or TypeError if it is not one. */
export function decodeRegisterReply(line: string): RegisterReply {
  const reply: unknown = JSON.parse(line);
  if (typeof reply !== 'object' || reply === null || !('ok' in reply)) throw new TypeError('not a register reply');
  return reply as RegisterReply;
}
