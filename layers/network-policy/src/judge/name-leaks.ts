/** Whether what must not leave stands in the name of a host: its resolver is told it, whoever answers. */
import type { AuditSink, Decision, LedgerEvent } from '@nemoclaw/contract';
import { refusal } from '../core.ts';
import type { Core } from '../core.ts';
import type { Place } from '../http/request-check.ts';
import { actionFor, strictest, type Found } from '../inspect/findings.ts';
import { inspectHead } from '../inspect/inspect-head.ts';
import { blocked, settingsOf } from '../inspect/report.ts';
import { carriesTainted } from '../taint/taint.ts';

const tainted = { type: 'tainted', kind: 'tainted', confidence: 1, place: '' } as const;

/** The denial, or undefined. A name that a rule says as it is carries nothing. Nobody is asked about a name: it is looked up before anything is sent. */
export function leaksInName(core: Core, name: string): Decision | undefined {
  const settings = settingsOf(core);
  if ((core.secrets.empty && core.taint.empty && !settings.scanForPII) || core.ports.judge.named(name)) return undefined;
  const { version } = core.config;
  if (core.secrets.inHost(name)) return refusal(version, 'inspection.scanForPII', 'A secret of this sandbox stands in the name of the host.', 'Secrets are put in outside the sandbox; never send one yourself.');
  if (!settings.scanForPII) return undefined;
  const worst = strictest(foundIn(name), settings);
  if (worst && worst.action !== 'log') return blocked({ core, place: placeOf(name), correlation: '' }, worst.found).decision;
  if (core.taint.empty || actionFor(tainted, settings) === 'log') return undefined;
  const sought = core.taint.sought({ core, place: placeOf(name) }, []);
  // Names have no capitals, and a value may be one of their labels.
  const forms = [name, name.replaceAll('.', '\n')].flatMap((form) => [form, form.toUpperCase()]);
  if (!forms.some((form) => carriesTainted(form, sought))) return undefined;
  return refusal(version, 'inspection.actions.tainted', 'A value from a labelled host stands in the name of the host.', 'If this host may be asked, the operator can name it in a rule.');
}

const placeOf = (name: string): Place => ({ name, port: 443, tls: true });

/** What stands in a name, whoever asks: the same few are asked about with every request. */
const known = new Map<string, readonly Found[]>();
const knownAtMost = 1024;

function foundIn(name: string): readonly Found[] {
  const before = known.get(name);
  if (before) return before;
  const found = inspectHead({ host: name, target: '', query: [], headers: [] }, []);
  if (known.size >= knownAtMost) known.clear();
  known.set(name, found);
  return found;
}

/** The same sink; names that hold what must not leave are not put on record. */
export function withoutLeaks(audit: AuditSink, core: () => Core): AuditSink {
  const masked = (event: LedgerEvent): LedgerEvent => {
    const name = event.data?.['host'] ?? event.data?.['name'];
    if (typeof name !== 'string' || name === '' || core().ports.judge.named(name)) return event;
    const clean = leaksInName(core(), name) === undefined && foundIn(name).length === 0;
    const read = (_key: string, value: unknown): unknown => (typeof value === 'string' ? value.replaceAll(name, '[redacted]') : value);
    return clean ? event : JSON.parse(JSON.stringify(event, read));
  };
  return { emit: (event) => audit.emit(masked(event)), commit: (event) => audit.commit(masked(event)) };
}
