/** What the record of a whole instance says of the kernel's refusals: for the table's attacks exactly the layer without which they work. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import { until, type Instance, type Result } from '../harness/instance.ts';
import { attacks } from './table.ts';

interface Recorded {
  readonly event: { readonly message: string; readonly unmapped?: { readonly layer?: string; readonly verdict?: string; readonly data?: { readonly path?: string; readonly syscall?: string; readonly tool?: string; readonly rule?: { readonly id?: string } } } };
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

/** `hidden`: a folder that everybody on the host may read, in no view; `scratch`: one in the host's /tmp; `shown`: one in its /usr, which every view shows. */
function probes(hidden: string, scratch: string, shown: string, port: number): readonly Probe[] {
  const inWorkspace = ['/workspace', '.'].flatMap((W) => [
    ofTable('denied-folder', { W }, `${W}/keys/secret`, 'filesystem.deny[0]'),
    ofTable('denied-renamed', { W }, `${W}/vault`),
    ofTable('fixed-file', { W }, `${W}/fixed/file`, 'filesystem.readOnly[0]'),
  ]);
  const outside = { W: '/workspace', HIDDEN: hidden, SCRATCH: scratch, SHOWN: shown, PORT: String(port) };
  return [
    ...inWorkspace,
    { layer: 'mounts', what: 'move what the policy denies', argv: shell('mv /workspace/keys /workspace/moved'), about: '/workspace/keys', rule: 'filesystem.deny[0]' },
    ofTable('read-outside', outside, `${hidden}/secret`, 'view'),
    ofTable('list-outside', outside, hidden, 'view'),
    ofTable('host-socket', outside, `${hidden}/stream.sock`, 'view'),
    ofTable('write-outside', outside, `${scratch}/new`, 'view'),
    { layer: 'view', what: 'read /etc/shadow', argv: ['/usr/bin/cat', '/etc/shadow'], about: '/etc/shadow', rule: 'view' },
    { layer: 'mounts', what: 'run a program of /usr/sbin', argv: shell('/usr/sbin/nologin'), about: '/usr/sbin/nologin', rule: 'process.exec.allow' },
    ofTable('root-file', outside, `${shown}/root-only`),
    ofTable('root-socket', outside, `${shown}/root.sock`),
    ofTable('shown-pipe', outside, `${shown}/pipe`),
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
  const shown = mkdtempSync('/usr/local/nca-');
  const listeners: Server[] = [];
  const listen = async (path: string, mode: number): Promise<void> => {
    const server = createServer((socket) => socket.destroy());
    listeners.push(server);
    await new Promise<void>((ready) => server.listen(path, ready));
    chmodSync(path, mode);
  };
  try {
    for (const folder of [hidden, scratch]) chmodSync(folder, 0o777);
    writeFileSync(join(hidden, 'secret'), 'for nobody inside', { mode: 0o644 });
    await listen(join(hidden, 'stream.sock'), 0o666);
    chmodSync(shown, 0o755);
    await listen(join(shown, 'root.sock'), 0o600);
    execFileSync('mkfifo', ['-m', '666', join(shown, 'pipe')]);
    writeFileSync(join(shown, 'root-only'), 'for root', { mode: 0o600 });
    for (const { layer, what, argv, about, rule } of probes(hidden, scratch, shown, port)) {
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
    for (const listener of listeners) listener.close();
    for (const folder of [hidden, scratch, shown]) rmSync(folder, { recursive: true, force: true });
  }
  const all = await record();
  // What service-layers.ts tries with all layers on; each works there with its own layer off.
  for (const { layer, what, path, tool } of [{ layer: 'proxy', what: 'a method that is not allowed', path: '/upload' }, { layer: 'gate', what: 'a tool that is denied', tool: 'vault_open' }] as const) {
    const about = all.map(({ event }) => event.unmapped).filter((event) => event?.verdict === 'deny' && (path === undefined ? event.data?.tool === tool : event.data?.path === path));
    const told = [...new Set(about.map((event) => event?.layer))];
    check.that(`${what}: refused by the ${layer}, on record, and by nothing else`, told.join() === layer, told);
  }
}
