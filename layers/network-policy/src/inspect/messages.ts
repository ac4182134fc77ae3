/** Messages of a WebSocket: those of the sandbox are inspected as bodies are, those of the other side as answers are, with the sandbox's credentials masked. */
import { compileKnown, scan } from '@nemoclaw/detect';
import type { MessageHook, Passing, Stopped } from '../hooks.ts';
import { recordOnce } from './answers.ts';
import type { Examination, Examined } from './examine.ts';
import { acts, answerSettings, counts, strictest } from './findings.ts';
import { inspectAside } from './inspect-aside.ts';
import { soughtIn } from '../taint/taint.ts';
import { answerBlocked, answerUnreadable, blocked, recordFound, settingsOf, unreadable } from './report.ts';

/** A message cannot wait for a person without stopping all behind it, so `escalate` closes here as `block` does. */
export const messageInspection: MessageHook = {
  open: (passing) => {
    const { core } = passing;
    if (!settingsOf(core).scanForPII && core.secrets.empty) return undefined;
    return ({ from, data }) => {
      if (from === 'client') return fromClient(passing, data);
      const judged = fromServer(passing, data);
      const mask = (one: Buffer): Buffer => (core.values.empty ? one : core.values.maskBytes(one).bytes);
      return judged instanceof Promise ? judged.then(mask) : mask(judged);
    };
  },
};

/** What `act` makes of a message; one that cannot be inspected does not go on. */
function examined(passing: Passing, what: Omit<Examination, 'contentType'>, unread: () => Stopped, act: (examined: Examined) => Buffer): Buffer | Promise<Buffer> {
  const { scanForPII, actions } = what.settings;
  const result = inspectAside(passing.core.ports.sandbox, { ...what, contentType: '', settings: { scanForPII, ...(actions ? { actions } : {}) } });
  return result instanceof Promise ? result.catch(() => { throw unread(); }).then(act) : act(result);
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** What leaves of a message of the sandbox. Throws `Stopped` to close. */
function fromClient(passing: Passing, data: Buffer): Buffer | Promise<Buffer> {
  const { core } = passing;
  // Asked anew for each message: a connection may outlive a policy.
  const settings = settingsOf(core);
  const unread = (): Stopped => unreadable(passing, 'inspection.scanForPII', 'the message could not be inspected', 'Send it again later, or in smaller messages.');
  return examined(passing, { bytes: data, known: core.secrets.known, tainted: soughtIn(passing), settings }, unread, ({ found, rewritten }) => {
    const worst = strictest(settings.scanForPII ? found : found.filter(({ type }) => type === 'known-secret'), settings);
    if (!worst) return data;
    const blocks = worst.action === 'block' || worst.action === 'escalate';
    recordFound(passing, 'message', found, blocks ? 'block' : worst.action);
    if (worst.action === 'log') return data;
    if (blocks || !rewritten) throw blocked(passing, { ...worst.found, place: worst.found.place.replace('the body', 'a message') });
    return bufferOf(rewritten);
  });
}

/** The sandbox's own are masked, whatever is searched. */
const none = compileKnown([]);
/** Of a message that is only put on record, this much is searched. */
const searched = 64 * 1024;

/** What is delivered of a message from the other side. Throws `Stopped` to close. */
function fromServer(passing: Passing, data: Buffer): Buffer | Promise<Buffer> {
  const { taint } = passing.core;
  const settings = answerSettings(settingsOf(passing.core));
  if (!settings) return data;
  const remember = taint.remembering(passing);
  if (!remember && !acts(settings)) {
    recordOnce(passing, 'answer', scan(data.subarray(0, searched)).filter((one) => counts(one, settings)).map(({ type, kind, confidence }) => ({ type, kind, confidence, place: 'a message' })));
    return data;
  }
  const unread = (): Stopped => answerUnreadable(passing, 'inspection.responses', 'the message could not be inspected');
  return examined(passing, { bytes: data, known: none, settings, remember }, unread, ({ found, rewritten, hashes }) => {
    if (hashes && remember) taint.remember(passing, hashes, remember);
    const worst = strictest(found, settings);
    if (!worst) return data;
    if (worst.action === 'log') {
      recordOnce(passing, 'answer', found);
      return data;
    }
    const rewrites = worst.action === 'redact' && rewritten !== undefined;
    recordFound(passing, 'answer', found, rewrites ? 'redact' : 'block');
    if (!rewrites) throw answerBlocked(passing, { ...worst.found, place: worst.found.place.replace('the body', 'a message') });
    return bufferOf(rewritten);
  });
}
