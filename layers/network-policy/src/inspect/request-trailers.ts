/** Fields after the body of a request: what must not leave in a header must not leave there. */
import type { Passing } from '../hooks.ts';
import { secretFound } from '../standard-hooks.ts';
import { soughtIn } from '../taint/taint.ts';
import { strictest } from './findings.ts';
import { inspectHead } from './inspect-head.ts';
import { blocked, recordFound, settingsOf } from './report.ts';

/** The same fields (name, value, …), if they may go. Throws `Stopped`: the body has left by then, so that nothing is taken out of them, and nobody is asked. */
export function searchedTrailers(passing: Passing, fields: readonly string[]): readonly string[] {
  const { core } = passing;
  if (fields.length === 0) return fields;
  // No credential is bound to a place after the body.
  if (core.secrets.inText(fields.join('\n'))) throw secretFound(passing, 'a trailer');
  const settings = settingsOf(core);
  if (!settings.scanForPII) return fields;
  const found = inspectHead({ target: '', query: [], headers: fields }, core.secrets.known, soughtIn(passing)).map((one) => ({ ...one, place: one.place.replace('a header', 'a trailer') }));
  const worst = strictest(found, settings);
  if (!worst) return fields;
  const acts = worst.action !== 'log';
  recordFound(passing, 'request', found, acts ? 'block' : 'log');
  if (acts) throw blocked(passing, worst.found);
  return fields;
}
