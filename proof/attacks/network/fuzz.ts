/** Every parser of ours that reads bytes of a sandbox or of a server, fed with damaged messages by fixed seeds: none throws what it does not promise, none keeps more than it was given. */
import type { Checks } from '../../harness/checks.ts';
import { readClientHello } from '../../../layers/network-policy/src/tls/client-hello.ts';
import { readQuery } from '../../../layers/network-policy/src/dns/dns-packet.ts';
import { readAbsolute, readAuthority } from '../../../layers/network-policy/src/doors/target.ts';
import { checkRequest } from '../../../layers/network-policy/src/http/request-check.ts';
import { readTarget } from '../../../layers/network-policy/src/http/request-target.ts';
import { FrameError, FrameReader } from '../../../layers/network-policy/src/websocket/websocket-frames.ts';
import { questionFor } from '../../../layers/network-policy/src/testing/testing-egress.ts';
import { readStartup } from '../../../layers/network-policy/src/protocols/postgres-words.ts';
import { damaged, numbersOf, requestOf } from './generate.ts';

interface Parser {
  readonly name: string;
  readonly seeds: readonly Buffer[];
  /** Throws only what it does not promise. */
  readonly read: (bytes: Buffer) => void;
}

const place = { name: 'same.test', port: 80, tls: false };
const frames = ['8185000000006869686968', '8900', '88820000000003e8', 'c1850000000068696869', '01820000000061628082000000006364', '827e0080' + '00'.repeat(132)].map((hex) => Buffer.from(hex, 'hex'));
const sized = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
const serverName = sized(Buffer.concat([Buffer.from([0]), sized(Buffer.from('allowed.test'))]));
const hello = ((): Buffer => {
  const extensions = sized(Buffer.concat([Buffer.from([0, 0]), sized(serverName), Buffer.from('0010000b000908687474702f312e31', 'hex')]));
  const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from('00000213010100', 'hex'), extensions]);
  return Buffer.concat([Buffer.from([22, 3, 1]), sized(Buffer.concat([Buffer.from([1, 0]), sized(body)]))]);
})();

const parsers: readonly Parser[] = [
  { name: 'the hello of TLS', seeds: [hello], read: (bytes) => void readClientHello(bytes) },
  { name: 'questions for names', seeds: [questionFor('allowed.test'), questionFor('a.b.c.d', 65)], read: (bytes) => void readQuery(bytes) },
  {
    name: 'frames of a WebSocket', seeds: frames,
    read: (bytes) => {
      const reader = new FrameReader(true, 1000);
      try {
        for (const event of reader.read(bytes)) void event;
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
      }
      if (reader.kept > bytes.length) throw new Error(`${reader.kept} bytes kept of ${bytes.length}`);
    },
  },
  { name: 'the first message of PostgreSQL', seeds: [Buffer.from('\0\x03\0\0user\0ann\0database\0x\0\0', 'latin1')], read: (bytes) => void readStartup(bytes) },
  { name: 'targets', seeds: ['/a/b%20c?x=1&y=%zz', '/..;/x', 'http://a.test:80/x', 'a.test:80', '[::1]:80'].map((text) => Buffer.from(text)), read: (bytes) => void [readTarget(bytes.toString('latin1')), readAbsolute(bytes.toString('latin1')), readAuthority(bytes.toString('latin1'))] },
  {
    name: 'heads of requests', seeds: [1, 2, 3, 4, 5].map((seed) => requestOf(numbersOf(seed), 'same.test', '1')),
    read: (bytes) => {
      const [line = '', ...headers] = bytes.toString('latin1').split('\r\n');
      const [method, url] = line.split(' ');
      checkRequest({ method, url, rawHeaders: headers.flatMap((header) => [header.split(':')[0] ?? '', header.slice(header.indexOf(':') + 1)]) }, place);
    },
  },
];
const rounds = 5000;

export function fuzz(check: Checks): void {
  check.that('control: the hello that is damaged is whole before', readClientHello(hello).state === 'whole', readClientHello(hello));
  for (const { name, seeds, read } of parsers) {
    const pick = numbersOf(4711);
    const failures: string[] = [];
    let longest = 0;
    for (let round = 0; round < rounds && failures.length < 3; round += 1) {
      let bytes = seeds[pick(seeds.length)] ?? Buffer.alloc(0);
      for (let i = pick(4); i >= 0; i -= 1) bytes = damaged(pick, bytes);
      if (pick(4) === 0) bytes = bytes.subarray(0, pick(bytes.length + 1));
      const started = process.cpuUsage().user;
      try {
        read(bytes);
      } catch (error) {
        failures.push(`${bytes.toString('hex')}: ${error instanceof Error ? error.stack : String(error)}`);
      }
      longest = Math.max(longest, process.cpuUsage().user - started);
    }
    check.that(`${name}: ${rounds} damaged messages, none throws or takes seconds`, failures.length === 0 && longest < 5_000_000, failures);
  }
}
