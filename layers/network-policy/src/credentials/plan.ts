/** What a kept credential is to others: a placeholder and variables for programs, a plan for whoever puts its value in, and the secrets that must be known to be masked. */
import type { Credential, CredentialPlan, Ids } from '@nemoclaw/contract';

/** Characters that every header, URL and signature takes; '' for a key, which nobody sends. */
export function placeholderFor(name: string, kind: Credential['kind'], ids: Ids): string {
  const random = ids.next('').replace(/[^0-9A-Za-z]/g, '');
  if (kind === 'key') return '';
  // The form of an access key id: programs check it.
  return kind === 'sigv4' ? `NEMO${random.toUpperCase().slice(0, 28)}` : `nemoclaw-credential-${name}-${random}`;
}

/** `token`: the access token of oauth2. Undefined where nothing is put in: for a key, and while there is no token. */
export function planOf(given: Credential, placeholder: string, token: string | undefined): CredentialPlan | undefined {
  if (given.kind === 'key') return undefined;
  const bound = { placeholder, host: given.host, port: given.port, pathPrefix: given.pathPrefix };
  if (given.kind === 'header') return { ...bound, value: given.value, header: given.header };
  if (given.kind === 'oauth2') return token === undefined ? undefined : { ...bound, value: token, header: given.header, renewable: true };
  const { accessKeyId, sessionToken, region, service } = given;
  return { ...bound, value: given.value, header: 'authorization', sigv4: { accessKeyId, ...(sessionToken === undefined ? {} : { sessionToken }), ...(region === undefined ? {} : { region }), ...(service === undefined ? {} : { service }) } };
}

/** Variables of programs: name -> placeholder. */
export function variablesOf(given: Credential, placeholder: string): Record<string, string> {
  if (given.kind === 'key') return {};
  return {
    // Its signature with this is thrown away; the tools only want one.
    ...(given.kind === 'sigv4' ? { AWS_ACCESS_KEY_ID: placeholder, AWS_SECRET_ACCESS_KEY: placeholder } : {}),
    ...(given.env === undefined ? {} : { [given.env]: placeholder }),
  };
}

/** Every secret that was given; a token that was got with them is not among them. */
export function secretsIn(given: Credential): string[] {
  if (given.kind === 'oauth2') return [given.refreshToken, ...(given.clientSecret === undefined ? [] : [given.clientSecret])];
  return [given.value, ...(given.kind === 'sigv4' && given.sessionToken !== undefined ? [given.sessionToken] : [])];
}
