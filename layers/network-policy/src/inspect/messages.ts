/** Messages of a WebSocket: those of the sandbox are inspected as bodies are, those of the other side as answers are, with the sandbox's credentials masked. */
import { compileKnown, scan } from '@nemoclaw/detect';
import type { MessageHook, Passing } from '../hooks.ts';
import { recordOnce } from './answers.ts';
import { actionFor, acts, answerSettings, counts, strictest } from './findings.ts';
import { inspectBody } from './inspect-body.ts';
import { hashesIn, soughtIn } from '../taint/taint.ts';
import { answerBlocked, blocked, recordFound, settingsOf } from './report.ts';

/** A message cannot wait for a person without stopping all behind it, so `escalate` closes here as `block` does. */
export const messageInspection: MessageHook = {
  open: (passing) => {
    const { core } = passing;
    if (!settingsOf(core).scanForPII && core.secrets.empty) return undefined;
    return ({ from, data }) => {
      // Asked anew for each message: a connection may outlive a policy.
      const settings = settingsOf(core);
      if (from === 'server') {
        const judged = fromServer(passing, data);
        return core.values.empty ? judged : core.values.maskBytes(judged).bytes;
      }
      const { found, redacted } = inspectBody(data, '', core.secrets.known, soughtIn(passing));
      const worst = strictest(settings.scanForPII ? found : found.filter(({ type }) => type === 'known-secret'), settings);
      if (!worst) return data;
      const blocks = worst.action === 'block' || worst.action === 'escalate';
      recordFound(passing, 'message', found, blocks ? 'block' : worst.action);
      if (blocks) throw blocked(passing, { ...worst.found, place: worst.found.place.replace('the body', 'a message') });
      if (worst.action === 'log') return data;
      const rewritten = redacted((one) => actionFor(one, settings) === 'redact');
      if (!rewritten) throw blocked(passing, worst.found);
      return rewritten;
    };
  },
};

/** The sandbox's own are masked, whatever is searched. */
const none = compileKnown([]);
/** Of a message that is only put on record, this much is searched. */
const searched = 64 * 1024;

/** What is delivered of a message from the other side. Throws `Stopped` to close. */
function fromServer(passing: Passing, data: Buffer): Buffer {
  const settings = answerSettings(settingsOf(passing.core));
  if (!settings) return data;
  const remember = passing.core.taint.remembering(passing);
  if (remember) passing.core.taint.remember(passing, hashesIn(data, '', remember.key), remember);
  if (!acts(settings)) {
    recordOnce(passing, 'answer', scan(data.subarray(0, searched)).filter((one) => counts(one, settings)).map(({ type, kind, confidence }) => ({ type, kind, confidence, place: 'a message' })));
    return data;
  }
  const { found, redacted } = inspectBody(data, '', none);
  const worst = strictest(found, settings);
  if (!worst) return data;
  if (worst.action === 'log') recordOnce(passing, 'answer', found);
  if (worst.action === 'log') return data;
  const rewritten = worst.action === 'redact' ? redacted((one) => actionFor(one, settings) === 'redact') : undefined;
  recordFound(passing, 'answer', found, rewritten ? 'redact' : 'block');
  if (!rewritten) throw answerBlocked(passing, { ...worst.found, place: worst.found.place.replace('the body', 'a message') });
  return rewritten;
}
