/** What the record of a whole instance says of the kernel's refusals: for the table's attacks exactly the layer without which they work. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import { until, type Instance, type Result } from '../harness/instance.ts';
import { attacks } from './table.ts';

interface Recorded {
  readonly event: { readonly message: string; readonly unmapped?: { readonly layer?: string; readonly verdict?: string; readonly data?: { readonly path?: string; readonly syscall?: string; readonly rule?: { readonly id?: string } } } };
}
interface Probe {
  readonly layer: string;
  readonly what: string;
  readonly argv: readonly string[];
  /** What the record says it was about: a path or an address as the agent named it, or where there is none a system call. */
  readonly about: string;
  readonly rule?: string;
}

const shell = (command: string): string[] => ['/bin/sh', '-c', command];

/** An attack of the table that one layer alone stops (kernel-layers.ts shows that), in this instance's sandbox. */
function ofTable(id: string, variables: Readonly<Record<string, string>>, about: string, rule?: string): Probe {
  const attack = attacks.find((one) => one.id === id);
  const [layer, ...more] = attack?.stops ?? [];
  if (attack === undefined || layer === undefined || more.length > 0) throw new Error(`${id} is no attack that one layer stops`);
  const env = Object.entries({ TRY: '/workspace/tries', TOKEN: 'arrived', ...variables }).map(([name, value]) => `${name}=${value}`);
  return { layer, what: `${attack.title}${variables['W'] === '.' ? ', by a relative name' : ''}`, argv: ['/usr/bin/env', ...env, ...shell(`cd /workspace; ${attack.attempt}`)], about, ...(rule !== undefined && { rule }) };
}

/** `hidden`: a folder that everybody on the host may read, in no view; `scratch`: one in the host's /tmp. */
function probes(hidden: string, scratch: string, port: number): readonly Probe[] {
  const inWorkspace = ['/workspace', '.'].flatMap((W) => [
    ofTable('denied-folder', { W }, `${W}/keys/secret`, 'filesystem.deny[0]'),
    ofTable('denied-renamed', { W }, `${W}/vault`),
    ofTable('fixed-file', { W }, `${W}/fixed/file`, 'filesystem.readOnly[0]'),
  ]);
  const outside = { W: '/workspace', HIDDEN: hidden, SCRATCH: scratch, PORT: String(port) };
  return [
    ...inWorkspace,
    { layer: 'mounts', what: 'move what the policy denies', argv: shell('mv /workspace/keys /workspace/moved'), about: '/workspace/keys', rule: 'filesystem.deny[0]' },
    ofTable('read-outside', outside, `${hidden}/secret`, 'view'),
    ofTable('list-outside', outside, hidden, 'view'),
    ofTable('host-socket', outside, `${hidden}/stream.sock`, 'view'),
    ofTable('write-outside', outside, `${scratch}/new`, 'view'),
    { layer: 'view', what: 'read /etc/shadow', argv: ['/usr/bin/cat', '/etc/shadow'], about: '/etc/shadow', rule: 'view' },
    { layer: 'mounts', what: 'run a program of /usr/sbin', argv: shell('/usr/sbin/nologin'), about: '/usr/sbin/nologin', rule: 'process.exec.allow' },
    { layer: 'uid', what: 'give a file to root', argv: shell('touch /tmp/mine && chown 0:0 /tmp/mine'), about: '/tmp/mine' },
    { layer: 'uid', what: 'read its own file of mode 0, by a relative name', argv: shell('cd /workspace; touch closed; chmod 0 closed; cat closed'), about: 'closed' },
    { layer: 'landlock', what: 'make a file where everybody could', argv: shell('echo x >/dev/.probe/kept'), about: '/dev/.probe/kept' },
    ofTable('user-namespace', { W: '/workspace' }, 'unshare'),
    ofTable('host-tcp', outside, `127.0.0.1:${port}`),
    { layer: 'netns', what: 'connect to every machine of the link', argv: ['/usr/bin/python3', '-c', 'import socket; socket.create_connection(("ff02::1", 80), 3)'], about: '[ff02::1]:80' },
  ];
}

export async function kernelOnRecord(check: Checks, instance: Instance, port: number, inside: (...argv: string[]) => Promise<Result>): Promise<void> {
  check.section('the record names the layer that refused');
  const record = (): Promise<Recorded[]> => instance.json<Recorded[]>(['audit', 'search', '--sandbox', 'attacked', '--limit', '1000']);
  const hidden = mkdtempSync('/mnt/nca-');
  const scratch = mkdtempSync('/tmp/nca-');
  const listener = createServer((socket) => socket.destroy());
  try {
    for (const folder of [hidden, scratch]) chmodSync(folder, 0o777);
    writeFileSync(join(hidden, 'secret'), 'for nobody inside', { mode: 0o644 });
    await new Promise<void>((ready) => listener.listen(join(hidden, 'stream.sock'), ready));
    chmodSync(join(hidden, 'stream.sock'), 0o666);
    for (const { layer, what, argv, about, rule } of probes(hidden, scratch, port)) {
      const result = await inside(...argv);
      let told: string[] = [];
      await until(about, async () => {
        const events = (await record()).map(({ event }) => event.unmapped).filter((event) => event?.verdict === 'deny' && (event.data?.path === about || event.data?.syscall === about));
        told = [...new Set(events.map((event) => `${event?.layer} ${rule === undefined ? '-' : event?.data?.rule?.id}`))];
        return told.length > 0 || undefined;
      }).catch(() => undefined);
      check.that(`${what}: refused by ${layer}${rule === undefined ? '' : `, rule ${rule}`}, on record, and by nothing else`, result.code !== 0 && told.join() === `${layer} ${rule ?? '-'}`, { code: result.code, said: result.out + result.err, told });
    }
  } finally {
    listener.close();
    for (const folder of [hidden, scratch]) rmSync(folder, { recursive: true, force: true });
  }
  const all = await record();
  for (const layer of ['proxy', 'gate']) check.that(`the refusals of the ${layer} are on record`, all.some(({ event }) => event.unmapped?.layer === layer && event.unmapped.verdict === 'deny'), all.slice(-20).map(({ event }) => [event.message, event.unmapped?.layer]));
}
