/** The hooks of every exchange, in the order in which they run. */
import { readAttributes } from './body/body-attributes.ts';
import { refusal } from './core.ts';
import { answerInspection, credentialMask } from './inspect/answers.ts';
import { messageInspection } from './inspect/messages.ts';
import { bodyInspection, headInspection, streamInspection } from './inspect/requests.ts';
import { Stopped } from './hooks.ts';
import type { BodyReader, Hooks, OutgoingHook, Passing } from './hooks.ts';
import { applicationMessages } from './protocols/http-messages.ts';
import { mcpAnswers } from './protocols/mcp-answers.ts';
import { leaksInName } from './judge/name-leaks.ts';
import { ruleLimits } from './judge/rule-limits.ts';
import { needsBodyHash } from './credentials/sigv4.ts';
import { messageMemory } from './taint/message-memory.ts';

/** The denial for a secret of the sandbox that was found in `where`. */
export function secretFound(passing: Passing, where: string): Stopped {
  const decision = refusal(passing.core.config.version, 'inspection.scanForPII', `A secret of this sandbox stands in ${where}.`, 'Secrets are put in outside the sandbox; never send one yourself.');
  return new Stopped(decision, `a secret of this sandbox is in ${where}`);
}

const watches = ({ core }: Passing): boolean => !core.secrets.empty;

/** The sandbox's own secrets in a held body; an encoded one is held for it. */
const ownSecretsHeld: BodyReader = {
  inspects: true,
  needs: (passing) => passing.checked.contentEncoding !== '' && passing.checked.contentEncoding !== 'identity' && watches(passing),
  read: (passing, readable) => {
    if (passing.core.secrets.inBytes(readable)) throw secretFound(passing, 'the body');
    return undefined;
  },
};

const ownSecretsStreamed: OutgoingHook = {
  open: (passing) => {
    if (!watches(passing)) return undefined;
    const watch = passing.core.secrets.watch(() => passing.core.secrets);
    return {
      next: (chunk) => {
        const passed = watch.next(chunk);
        if (passed === undefined) throw secretFound(passing, 'the body');
        return passed;
      },
      end: () => watch.rest(),
    };
  },
};

/** A request to AWS whose signature is made anew over a body that it does not give the hash of. */
const signedBodies: BodyReader = {
  inspects: true,
  needs: ({ core, checked }) => core.config.credentials.some(({ sigv4, placeholder }) => sigv4 !== undefined && checked.headers.some((value) => value.includes(placeholder))) && needsBodyHash(checked.headers),
  read: () => undefined,
};

/** Fields of JSON and forms, for rules and catalogue entries that look at them. */
const attributes: BodyReader = {
  needs: (passing) => passing.checked.paths.some((path) => passing.core.ports.judge.needsBody(passing.resource(path), passing.core.history)),
  read: (passing, readable) => {
    const read = readAttributes(readable, passing.checked.contentType);
    if (read.state === 'read') return { attributes: read.attributes };
    // It may be held for another reader: of what nothing depends on, any reading will do.
    if (!attributes.needs(passing)) return undefined;
    throw new Stopped(refusal(passing.core.config.version, 'proxy.body-ambiguous', `The policy depends on the body of this request, and ${read.why}.`, 'Send a body that every parser reads alike.'), read.why);
  },
};

export const standardHooks: Hooks = {
  name: leaksInName,
  heads: [headInspection],
  beforeDecision: [applicationMessages, signedBodies, ownSecretsHeld, bodyInspection, attributes],
  outgoing: [ownSecretsStreamed, streamInspection],
  incoming: [mcpAnswers, credentialMask, messageMemory, answerInspection],
  limits: [ruleLimits],
  messages: [messageInspection],
};
