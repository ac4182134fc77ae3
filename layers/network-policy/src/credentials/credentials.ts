/** Puts real credentials in the place of their placeholders, only where each is bound to, and takes them out of what comes back. */
import type { CredentialPlan } from '@nemoclaw/contract';
import { valueOf, valuesOf } from '../http/fields.ts';
import { readTarget } from '../http/request-target.ts';
import { readClaim, signAnew } from './sigv4.ts';
import type { ChunkSigner } from './sigv4.ts';

export type Credential = CredentialPlan;

/** Where a request goes, as far as a binding asks. */
export interface Destination {
  readonly host: string;
  readonly port: number;
  /** Every reading of the path: the prefix has to hold for all of them. */
  readonly paths: readonly string[];
  /** Whether the way there is encrypted, or to an address the policy names. */
  readonly confidential: boolean;
  readonly method: string;
  /** SHA-256 hex of the body; undefined while it is not read. */
  readonly bodyHash: string | undefined;
  /** Its body is read in `aws-chunked` framing. */
  readonly framed?: boolean;
}

/** `used`: credentials that were put in; `chunks`: what signs the chunks of the body. `misplaced`: a placeholder stands where it is not bound to. `unsigned`: it stands where it should, and the signature cannot be made. */
export type Insertion = { readonly state: 'done'; readonly used: readonly Credential[]; readonly chunks?: ChunkSigner } | { readonly state: 'misplaced'; readonly where: string } | { readonly state: 'unsigned'; readonly why: string };

/** Replaces placeholders in `headers` (name, value, …) in place. */
export function insertCredentials(headers: string[], target: string, credentials: readonly Credential[], to: Destination): Insertion {
  if (credentials.length === 0) return { state: 'done', used: [] };
  const used: Credential[] = [];
  let signer: Credential | undefined;
  for (const credential of credentials) {
    if (mentions(target, credential.placeholder)) return { state: 'misplaced', where: 'the URL' };
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i] ?? '';
      const value = headers[i + 1] ?? '';
      const basic = basicContent(name, value);
      const text = basic ?? value;
      if (!mentions(text, credential.placeholder)) continue;
      const lower = name.toLowerCase();
      const bound = lower === credential.header.toLowerCase() && to.host === credential.host.toLowerCase() && (credential.port ?? to.port) === to.port && to.paths.every((path) => under(path, credential.pathPrefix));
      if (!bound || !to.confidential || !text.includes(credential.placeholder)) return { state: 'misplaced', where: `the ${lower} header` };
      used.push(credential);
      if (credential.sigv4) {
        signer = credential;
        continue;
      }
      const replaced = text.split(credential.placeholder).join(credential.value);
      headers[i + 1] = basic === undefined ? replaced : `Basic ${Buffer.from(replaced, 'utf8').toString('base64')}`;
    }
  }
  if (!signer?.sigv4) return { state: 'done', used };
  if (!copiesFromUnder(headers, signer.pathPrefix)) return { state: 'unsigned', why: 'x-amz-copy-source names a place that the key is not bound to' };
  // Last, over all the rest as it is sent.
  const claim = readClaim(valueOf(headers, 'authorization'));
  const signed = claim?.accessKeyId === signer.placeholder ? signAnew({ ...to, target, headers }, claim, { ...signer.sigv4, secret: signer.value }) : 'it is no AWS signature of version 4 with HMAC by this key alone';
  return typeof signed === 'string' ? { state: 'unsigned', why: signed } : { state: 'done', used, ...(signed ? { chunks: signed } : {}) };
}

/** The placeholders of `text` replaced, as a value for `header` of `host` (protocols without headers have one name of their own, such as `auth`); undefined where one is not bound to that. */
export function putIn(text: string, credentials: readonly Credential[], to: { readonly host: string; readonly port: number; readonly header: string; readonly confidential: boolean }): string | undefined {
  let out = text;
  for (const credential of credentials) {
    if (!out.includes(credential.placeholder)) continue;
    if (!to.confidential || credential.header.toLowerCase() !== to.header || credential.host.toLowerCase() !== to.host || (credential.port ?? to.port) !== to.port || credential.sigv4) return undefined;
    out = out.split(credential.placeholder).join(credential.value);
  }
  return out;
}

/** What is left where each placeholder stands that may stand there: in that no secret may be. */
export function withoutPlaceholders(text: string, credentials: readonly Credential[]): string {
  return credentials.reduce((rest, { placeholder }) => (rest.includes(placeholder) ? rest.split(placeholder).join('') : rest), text);
}

/** `value` with every credential's value replaced by its placeholder. */
export function maskCredentials(value: string, credentials: readonly Credential[]): string {
  let out = value;
  for (const { value: secret, placeholder, sigv4 } of credentials) {
    for (const one of [secret, sigv4?.sessionToken ?? '']) if (one !== '' && out.includes(one)) out = out.split(one).join(placeholder);
  }
  return out;
}

function mentions(text: string, placeholder: string): boolean {
  if (text.includes(placeholder)) return true;
  if (!text.includes('%')) return false;
  // A broken escape ends decoding; what is undecodable is refused elsewhere.
  try {
    return decodeURIComponent(text).includes(placeholder);
  } catch {
    return false;
  }
}

function basicContent(name: string, value: string): string | undefined {
  if (!/^(proxy-)?authorization$/i.test(name)) return undefined;
  const match = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(value);
  return match?.[1] === undefined ? undefined : Buffer.from(match[1], 'base64').toString('utf8');
}

/** What S3 copies from there it reads with the same key, and decodes its place first: that has to lie where the key is bound to. */
function copiesFromUnder(headers: readonly string[], prefix: string): boolean {
  return prefix === '' || valuesOf(headers, 'x-amz-copy-source').every((source) => {
    const read = readTarget(`/${source.trim().replace(/^\//, '')}`);
    return typeof read !== 'string' && read.paths.every((path) => under(path.replaceAll('%2F', '/'), prefix));
  });
}

function under(path: string, prefix: string): boolean {
  if (prefix === '' || prefix === '/') return true;
  const base = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  return path === base || path.startsWith(`${base}/`);
}
