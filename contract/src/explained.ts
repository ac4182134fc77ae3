/** What was decided of an event on record, in the words that the agent got. */
import { safeLine } from './agent-text.ts';
import type { Explained } from './api.ts';

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);
const field = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined);

const verdicts: Readonly<Record<string, Explained['verdict']>> = { allow: 'allow', approved: 'allow', observe: 'allow', escalate: 'escalate', deny: 'deny', rejected: 'deny' };

/** `recorded`: fields of a LedgerEvent as they were read, of any shape; undefined where nothing was decided. `sequence`: its number in the record. */
export function explainedOf(recorded: unknown, sequence: number): Explained | undefined {
  const decision = field(recorded, 'decision');
  if (decision === undefined) return undefined;
  const rules = field(decision, 'rules');
  return {
    verdict: verdicts[text(field(recorded, 'verdict'))] ?? 'deny',
    action: text(field(decision, 'action')),
    rules: (Array.isArray(rules) ? rules : []).map((rule: unknown) => {
      const line = field(rule, 'line');
      const file = text(field(rule, 'file'));
      return { id: text(field(rule, 'id')), ...(file === '' ? {} : { file }), ...(typeof line === 'number' ? { line } : {}) };
    }),
    reason: text(field(decision, 'reason')),
    hint: text(field(field(recorded, 'data'), 'hint')),
    policyVersion: number(field(decision, 'policyVersion')),
    event: { sequence, time: number(field(recorded, 'time')), message: text(field(recorded, 'message')), layer: text(field(recorded, 'layer')) },
  };
}

/** As people read it; `mark`: how the verdict looks. */
export function explainedLines({ verdict, action, reason, rules, hint, monitored, policyVersion, event }: Explained, mark: string): string {
  const lines = [`${mark}${verdict === 'escalate' ? ' (a person is asked)' : ''}${action === '' ? '' : `  ${action}`}`, `  why   ${reason}`];
  for (const rule of rules) lines.push(`  rule  ${rule.id}${rule.file ? ` (${rule.file}${rule.line ? `:${rule.line}` : ''})` : ''}`);
  if (hint !== '') lines.push(`  next  ${hint}`);
  if (monitored !== undefined) lines.push(`  watch ${monitored.verdict === 'deny' ? 'would be denied' : 'a person would be asked'}: ${monitored.reason} (${monitored.rules.map((rule) => rule.id).join(', ')})`);
  lines.push(`  by    policy version ${policyVersion}`);
  if (event !== undefined) lines.push(`  event ${event.sequence}  ${new Date(event.time).toISOString()}  ${safeLine(event.message, 400)}`);
  return lines.join('\n');
}
