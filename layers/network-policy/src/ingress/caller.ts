/** What is known of who calls: the connection's other end, its verified certificates, its headers, its body. */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { DetailedPeerCertificate } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import type { Caller, CallerCertificate } from './rules.ts';

export function callerOf(req: IncomingMessage, body: Buffer): Caller {
  return {
    address: req.socket.remoteAddress ?? '',
    chain: chainOf(req),
    header: (name) => {
      const values = req.headersDistinct[name.toLowerCase()];
      return values?.length === 1 ? values[0] : undefined;
    },
    body,
  };
}

function chainOf(req: IncomingMessage): CallerCertificate[] {
  const socket = req.socket;
  // A resumed session shows a certificate without the chain that was verified.
  if (!(socket instanceof TLSSocket) || !socket.authorized || socket.isSessionReused()) return [];
  const chain: CallerCertificate[] = [];
  let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (next?.raw !== undefined && chain.length < 10) {
    const { raw }: { raw: Buffer } = next;
    if (chain.some((one) => one.raw.equals(raw))) break;
    chain.push({ raw, names: dnsNames(raw) });
    next = next.issuerCertificate;
  }
  return chain;
}

/** DNS names of the subject. `raw`: DER. What has other characters than a name, which Node quotes and escapes, is none. */
export function dnsNames(raw: Buffer): string[] {
  const text = new X509Certificate(raw).subjectAltName ?? '';
  return [...text.matchAll(/(?:^|, )DNS:([A-Za-z0-9*._-]+)(?=,|$)/g)].map(([, name = '']) => name);
}
