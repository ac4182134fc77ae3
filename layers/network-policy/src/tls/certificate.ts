/** Certificates of the interception chain: per-sandbox root, name-constrained intermediate, leaf per host; P-256, signed with node:crypto. */
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { bits, elements, integer, octets, oid, sequence, setOf, time, tlv, utf8, yes } from './der.ts';

const hour = 3_600_000;
const day = 24 * hour;
/** The name under which the sandbox reaches its models; every chain covers it. */
export const inferenceHost = 'inference.local';
/** How long a leaf is valid, ms; a context built on one is renewed a day before. */
export const leafLifetime = 7 * day;

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
const serverAuth = sequence(oid('1.3.6.1.5.5.7.3.1'));

/** A certificate with its private key, both PEM. */
export interface Issuer {
  readonly certPem: string;
  readonly keyPem: string;
}
/** What a worker gets: it can sign only for the names in its constraints. */
export interface Intermediate extends Issuer {
  readonly rootPem: string;
}
/** The one key that all leaves of a sandbox share. */
export interface LeafKey {
  readonly keyPem: string;
  readonly spki: Buffer;
}

/** A self-signed root for one sandbox. `name` is shown as its common name; `now` in ms since epoch. Valid from an hour ago for two years. */
export function createRootCa(name: string, now: number): Issuer {
  const { privateKey, spki } = newKey();
  const subject = commonName(`NemoClaw root ${name} ${randomBytes(4).toString('hex')}`);
  const der = certificate({
    issuer: subject, subject, spki, signer: privateKey, from: now - hour, to: now + 730 * day,
    extensions: [caConstraint(1), caUsage, keyId(spki)],
  });
  return { certPem: pem(der), keyPem: exportKey(privateKey) };
}

/**
 * An intermediate below `root` that can vouch for exactly `names` and inference.local. A name is a host (`api.example.com`)
 * or `*.example.com` (whole labels below, never example.com itself). IP addresses are excluded altogether.
 */
export function createIntermediate(root: Issuer, names: readonly string[], now: number): Intermediate {
  const { privateKey, spki } = newKey();
  const parent = readCertificate(root.certPem);
  const der = certificate({
    issuer: parent.subject,
    subject: commonName(`NemoClaw egress ${randomBytes(4).toString('hex')}`),
    spki, signer: createPrivateKey(root.keyPem), from: now - hour, to: now + 365 * day,
    extensions: [caConstraint(0), caUsage, extension('2.5.29.37', false, serverAuth), keyId(spki), authorityId(parent.spki), nameConstraints(names)],
  });
  return { certPem: pem(der), keyPem: exportKey(privateKey), rootPem: root.certPem };
}

/** A fresh leaf key; one per sandbox and life of its worker. */
export function createLeafKey(): LeafKey {
  const { privateKey, spki } = newKey();
  return { keyPem: exportKey(privateKey), spki };
}

/** Signs leaves with one intermediate; parses it once. */
export class LeafMinter {
  readonly #signer: KeyObject;
  readonly #issuer: Buffer;
  readonly #authority: Buffer;
  readonly #chain: string;
  readonly #key: LeafKey;

  constructor(issuer: Issuer, key: LeafKey) {
    const parent = readCertificate(issuer.certPem);
    this.#signer = createPrivateKey(issuer.keyPem);
    this.#issuer = parent.subject;
    this.#authority = authorityId(parent.spki);
    this.#chain = issuer.certPem;
    this.#key = key;
  }

