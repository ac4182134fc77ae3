/** What was read of one request before the policy decides on it: its body, what that means, and what its hooks asked for. */
import type { Decision } from '@nemoclaw/contract';
import type { DenialShape, Reading } from '../hooks.ts';
import type { ReadSoFar } from '../judge/judge-request.ts';
import type { PassingRequest } from './passing.ts';

const noAttributes: ReadonlyMap<string, unknown> = new Map();
const nothingHidden: ReadonlySet<string> = new Set();

export class RequestRead implements ReadSoFar {
  /** As it is sent; absent where it passes as it comes, or where there is none. */
  body: Buffer | undefined;
  /** The body without its content encoding: what a person is shown. */
  readable: Buffer | undefined;
  attributes = noAttributes;
  /** How this client is told of a denial. */
  shape: DenialShape | undefined;
  /** A hook wants a person asked, whatever the policy says. */
  escalate: Decision | undefined;
  /** What its card does not show. */
  hidden: ReadonlySet<string> = nothingHidden;

  /** Whether a hook said anything that the decision depends on. */
  get bare(): boolean {
    return !this.body && !this.escalate && this.attributes.size === 0;
  }

  note(read: Pick<Reading, 'escalate' | 'hidden'> | undefined): void {
    this.escalate = read?.escalate ?? this.escalate;
    if (read?.hidden !== undefined && read.hidden.size > 0) this.hidden = new Set([...this.hidden, ...read.hidden]);
  }

  /** What the head says that a request is, no body makes it something else. */
  understand(passing: PassingRequest, read: Reading | undefined): void {
    const [said] = passing.asked;
    if (said?.message.protocol !== 'websocket' && said?.message.protocol !== 'grpc') passing.asked = read?.asked ?? passing.asked;
    this.shape = read?.shape ?? this.shape;
  }
}
