/** The one card that every channel shows: what is asked, first in plain words, and what an approval would let happen. */
import { safeBlock, safeLine, type ApprovalView } from '@nemoclaw/contract';
import { isOpen, type ApprovalRecord } from './record.ts';

/** How long an approval that comes too late for its holder stays usable, ms. */
export const grantLifetime = 10 * 60 * 1000;

/** Of every decided question. */
const notKept = 'What was asked is not kept after the decision, only what the record says of it.';

/** One sentence: exactly what an approval lets happen. */
function whatApprovalCreates(record: ApprovalRecord): string {
  const action = safeLine(record.decision.action || record.request.action || record.kind, 100);
  if (record.ofAnswer) return record.held ? 'The answer that came is delivered, once.' : `The same answer to the identical request is delivered once within ${grantLifetime / 60_000} minutes.`;
  if (!record.held) return `One use of the identical request (${action}, same task, same content) within ${grantLifetime / 60_000} minutes.`;
  if (record.kind === 'syscall') return `This one ${action} is performed, on the file that was shown; nothing else changes.`;
  if (record.kind === 'tool' && record.alsoHttp) return `This one ${action} goes ahead: the tool call, and once the identical HTTP request that carries it out.`;
  return `This one ${action} goes ahead; the next one asks again.`;
}

/** The view of a record; every text that an agent can influence is escaped here, whatever was escaped before. */
export function approvalView(record: ApprovalRecord, notices: readonly string[]): ApprovalView {
  const rule = record.decision.rules[0];
  return {
    id: record.id,
    sandbox: record.sandboxName,
    state: record.state,
    kind: record.kind,
    action: safeLine(record.decision.action || record.request.action, 200),
    task: safeLine(record.request.task, 64),
    createdAt: record.createdAt,
    deadline: record.deadline,
    decidedAt: record.decidedAt,
    by: record.by,
    reason: safeLine(record.reason, 2000),
    held: record.held,
    effect: safeLine(record.effect, 200),
    card: {
      summary: safeLine(record.summary),
      chips: {
        sensitivity: record.decision.intent.sensitivity,
        reversibility: record.decision.intent.reversibility,
        scope: record.decision.intent.scope,
        compliance: record.decision.intent.compliance.map((name) => safeLine(name, 40)).join(', ') || 'none',
      },
      who: { sandbox: record.sandboxName, agent: record.agent, role: safeLine(record.request.role, 64), task: safeLine(record.request.task, 64) },
      why: safeLine(record.decision.reason, 1000),
      rule: { id: safeLine(rule?.id ?? '', 200), at: rule?.file === undefined ? '' : `${safeLine(rule.file, 200)}${rule.line === undefined ? '' : `:${rule.line}`}` },
      detail: safeBlock(record.detail),
      creates: whatApprovalCreates(record),
      deadline: record.deadline,
      defaultAction: 'deny',
      notices: isOpen(record.state) ? [...notices] : [...notices, notKept],
    },
  };
}
