/** Generated requests of HTTP/1.1 that the proxy lets through: nginx (over HTTP/1.1, and in TLS over HTTP/2) and Node, behind it, see the very method, target, host, headers and body that it decided on. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Checks } from '../../harness/checks.ts';
import { readTarget } from '../../../layers/network-policy/src/http/request-target.ts';
import { fine, openCanary, type Arrived } from './canary.ts';
import { openPolicyDesk } from './desk.ts';
import { numbersOf, requestOf } from './generate.ts';
import { converse } from './http.ts';
import { openNginx } from './nginx.ts';

interface Seen {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly headers: readonly string[];
  readonly body: string;
}

/** Headers that belong to one connection or that nginx writes itself; it drops names with characters that it does not take. */
const passing = (headers: readonly string[]): string[] => headers.filter((header) => !/^(host|connection|content-length|transfer-encoding|x-nginx-[a-z]+|keep-alive|te|date):/i.test(header) && /^[A-Za-z0-9-]+:/.test(header)).map((header) => header.replace(/^([^:]+):\s*(.*?)\s*$/, (_all, name: string, value: string) => `${name.toLowerCase()}: ${value}`)).sort();
const rounds = 260;
const atOnce = 24;

export async function differential(check: Checks): Promise<void> {
  const behind = await openCanary();
  const nginx = await openNginx(behind.port, 'same.test');
  if (!nginx) console.log('NGINX NOT TESTED: Debian’s package is not to be had; requests are compared with Node alone.');
  const seen: Seen[] = [];
  const server = createServer({ insecureHTTPParser: false }, (req, res) => {
    const parts: Buffer[] = [];
    req.on('data', (part: Buffer) => parts.push(part));
    req.on('end', () => {
      const headers = Array.from({ length: req.rawHeaders.length / 2 }, (_, i) => `${req.rawHeaders[2 * i]}: ${req.rawHeaders[2 * i + 1]}`);
      seen.push({ method: req.method ?? '', target: req.url ?? '', host: req.headers.host ?? '', headers: passing(headers), body: Buffer.concat(parts).toString('latin1') });
      res.end('node');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const nodePort = (server.address() as AddressInfo).port;
  behind.answer = () => fine('nginx');
  const ports = [nodePort, ...(nginx ? [nginx.port, nginx.secure] : [])];
  const desk = await openPolicyDesk({
    network: `networkPolicy:\n  name: compared\n  egress:\n    allow:\n      - { domain: same.test, ports: [${ports.join()}], methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS] }\n  inspection: { scanForPII: false }\n`,
    pins: [{ host: 'same.test', ...(nginx ? { caPem: nginx.caPem } : {}) }], ports, intercepted: ['same.test'],
  });
  const pick = numbersOf(271_828);
  const different: unknown[] = [];
  let passed = 0;
  let raised = 0;
  /** What arrives of a request that is answered; undefined where it is refused. */
  const through = async (seed: number, port: number): Promise<Seen | undefined> => {
    const bytes = requestOf(numbersOf(seed), `same.test:${port}`, String(seed));
    const text = await converse(await (port === nginx?.secure ? desk.tls('same.test', port) : desk.tcp('same.test', port)), bytes, 1, false, 3000);
    const heard = `X-Nginx-Heard: HTTP/${port === nginx?.secure ? '2.0' : '1.1'} ${port}`;
    const arrived = port === nodePort ? seen : behind.requests.filter(({ headers }) => headers.includes(heard)).map(asSeen);
    const mine = arrived.filter(({ headers }) => headers.includes(`x-tag: ${seed}`));
    const [first] = mine;
    if (mine.length > 1) different.push({ seed, bytes: bytes.toString('latin1'), mine });
    if (!first || !/^HTTP\/1\.1 2/.test(text)) return undefined;
    passed += 1;
    const asked = askedFor(bytes.toString('latin1'));
    if (first.host !== `same.test:${port}` || asked !== `${first.method} ${first.target}` || typeof readTarget(first.target) === 'string') different.push({ seed, asked, first, text, bytes: bytes.toString('latin1') });
    return first;
  };
  try {
    const seeds = Array.from({ length: rounds }, () => pick(2 ** 31));
    await Promise.all(Array.from({ length: atOnce }, async () => {
      for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
        const results = await Promise.all(ports.map((port) => through(seed as number, port)));
        const said = results.map((one, index) => one && JSON.stringify(one).replaceAll(`same.test:${String(ports[index])}`, 'same.test:PORT'));
        const [byNode, byNginx, overHttp2] = said;
        if (new Set(said.filter((one) => one !== undefined)).size > 1) different.push({ seed, byNode, byNginx, overHttp2 });
        if (overHttp2 !== undefined) raised += 1;
      }
    }));
    check.that(`${passed} of ${rounds * ports.length} generated requests are let through, and ${nginx ? `nginx (${raised} over HTTP/2) and Node see` : 'Node sees'} each as it was decided`, different.length === 0 && passed > 50 && (!nginx || raised > 25) && behind.faults.length === 0, { different: different.slice(0, 3), faults: behind.faults, raised });
  } finally {
    await desk.close();
    await nginx?.close();
    server.closeAllConnections();
    server.close();
    await behind.close();
  }
}

const asSeen = ({ line, host, headers, body }: Arrived): Seen => ({ method: line.split(' ')[0] ?? '', target: line.split(' ')[1] ?? '', host, headers: passing(headers), body });

/** Method and origin-form target of the first line, by splitting alone. */
function askedFor(text: string): string {
  const [method = '', target = ''] = (text.split('\r\n').find((line) => line !== '') ?? '').split(/ +/);
  const rest = target.replace(/^http:\/\/[^/?#]*/i, '');
  return `${method} ${rest.startsWith('/') ? rest : `/${rest}`}`;
}
