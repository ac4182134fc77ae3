/** The egress of a sandbox by a real policy over real sockets, with canaries behind allowed and denied names. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { loadNetworkPolicy, loadSandboxPolicy } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from '../../../layers/network-policy/src/judge/judge.ts';
import { openDesk, type Desk, type DeskOptions } from '../../../layers/network-policy/src/testing/testing-egress.ts';
import { openCanary, type Canary } from './canary.ts';

export type Door = 'captured' | 'connect' | 'socks';
export const doors: readonly Door[] = ['captured', 'connect', 'socks'];
export const doorPort = 3128;

const sandbox = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: attacked }
spec: { isolation: { network: restricted } }
`;

export interface DeskOf {
  readonly network: string;
  readonly pins: DeskOptions['pins'];
  readonly ports: readonly number[];
  readonly intercepted: readonly string[];
  readonly more?: Partial<DeskOptions>;
}

/** Throws what a policy file that is none throws. */
export async function openPolicyDesk({ network, pins, ports, intercepted, more = {} }: DeskOf): Promise<Desk> {
  const policy = compilePolicy({ sandboxPolicy: loadSandboxPolicy(sandbox, 'sandbox.yaml'), network: loadNetworkPolicy(network, 'network.yaml'), role: '' }, 1);
  return openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [doorPort, ...ports], intercepted, ...(pins ? { pins } : {}),
    limits: { headMs: 3000, helloMs: 3000, handshakesPerSecond: 10_000, questionsPerSecond: 100_000 }, ...more,
  });
}

export interface World {
  readonly desk: Desk;
  /** Allowed but for /admin, plainly and over TLS. */
  readonly plain: Canary;
  readonly secure: Canary;
  /** Behind every denied name and port; hears nothing, not even a connection. */
  readonly denied: Canary;
  /** Questions to the resolver outside. */
  readonly asked: () => number;
  /** In place of `$PORT`, `$TLS` and `$DENIED`. */
  readonly fill: (text: string) => string;
  readonly close: () => Promise<void>;
}

export async function openWorld(): Promise<World> {
  const [plain, secure, denied] = [await openCanary(), await openCanary({ host: 'allowed.test' }), await openCanary({ raw: true })];
  const fill = (text: string): string => text.replaceAll('$PORT', String(plain.port)).replaceAll('$TLS', String(secure.port)).replaceAll('$DENIED', String(denied.port));
  let asked = 0;
  const desk = await openPolicyDesk({
    network: fill(`networkPolicy:
  name: attacked
  egress:
    allow:
      - { domain: allowed.test, ports: [$PORT, $TLS], methods: [GET, POST, HEAD] }
      - { domain: pinned.test, ports: [$TLS], tls: passthrough, uninspected: allow }
      - { domain: tunnel.test, ports: [$PORT], protocol: tcp }
      - { domain: "*.wild.test", ports: [$PORT] }
      - { domain: rebind.test, ports: [$DENIED] }
      - { domain: "*.ssrf.test", ports: [$DENIED] }
      - { domain: inner.test, ports: [$DENIED], addresses: [10.0.0.0/8] }
    deny:
      - { domain: allowed.test, paths: [/admin, "/admin/**"] }
      - { domain: secret.wild.test }
  inspection: { scanForPII: false }
`),
    pins: [{ host: 'allowed.test', caPem: secure.caPem }, { host: 'denied.test' }, { host: 'tunnel.test' }, { host: 'pinned.test' }, { host: '*.wild.test' }, { host: 'inner.test', addresses: ['10.0.0.0/8'] }],
    ports: [plain.port, secure.port, denied.port], intercepted: ['allowed.test'],
    more: {
      resolveUpstream: async (name) => {
        asked += 1;
        return ssrfAddresses.get(name) ?? (name === 'inner.test' ? ['127.0.0.1'] : []);
      },
    },
  });
  return {
    desk, plain, secure, denied, fill, asked: () => asked,
    close: async () => {
      await desk.close();
      await Promise.all([plain.close(), secure.close(), denied.close()]);
    },
  };
}

/** What names of the policy resolve to outside: never the world, always this machine, its network or its cloud. */
export const ssrfAddresses: ReadonlyMap<string, readonly string[]> = new Map(
  ([
    ['127.0.0.1'], ['127.0.0.2'], ['127.255.255.254'], ['0.0.0.0'], ['::1'], ['::'], ['::ffff:127.0.0.1'], ['::ffff:7f00:1'], ['::127.0.0.1'], ['64:ff9b::7f00:1'], ['64:ff9b:1::7f00:1'], ['2002:7f00:1::'], ['2001:0:7f00:1::'], ['10.0.0.1'], ['172.16.0.1'], ['172.31.255.255'],
    ['192.168.0.1'], ['100.64.0.1'], ['169.254.169.254'], ['169.254.170.2'], ['::ffff:169.254.169.254'], ['64:ff9b::a9fe:a9fe'], ['fd00:ec2::254'], ['100.100.100.200'], ['168.63.129.16'], ['192.0.0.192'], ['198.18.0.1'], ['224.0.0.1'], ['255.255.255.255'], ['240.0.0.1'], ['fe80::1'], ['fe80::1%lo'], ['fc00::1'], ['ff02::1'],
    ['2130706433'], ['0x7f.1'], ['127.1'], ['localhost'],
  ] as const).map((addresses, index) => [`n${index}.ssrf.test`, addresses] as const),
);

/** A connection to `name` by one of the doors; undefined where the door says no. Over the proxy's doors the name is given, never an address. */
export async function enter(desk: Desk, door: Door, name: string, port: number): Promise<Socket | undefined> {
  if (door === 'captured') return /^[\d.]+$/.test(name) || (await desk.resolve(name)) !== undefined ? desk.tcp(name, port) : undefined;
  const socket = await desk.tcp('proxy.local', doorPort);
  const hello = door === 'connect' ? Buffer.from(`CONNECT ${name}:${port} HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`, 'latin1') : Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, name.length]), Buffer.from(name, 'latin1'), Buffer.from([port >> 8, port & 255])]);
  const answer = await firstBytes(socket, hello, (bytes) => (door === 'connect' ? bytes.includes('\r\n\r\n') : bytes.length >= 12));
  if (door === 'connect' ? answer.startsWith('HTTP/1.1 200 ') : answer.length >= 12 && answer.charCodeAt(3) === 0) {
    // A server that speaks first may have spoken in the same piece.
    const rest = answer.slice(door === 'connect' ? answer.indexOf('\r\n\r\n') + 4 : 12);
    if (rest !== '') socket.unshift(Buffer.from(rest, 'latin1'));
    return socket;
  }
  socket.destroy();
  return undefined;
}

/** Writes, and gives what comes until it is enough or the connection ends. */
export async function firstBytes(socket: Socket, bytes: Buffer, enough: (text: string) => boolean): Promise<string> {
  let text = '';
  const done = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (enough(text)) resolve();
    });
    socket.once('close', () => resolve());
  });
  socket.write(bytes);
  await done;
  socket.removeAllListeners('data');
  socket.pause();
  return text;
}

/** TLS inside `socket`, trusting the authority of the sandbox. */
export async function encrypt(desk: Desk, socket: Socket, servername: string): Promise<Socket> {
  const tls = connectTls({ socket, servername, ca: desk.rootPem });
  await once(tls, 'secureConnect');
  tls.on('error', () => undefined);
  return tls;
}
