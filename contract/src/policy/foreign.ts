/** Recognises policy files of other products, so that the refusal says what they are. */
import { NemoError } from '../errors.ts';
import { placeOf, type Source } from './source.ts';

const openshellFields = ['filesystem_policy', 'network_policies', 'network_middlewares', 'landlock'];

/** Throws NEMO_E_POLICY_FOREIGN for a policy file in OpenShell's own format. */
export function refuseForeign(source: Source): void {
  const value = source.value;
  if (typeof value !== 'object' || value === null) return;
  const found = openshellFields.find((field) => Object.hasOwn(value, field));
  if (found === undefined) return;
  throw new NemoError('NEMO_E_POLICY_FOREIGN', {
    what: `This is a policy in OpenShell's own format (it has \`${found}\`).`,
    where: source.keys.get(found) ?? placeOf(source.map, []),
    why: 'This version reads `kind: SandboxPolicy` and `networkPolicy`; OpenShell files come in a later version.',
  });
}
