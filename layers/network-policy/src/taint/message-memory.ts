/** gRPC messages from labelled hosts: what they say is remembered before any of them goes on. */
import type { ByteTransform, IncomingHook, Passing } from '../hooks.ts';
import { valueOf } from '../http/fields.ts';
import { enforced } from '../inspect/answer-plan.ts';
import { isGrpc } from '../protocols/grpc.ts';
import { hashesInMessage } from './taint.ts';

/** Bytes that a value may reach back, in a message that is too large to be held: what came of it is read piece by piece. */
const carried = 1024;

export const messageMemory: IncomingHook = {
  open: (passing, head) => (isGrpc(passing.checked.contentType) && isGrpc(valueOf(head.headers, 'content-type')) ? remembering(passing) : undefined),
};

/** Of one message. */
function remembering(passing: Passing): ByteTransform | undefined {
  const { taint } = passing.core;
  const remember = enforced(passing) && taint.remembering(passing);
  if (!remember) return undefined;
  let last: Buffer = Buffer.alloc(0);
  return {
    next: (chunk) => {
      const bytes = last.length > 0 ? Buffer.concat([last, chunk]) : chunk;
      taint.remember(passing, hashesInMessage(bytes, remember.key), remember);
      last = Buffer.from(bytes.subarray(-carried));
      return chunk;
    },
    end: () => Buffer.alloc(0),
  };
}
