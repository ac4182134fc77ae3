/** A trust store as Java reads it (JKS, version 2): certificates only, no keys. Written without keytool; every JDK to date reads this format. */
import { createHash, X509Certificate } from 'node:crypto';

/** The password that Java's own trust store has; it guards nothing, only the digest at the end needs one. */
export const trustPassword = 'changeit';

const header = 0xfeedfeed;
const trustedCertificate = 2;
// JavaKeyStore.java: digest of the password, these words and the store.
const whitener = 'Mighty Aphrodite';

/** Every certificate of a PEM bundle under the aliases ca-0, ca-1, …; `now` in ms since epoch is their date. What Node cannot read is left out. */
export function javaTrustStore(bundle: string, now: number): Buffer {
  const certificates = (bundle.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).flatMap((pem) => {
    try {
      return [new X509Certificate(pem).raw];
    } catch {
      return [];
    }
  });
  const body = Buffer.concat([numbers(header, 2, certificates.length), ...certificates.map((der, index) => Buffer.concat([numbers(trustedCertificate), text(`ca-${index}`), date(now), text('X.509'), numbers(der.length), der]))]);
  const password = Buffer.from(trustPassword, 'utf16le').swap16();
  return Buffer.concat([body, createHash('sha1').update(password).update(whitener, 'latin1').update(body).digest()]);
}

function numbers(...values: readonly number[]): Buffer {
  const out = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => out.writeUInt32BE(value, index * 4));
  return out;
}

function text(value: string): Buffer {
  const out = Buffer.alloc(2 + value.length);
  out.writeUInt16BE(value.length, 0);
  out.write(value, 2, 'latin1');
  return out;
}

function date(now: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(Math.floor(now)));
  return out;
}
