/** Certificates of the interception chain: per-sandbox root, name-constrained intermediates, leaf per host; P-256, signed with node:crypto. */
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { bits, elements, integer, octets, oid, sequence, setOf, time, tlv, utf8, yes } from './der.ts';
import { nameConstraints, namesByCertificate, vouchesFor } from './name-constraints.ts';

const hour = 3_600_000;
const day = 24 * hour;
/** The name under which the sandbox reaches its models; every intermediate vouches for it. */
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
/** What a worker gets: it can sign only for the names in its constraints. `certPem`: certificates of one key, each with some of the names. */
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
  const signer = createPrivateKey(root.keyPem);
  const certificates = namesByCertificate([inferenceHost, ...names]).map((some) => certificate({
    issuer: parent.subject,
    // One of its own for each, so that no client takes one that it has kept for another.
    subject: commonName(`NemoClaw egress ${randomBytes(4).toString('hex')}`),
    spki, signer, from: now - hour, to: now + 365 * day,
    extensions: [caConstraint(0), caUsage, extension('2.5.29.37', false, serverAuth), keyId(spki), authorityId(parent.spki), extension('2.5.29.30', true, nameConstraints(some))],
  }));
  return { certPem: certificates.map(pem).join(''), keyPem: exportKey(privateKey), rootPem: root.certPem };
}

/** A fresh leaf key; one per sandbox and life of its worker. */
export function createLeafKey(): LeafKey {
  const { privateKey, spki } = newKey();
  return { keyPem: exportKey(privateKey), spki };
}

/** Signs leaves with one intermediate; parses it once. */
export class LeafMinter {
  readonly #signer: KeyObject;
  readonly #first: IssuerCertificate;
  readonly #issuers: readonly IssuerCertificate[];
  readonly #key: LeafKey;

  constructor(issuer: Issuer, key: LeafKey) {
    this.#signer = createPrivateKey(issuer.keyPem);
    const [first = '', ...others] = issuer.certPem.split(/(?<=-----END CERTIFICATE-----\n)/);
    this.#first = readCertificate(first);
    this.#issuers = [this.#first, ...others.map(readCertificate)];
    this.#key = key;
  }

  /** Leaf and the intermediate that vouches for it, as one PEM chain, for `host` (a DNS name, lower case). Throws RangeError for anything else. For a name that it cannot vouch for, the client refuses what is made. */
  mint(host: string, now: number): string {
    if (isIP(host) !== 0 || !/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(host) || host.length > 253) throw new RangeError(`no certificate for ${JSON.stringify(host)}`);
    const issuer = this.#issuers.find(({ constraints }) => vouchesFor(constraints, host)) ?? this.#first;
    const alternative = sequence(tlv(0x82, Buffer.from(host, 'latin1')));
    const der = certificate({
      issuer: issuer.subject,
      // A fixed name with spaces: verifiers that fall back to the common name never take it for a host.
      subject: commonName('NemoClaw egress leaf'),
      spki: this.#key.spki, signer: this.#signer, from: now - hour, to: now + leafLifetime,
      extensions: [
        extension('2.5.29.19', true, sequence()), extension('2.5.29.15', true, bits(Buffer.from([0x80]), 7)),
        extension('2.5.29.37', false, serverAuth), extension('2.5.29.17', false, alternative), keyId(this.#key.spki), authorityId(issuer.spki),
      ],
    });
    return pem(der) + issuer.pem;
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
const none = Buffer.alloc(0);
const nameConstraintsId = oid('2.5.29.30');
const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(oid(id), ...(critical ? [yes] : []), octets(value));
const caConstraint = (pathLength: number): Buffer => extension('2.5.29.19', true, sequence(yes, integer(Buffer.from([pathLength]))));
const caUsage = extension('2.5.29.15', true, bits(Buffer.from([0x06]), 1));
const keyDigest = (spki: Buffer): Buffer => createHash('sha256').update(spki).digest().subarray(0, 20);
const keyId = (spki: Buffer): Buffer => extension('2.5.29.14', false, octets(keyDigest(spki)));
const authorityId = (spki: Buffer): Buffer => extension('2.5.29.35', false, sequence(tlv(0x80, keyDigest(spki))));

/** Of a certificate, as DER; `constraints` are those on names, empty where it has none. */
interface IssuerCertificate {
  readonly pem: string;
  readonly subject: Buffer;
  readonly spki: Buffer;
  readonly constraints: Buffer;
}

function readCertificate(certPem: string): IssuerCertificate {
  const [whole] = elements(Buffer.from(certPem.replace(/-----[A-Z ]+-----/g, ''), 'base64'));
  const [body] = elements(whole?.content ?? none);
  // version, serial, algorithm, issuer, validity, subject, key, extensions
  const fields = elements(body?.content ?? none);
  const subject = fields[5]?.whole;
  const spki = fields[6]?.whole;
  if (!subject || !spki) throw new RangeError('not an X.509 v3 certificate');
  const extensions = elements(elements(fields[7]?.content ?? none)[0]?.content ?? none).map(({ content }) => elements(content));
  const constraints = extensions.find(([id]) => id?.whole.equals(nameConstraintsId))?.at(-1)?.content ?? none;
  return { pem: certPem, subject, spki, constraints };
}

function newKey(): { privateKey: KeyObject; spki: Buffer } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }) };
}
const exportKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const pem = (der: Buffer): string => `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()}\n-----END CERTIFICATE-----\n`;
