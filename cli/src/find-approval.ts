/** Finds an approval by its id or a unique beginning of it. */
import type { ApprovalView } from '@nemoclaw/contract';
import type { CliContext } from './context.ts';
import { AnsweredFailure, Failure } from './failure.ts';
import { call } from './gateway-client.ts';

/** Throws Failure if none or several begin like `id`. */
export async function findApproval(context: CliContext, id: string): Promise<ApprovalView> {
  try {
    return await call<ApprovalView>(context, 'GET', `/v1/approvals/${encodeURIComponent(id)}`);
  } catch (error) {
    if (!(error instanceof AnsweredFailure) || error.body.code !== 'NEMO_E_NOT_FOUND') throw error;
  }
  const matching = (await call<ApprovalView[]>(context, 'GET', '/v1/approvals')).filter((approval) => approval.id.startsWith(id) || approval.id.startsWith(`apr_${id}`));
  const [only, second] = matching;
  if (only && !second) return only;
  throw new Failure('NEMO_E_NOT_FOUND', {
    what: only ? `'${id}' is the beginning of ${matching.length} approvals.` : `There is no approval '${id}'.`,
    fix: 'Look at `nemoclaw approvals list --all`.',
  });
}
