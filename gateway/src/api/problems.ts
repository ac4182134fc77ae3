/** Errors of the gateway as HTTP answers: one body, a status that fits, and never more than a person may see. */
import { NemoError, type ErrorBody, type ErrorCode } from '@nemoclaw/contract';

const statusOf = new Map<ErrorCode, number>([
  ['NEMO_E_NAME', 400],
  ['NEMO_E_BODY', 400],
  ['NEMO_E_USAGE', 400],
  ['NEMO_E_PROVIDER', 400],
  ['NEMO_E_BLUEPRINT', 400],
  ['NEMO_E_DEMO_ANSWERS', 400],
  ['NEMO_E_WORKSPACE', 400],
  ['NEMO_E_PEER', 403],
  ['NEMO_E_SELF_APPROVAL', 403],
  ['NEMO_E_NOT_YOURS', 403],
  ['NEMO_E_NOT_FOUND', 404],
  ['NEMO_E_CONFLICT', 409],
  ['NEMO_E_DECIDED', 409],
  ['NEMO_E_STATE', 409],
  ['NEMO_E_RECORD', 503],
  ['NEMO_E_BACKEND', 503],
]);

/** What a caller gets for any thrown value; what was not meant for people becomes NEMO_E_INTERNAL without details. */
export function asNemoError(error: unknown): NemoError {
  if (error instanceof NemoError) return error;
  return new NemoError('NEMO_E_INTERNAL', { what: 'Something failed inside the gateway.', cause: error });
}

export function statusFor(error: NemoError): number {
  return statusOf.get(error.code) ?? (error.code.startsWith('NEMO_E_POLICY_') ? 422 : 500);
}

export function bodyFor(error: NemoError): ErrorBody {
  const { code, what, why, fix, where } = error.toJSON();
  return { error: { code, what, fix, ...(why === undefined ? {} : { why }), ...(where === undefined ? {} : { where }) } };
}
