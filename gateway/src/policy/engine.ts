/** One compiled policy as the gateway uses it: to ship it, to decide again what is held, to explain. */
import type { ActionRequest, Decision, PolicyBundle } from '@nemoclaw/contract';

export interface InForce {
  readonly version: number;
  /** base64 of the bytes that are shipped. */
  readonly bytes: string;
  decide(request: ActionRequest): Decision;
  /** Identifies the identical request, SHA-256 hex. */
  key(request: ActionRequest): string;
  /** What a tool call is, by the catalogue. */
  resolveTool(tool: string, args: ReadonlyMap<string, unknown>): Pick<ActionRequest, 'action' | 'params' | 'labels'>;
}

/** Compiles a checked bundle. Throws NemoError. */
export type Compile = (bundle: PolicyBundle, version: number) => InForce;
