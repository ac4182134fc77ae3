/** The way out from inside a real sandbox: sockets of every kind, addresses of this machine, options that lead past a capture, and raw bytes to the proxy. */
import { createSocket } from 'node:dgram';
import { mkdirSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { putBlueprint } from '../../harness/blueprint.ts';
import type { Checks } from '../../harness/checks.ts';
import { Instance, run } from '../../harness/instance.ts';
import { openCanary } from './canary.ts';
import { program, tries } from './inside-program.ts';

const networkFile = (allowed: number, denied: number): string => `networkPolicy:
  name: outward
  egress:
    allow:
      - { domain: allowed.example, ports: [${allowed}], methods: [GET, POST], addresses: [127.0.0.1] }
      - { domain: inward.example, ports: [${denied}] }
    deny:
      - { domain: allowed.example, paths: [/admin] }
      - domain: "*"
`;

/** Addresses that this machine has besides loopback: to a sandbox they are as foreign as any. */
const ownAddresses = (): string[] => Object.values(networkInterfaces()).flatMap((all) => (all ?? []).filter(({ internal, family }) => !internal && family === 'IPv4').map(({ address }) => address));

/** `made`: told the instance, which this function destroys when it ends. */
export async function fromInside(check: Checks, made: (instance: Instance) => void): Promise<void> {
  check.section('the way out, from inside a sandbox');
  const instance = new Instance();
  made(instance);
  const [allowed, denied] = [await openCanary(), await openCanary({ raw: true })];
  let datagrams = 0;
  const udp = createSocket({ type: 'udp6', ipv6Only: false });
  udp.on('message', () => { datagrams += 1; });
  await new Promise<void>((done) => udp.bind(denied.port, '::', done));
  try {
    instance.configure();
    putBlueprint(instance, 'outward', { network: networkFile(allowed.port, denied.port) });
    const workspace = join(instance.root, 'work');
    mkdirSync(workspace);
    const file = join(workspace, 'tries.py');
    writeFileSync(file, program);
    const words = [String(allowed.port), String(denied.port), ownAddresses()[0] ?? '127.0.0.1'];
    const outside = await run('/usr/bin/python3', [file, ...words], { timeoutMs: 120_000 });
    const reached = new Set([...denied.bytes().matchAll(/tag-([a-z0-9-]+)/g)].map(([, tag]) => tag));
    check.that(`without a sandbox ${reached.size} of them reach the canary`, reached.size >= 8 && datagrams > 0, { reached: [...reached], datagrams, said: outside.out + outside.err });
    const started = await instance.cli(['onboard', '--yes', '--name', 'outward', '--blueprint', 'outward', '--workspace', workspace], { timeoutMs: 240_000 });
    if (started.code !== 0) throw new Error(`the instance does not start: ${started.out}${started.err}`);
    const before = { accepted: denied.accepted(), datagrams, requests: allowed.requests.length };
    const result = await instance.cli(['outward', 'exec', '--', '/usr/bin/python3', '/workspace/tries.py', ...words], { timeoutMs: 120_000 });
    const said = new Map(result.out.split('\n').flatMap((line) => {
      const [, tag, text] = /^([a-z0-9-]+)\t(.*)$/.exec(line) ?? [];
      return tag === undefined ? [] : [[tag, text ?? ''] as const];
    }));
    const arrived = allowed.requests.slice(before.requests).map(({ line, host }) => `${host.split(':')[0]} ${line}`);
    const heard = denied.bytes();
    for (const { tag, name } of tries) {
      const seen = [...heard.matchAll(new RegExp(`tag-${tag}\\b`, 'g'))].length > (reached.has(tag) ? 1 : 0);
      check.that(`${name}: nothing arrives`, said.has(tag) && !seen && !arrived.some((line) => line.includes(`tag-${tag}`)), { said: said.get(tag) ?? result.out + result.err });
    }
    check.that('control: an allowed request arrives from inside', arrived.includes('allowed.example GET /control') && (said.get('control') ?? '').includes('200'), { said: said.get('control'), arrived });
    check.that('and nothing else; the denied canary was not connected to, no datagram came', arrived.length === 1 && denied.accepted() === before.accepted && datagrams === before.datagrams, { arrived, accepted: denied.accepted() - before.accepted, datagrams: datagrams - before.datagrams });
  } finally {
    await instance.destroy();
    await new Promise<void>((done) => udp.close(done));
    await Promise.all([allowed.close(), denied.close()]);
  }
}
