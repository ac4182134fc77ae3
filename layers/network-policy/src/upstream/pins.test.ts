/** What an older policy allowed while a connection was being made is not there for a request that a newer one decides. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadNetworkPolicy } from '@nemoclaw/contract';
import { openUpstream, testClock } from '../testing/testing-egress.ts';
import { openHttp2Upstream } from '../testing/testing-http2.ts';
import { http1ByHost, pinFor, pinsByHost } from './pins.ts';
import { upstreamsOf } from './reach.ts';
import { AddressRefused, Upstreams } from './upstreams.ts';

test('a name that is looked up while its blocks change leads where the new policy lets it, for this connection and the next', async () => {
  const upstream = await openUpstream((_req, res) => void res.end());
  const waiting: ((addresses: readonly string[]) => void)[] = [];
  const upstreams = new Upstreams({ clock: testClock, connections: 1, pins: [{ host: 'inside.test', addresses: ['127.0.0.0/8'] }], resolve: () => new Promise((resolve) => waiting.push(resolve)) });
  try {
    const first = upstreams.connect('inside.test', upstream.port, false);
    upstreams.update([]);
    waiting.shift()?.(['127.0.0.1']);
    const refused = assert.rejects(first, AddressRefused);
    while (waiting.length === 0) await new Promise(setImmediate);
    waiting.shift()?.(['127.0.0.1']);
    await refused;
    const next = assert.rejects(upstreams.connect('inside.test', upstream.port, false), AddressRefused);
    waiting.shift()?.(['127.0.0.1']);
    await next;
  } finally {
    upstreams.close();
    await upstream.close();
  }
});

test('a connection that was being made to the former address carries no request after the change', async () => {
  const seen: string[] = [];
  const upstream = await openHttp2Upstream((stream) => {
    seen.push('request');
    stream.respond({ ':status': 200 });
    stream.end();
  }, 'two.test');
  const pin = (address: string): { host: string; addresses: string[]; caPem: string } => ({ host: 'two.test', addresses: [address], caPem: upstream.caPem });
  const upstreams = new Upstreams({ clock: testClock, connections: 1, pins: [pin('127.0.0.1')], resolve: async () => [] });
  const ask = (): Promise<string> => new Promise((resolve) => {
    upstreams.send({ host: 'two.test', port: upstream.port, tls: true, version: '2', path: '/', method: 'GET', headers: [], body: null, trailers: () => [] }, {
      onRequestStart: () => undefined, onResponseStart: () => undefined, onResponseData: () => undefined,
      onResponseEnd: () => resolve('answered'), onResponseError: (_controller, error) => resolve('code' in error ? String(error.code) : error.message),
    });
  });
  try {
    const first = ask();
    // Where nobody listens.
    upstreams.update([pin('127.0.0.2')]);
    assert.equal(await first, 'ECONNREFUSED');
    assert.equal(await ask(), 'ECONNREFUSED');
    assert.deepEqual(seen, []);
    upstreams.update([pin('127.0.0.1')]);
    assert.equal(await ask(), 'answered');
  } finally {
    upstreams.close();
    await upstream.close();
  }
});

test('`upstream: http1` of a rule holds for its host, which still leads where a wider name says', () => {
  const text = 'networkPolicy:\n  name: x\n  egress:\n    allow:\n      - { domain: "*.x.org", addresses: [10.0.0.0/8], ca: x.pem }\n      - { domain: api.x.org, upstream: http1 }\n      - { domain: "*.y.org", upstream: http1 }\n';
  const pins = upstreamsOf(loadNetworkPolicy(text, 'x.yaml'), () => 'PEM');
  const hosts = ['api.x.org', 'www.x.org', 'a.y.org', 'z.org'];
  assert.deepEqual(hosts.map((host) => pinFor(http1ByHost(pins), host) !== undefined), [true, false, true, false]);
  assert.deepEqual(hosts.map((host) => pinFor(pinsByHost(pins), host)?.addresses.join()), ['10.0.0.0/8', '10.0.0.0/8', undefined, undefined]);
});
