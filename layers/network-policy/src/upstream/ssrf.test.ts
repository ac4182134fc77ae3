/** Where an allowed name may lead: no address inside, however it is written or wherever it comes from; a redirect and a name that changes its mind included. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPublicAddress } from './addresses.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';

const inside = [
  '127.0.0.1', '127.255.255.254', '0.0.0.0', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.1.1', '169.254.169.254', '169.254.170.2', '100.64.0.1', '100.127.255.255', '100.100.100.200',
  '168.63.129.16', '192.0.0.192', '198.18.0.1', '198.19.255.255', '224.0.0.1', '239.255.255.250', '240.0.0.1', '255.255.255.255', '192.0.2.1', '198.51.100.1', '203.0.113.1', '192.88.99.1',
  '::', '::1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:a9fe:a9fe', '::ffff:0:10.0.0.1', 'fe80::1', 'fe80::1%eth0', 'fec0::1', 'fc00::1', 'fd00:ec2::254', 'fd20:ce::254', 'ff02::1',
  '64:ff9b::a9fe:a9fe', '64:ff9b::10.0.0.1', '64:ff9b:1::a00:1', '64:ff9b:1::c612:1', '2002:a9fe:a9fe::1', '2002:7f00:1::', '2001:0:53aa:64c:0:fbff:56fe:fe01', '2001::1', '2001:20::1', '2001:db8::1', '3fff::1', '100::1', '5f00::1',
  '0x7f.1', '2130706433', '127.1', '0177.0.0.1', '', 'localhost', '1.2.3.4 ', '[::1]',
];
const outside = ['1.1.1.1', '8.8.8.8', '93.184.216.34', '100.63.255.255', '100.128.0.1', '172.15.255.255', '172.32.0.1', '169.253.255.255', '198.17.255.255', '198.20.0.0', '223.255.255.255', '2606:4700::1111', '2001:4860:4860::8888', '2a00:1450::1'];

test('an address inside is none that a name may lead to, in any clothes; its neighbours outside are', () => {
  for (const address of inside) assert.equal(isPublicAddress(address), false, address);
  for (const address of outside) assert.equal(isPublicAddress(address), true, address);
});

test('a name that leads inside is refused at every address', async () => {
  const hits: string[] = [];
  const canary = await openUpstream((req, res) => void res.end(hits.push(req.url ?? '')));
  const answers = new Map([['one.test', ['127.0.0.1']], ['many.test', ['169.254.169.254', '10.0.0.1', '::1', '127.0.0.1']], ['mapped.test', ['::ffff:127.0.0.1']], ['none.test', []]]);
  const asked: string[] = [];
  const hosts = [...answers.keys()];
  const desk = await openDesk({
    rules: hosts.map((host) => ({ host, verdict: 'allow' as const })), ports: [canary.port],
    resolveUpstream: async (host) => (asked.push(host), answers.get(host) ?? []),
  });
  try {
    for (const host of hosts) {
      for (let i = 0; i < 2; i += 1) {
        const text = await say(await desk.tcp(host, canary.port), `GET / HTTP/1.1\r\nHost: ${host}:${canary.port}\r\n\r\n`, wholeAnswer);
        assert.match(text, host === 'none.test' ? /^HTTP\/1\.1 502 / : /^HTTP\/1\.1 403 .*"rule":"network\.addresses"/s);
      }
    }
    assert.deepEqual([hits, asked.filter((host) => host !== 'none.test')], [[], ['one.test', 'one.test', 'many.test', 'many.test', 'mapped.test', 'mapped.test']]);
  } finally {
    await desk.close();
    await canary.close();
  }
});

test('a declared address is used as it stands: nobody is asked, so that no answer can change where it leads', async () => {
  const hits: string[] = [];
  const upstream = await openUpstream((req, res) => void res.end(String(hits.push(req.url ?? ''))));
  const asked: string[] = [];
  const desk = await openDesk({ rules: [{ host: 'declared.test', verdict: 'allow' }], ports: [upstream.port], pins: [{ host: 'declared.test' }], resolveUpstream: async (host) => (asked.push(host), ['127.0.0.2']) });
  try {
    for (let i = 0; i < 3; i += 1) assert.match(await say(await desk.tcp('declared.test', upstream.port), `GET /${i} HTTP/1.1\r\nHost: declared.test:${upstream.port}\r\n\r\n`, wholeAnswer), /^HTTP\/1\.1 200 /);
    assert.deepEqual([asked, hits], [[], ['/0', '/1', '/2']]);
  } finally {
    await desk.close();
    await upstream.close();
  }
});

test('a redirect is the client’s to follow, and a new request to decide', async () => {
  const hits: string[] = [];
  const to = ['http://169.254.169.254/latest/meta-data/', 'http://127.0.0.1/', 'http://evil.test/', 'http://allowed.test/admin'];
  const upstream = await openUpstream((req, res) => {
    hits.push(req.url ?? '');
    res.writeHead(302, { location: to[Number(req.url?.slice(3))] ?? '' });
    res.end();
  });
  const desk = await openDesk({ rules: [{ host: 'allowed.test', verdict: 'allow', path: '/r' }], ports: [upstream.port, 3128], pins: [{ host: 'allowed.test' }] });
  try {
    for (const [index, location] of to.entries()) {
      // Absolute forms, as curl -L through HTTP_PROXY follows it; captured, the name or address is refused before.
      const ask = async (url: string): Promise<string> => say(await desk.tcp('proxy.local', 3128), `GET ${url} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n\r\n`, wholeAnswer);
      const first = await ask(`http://allowed.test:${upstream.port}/r/${index}`);
      assert.match(first, /^HTTP\/1\.1 302 /);
      assert.match(await ask(location), /^HTTP\/1\.1 403 .*"rule":"default"/s, location);
    }
    assert.deepEqual(hits, to.map((_, index) => `/r/${index}`));
  } finally {
    await desk.close();
    await upstream.close();
  }
});
