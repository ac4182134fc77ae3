/** What a sandbox has been able to read decides on where it may send: a restricted label asks before anything leaves. */
import type { History, HostLabel, RuleRef } from '@nemoclaw/contract';
import type { EgressVerdict } from './egress.ts';

const labelRef: RuleRef = { id: 'labels.egress' };

/**
 * The egress verdict of a sandbox with this history. Whoever can read what is labelled `restricted` may have encoded it in any way, so that no inspection would
 * find it: what a rule allows then waits for a person, unless the rule says `accepts: restricted` or the host itself is labelled so (`label`). Denials and questions stay as they are.
 */
export function withLabel(history: History | undefined, verdict: EgressVerdict, label: HostLabel['level'] | undefined): EgressVerdict {
  if (history?.readRestricted !== true || verdict.verdict !== 'allow' || verdict.rule?.ir.accepts === 'restricted' || label === 'restricted') return verdict;
  return {
    verdict: 'escalate',
    refs: [labelRef, ...verdict.refs],
    reason: `This sandbox can read what is labelled restricted, and ${verdict.rule === undefined ? 'the host' : `the rule for ${verdict.rule.ir.domain}`} does not accept that (labels.egress).`,
    rule: verdict.rule,
  };
}