  /** Leaf and intermediate as one PEM chain for `host` (a DNS name, lower case). Throws RangeError for anything else. */
  mint(host: string, now: number): string {
    if (isIP(host) !== 0 || !/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(host) || host.length > 253) throw new RangeError(`no certificate for ${JSON.stringify(host)}`);
    const alternative = sequence(tlv(0x82, Buffer.from(host, 'latin1')));
    const der = certificate({
      issuer: this.#issuer,
      // A fixed name with spaces: verifiers that fall back to the common name never take it for a host.
      subject: commonName('NemoClaw egress leaf'),
      spki: this.#key.spki, signer: this.#signer, from: now - hour, to: now + leafLifetime,
      extensions: [
        extension('2.5.29.19', true, sequence()), extension('2.5.29.15', true, bits(Buffer.from([0x80]), 7)),
        extension('2.5.29.37', false, serverAuth), extension('2.5.29.17', false, alternative), keyId(this.#key.spki), this.#authority,
      ],
    });
    return pem(der) + this.#chain;
  }

  get keyPem(): string {
    return this.#key.keyPem;
  }
}

/** One leaf for `host` as a PEM chain; for callers that mint once. */
export function mintLeaf(issuer: Issuer, host: string, key: LeafKey, now: number): string {
  return new LeafMinter(issuer, key).mint(host, now);
}

interface Fields {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly spki: Buffer;
  readonly signer: KeyObject;
  readonly from: number;
  readonly to: number;
  readonly extensions: readonly Buffer[];
}

function certificate(fields: Fields): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    tlv(0xa0, integer(Buffer.from([2]))), integer(serial), ecdsaWithSha256, fields.issuer,
    sequence(time(fields.from), time(fields.to)), fields.subject, fields.spki, tlv(0xa3, sequence(...fields.extensions)),
  );
  return sequence(body, ecdsaWithSha256, bits(sign('sha256', body, fields.signer)));
}

const commonName = (text: string): Buffer => sequence(setOf(sequence(oid('2.5.4.3'), utf8(text.slice(0, 64)))));
const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [yes] : []), octets(value));
const caConstraint = (pathLength: number): Buffer => extension('2.5.29.19', true, sequence(yes, integer(Buffer.from([pathLength]))));
const caUsage = extension('2.5.29.15', true, bits(Buffer.from([0x06]), 1));
const keyDigest = (spki: Buffer): Buffer => createHash('sha256').update(spki).digest().subarray(0, 20);
const keyId = (spki: Buffer): Buffer => extension('2.5.29.14', false, octets(keyDigest(spki)));
const authorityId = (spki: Buffer): Buffer => extension('2.5.29.35', false, sequence(tlv(0x80, keyDigest(spki))));

/** RFC 5280 name constraints: a dNSName subtree also covers what lies below it, so below an exact name is excluded again unless another permitted name lies there. */
function nameConstraints(names: readonly string[]): Buffer {
  const all = [...new Set([...names.map((name) => name.toLowerCase()), inferenceHost])];
  const bases = all.map((name) => (name.startsWith('*.') ? name.slice(1) : name));
  const permitted = bases.map((base) => dnsSubtree(base));
  const excluded = bases
    .filter((base) => !base.startsWith('.') && !bases.some((other) => other.endsWith(`.${base}`)))
    .map((base) => dnsSubtree(`.${base}`));
  const addresses = [sequence(tlv(0x87, Buffer.alloc(8))), sequence(tlv(0x87, Buffer.alloc(32)))];
  return extension('2.5.29.30', true, sequence(tlv(0xa0, ...permitted), tlv(0xa1, ...excluded, ...addresses)));
}
const dnsSubtree = (base: string): Buffer => sequence(tlv(0x82, Buffer.from(base, 'latin1')));

/** Subject name and public key of a certificate, as DER. */
function readCertificate(certPem: string): { subject: Buffer; spki: Buffer } {
  const parsed = new X509Certificate(certPem);
  const [body] = elements(elements(Buffer.from(parsed.raw))[0]?.content ?? Buffer.alloc(0));
  // version, serial, algorithm, issuer, validity, subject, key
  const fields = elements(body?.content ?? Buffer.alloc(0));
  const subject = fields[5]?.whole;
  const spki = fields[6]?.whole;
  if (!subject || !spki) throw new RangeError('not an X.509 v3 certificate');
  return { subject, spki };
}

function newKey(): { privateKey: KeyObject; spki: Buffer } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }) };
}
const exportKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const pem = (der: Buffer): string => `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`;
