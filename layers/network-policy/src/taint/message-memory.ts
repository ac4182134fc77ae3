/** gRPC messages from labelled hosts: what they say is remembered before any of them goes on. */
import { after, orThrow } from '../body/in-order.ts';
import type { IncomingHook, Passing, PatientTransform } from '../hooks.ts';
import { enforced } from '../inspect/answer-plan.ts';
import { hashMessageAside } from '../inspect/inspect-aside.ts';
import { answerUnreadable } from '../inspect/report.ts';

/** Bytes that a value may reach back, in a message that is too large to be held: what came of it is read piece by piece. */
const carried = 1024;

export const messageMemory: IncomingHook = { open: () => undefined, openMessage: (passing) => remembering(passing) };

/** Of one message. */
function remembering(passing: Passing): PatientTransform | undefined {
  const { pace, ports, taint } = passing.core;
  const remember = enforced(passing) && taint.remembering(passing);
  if (!remember) return undefined;
  let last: Buffer = Buffer.alloc(0);
  return {
    next: (chunk) => {
      const bytes = last.length > 0 ? Buffer.concat([last, chunk]) : chunk;
      last = Buffer.from(bytes.subarray(-carried));
      const hashes = orThrow(hashMessageAside(ports.sandbox, { bytes, key: remember.key }), () => answerUnreadable(passing, 'networkPolicy.labels', 'a message could not be read, so that it could not be remembered'));
      return after(hashes, (known) => {
        pace.measure(() => taint.remember(passing, known, remember));
        return chunk;
      });
    },
    end: () => Buffer.alloc(0),
  };
}
