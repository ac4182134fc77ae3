/** What Go makes of certificates that a stolen intermediate signs; OpenSSL and Node are asked in the room itself. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../../layers/network-policy/src/tls/certificate.ts';
import type { Checks } from '../harness/checks.ts';

const named = ['api.example.com', '*.salesforce.com', 'example.org', 'deep.example.org'];
const vouched = ['api.example.com', 'acme.my.salesforce.com', 'inference.local', 'example.org', 'deep.example.org'];
const others = ['evil.test', 'sub.api.example.com', 'api.example.com.evil.test', 'salesforce.com', 'evilsalesforce.com', 'example.com', 'x.inference.local', 'com', 'other.example.org', 'x.deep.example.org'];

/** `folder`: its own, removed by the caller. */
export function stolenIntermediate(check: Checks, folder: string): void {
  check.section('a stolen intermediate, judged by Go');
  mkdirSync(folder);
  const now = Math.floor(performance.timeOrigin + performance.now());
  const root = createRootCa('clients', now);
  const stolen = createIntermediate(root, named, now);
  const key = createLeafKey();
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const chains = [...vouched, ...others].flatMap((host) => [host, file(`${host}.pem`, mintLeaf(stolen, host, key, now))]);
  const program = join(folder, 'verify');
  const built = spawnSync('/usr/bin/go', ['build', '-o', program, join(import.meta.dirname, 'programs/verify.go')], { env: { ...process.env, CGO_ENABLED: '0', GOCACHE: join(folder, 'cache'), GOFLAGS: '-mod=mod', GO111MODULE: 'off' }, encoding: 'utf8' });
  if (built.status !== 0) {
    check.that('the program is built', false, built.stderr);
    return;
  }
  const { stdout, stderr } = spawnSync(program, [file('root.pem', root.certPem), ...chains], { encoding: 'utf8' });
  const lines = stdout.trim().split('\n');
  for (const host of vouched) check.that(`${host}: accepted`, lines.includes(`${host} accepted`), stdout + stderr);
  for (const host of others) check.that(`${host}: refused by the constraint on names`, lines.some((line) => line.startsWith(`${host} refused:`) && /not permitted|excluded/.test(line)), stdout + stderr);
}
