/** What the proof may order the hostile worker to do, and what it tells; one JSON line each way. */

export type Order =
  /** A packet on the control channel (descriptor 3): JSON, or bytes as base64. */
  | { readonly op: 'control'; readonly message: object; readonly times?: number }
  | { readonly op: 'controlBytes'; readonly base64: string }
  /** On the link to the gateway or the ledger: a frame, or bytes as they are. */
  | { readonly op: 'link'; readonly peer: string; readonly message: object }
  | { readonly op: 'linkBytes'; readonly peer: string; readonly base64: string }
  /** What came over the control channel and the links since the last time. */
  | { readonly op: 'heard' }
  /** Runs attempts.py with the worker's identity and descriptors. */
  | { readonly op: 'attempts'; readonly input: object }
  /** The configurations of the sandboxes it was given. */
  | { readonly op: 'configs' };

export interface Heard {
  readonly from: string;
  readonly message: Readonly<Record<string, unknown>>;
}
export type FromHostile =
  | { readonly k: 'up'; readonly name: string; readonly pid: number; readonly uid: number; readonly groups: readonly number[] }
  | { readonly k: 'result'; readonly id: number; readonly value: unknown; readonly error?: string };
