/** Where the workers take calls from outside: each on its own port from the one that is set, under the operator's certificate. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IngressListen } from '@nemoclaw/contract';
import type { Settings } from '../settings.ts';

/** Undefined where none is set. Without both files there is no TLS, and the worker then listens on loopback only. */
export function ingressListen(settings: Settings, worker: string): IngressListen | undefined {
  if (settings.ingress === undefined) return undefined;
  const [certPem, keyPem] = ['certificate.pem', 'key.pem'].map((name) => read(join(settings.state, 'gateway/ingress', name)));
  const tls = certPem === undefined || keyPem === undefined ? null : { certPem, keyPem };
  return { host: settings.ingress.host, port: settings.ingress.port + Number(/:(\d+)$/.exec(worker)?.[1] ?? 1) - 1, tls };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
