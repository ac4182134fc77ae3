/** Messages of a WebSocket: those of the sandbox are inspected as bodies are, those of the other side have the sandbox's credentials masked. */
import type { MessageHook } from '../hooks.ts';
import { actionFor, strictest } from './findings.ts';
import { inspectBody } from './inspect-body.ts';
import { blocked, recordFound, settingsOf } from './report.ts';

/** A message cannot wait for a person without stopping all behind it, so `escalate` closes here as `block` does. */
export const messageInspection: MessageHook = {
  open: (passing) => {
    const { core } = passing;
    if (!settingsOf(core).scanForPII && core.secrets.empty) return undefined;
    return ({ from, data }) => {
      // Asked anew for each message: a connection may outlive a policy.
      const settings = settingsOf(core);
      if (from === 'server') return core.values.empty ? data : core.values.maskBytes(data).bytes;
      const { found, redacted } = inspectBody(data, '', core.secrets.known);
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
