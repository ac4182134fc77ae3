/** What breaks an upload over HTTP/2 off is no end of it, whatever the reason that the client gives. */
import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { openDesk, openUpstream } from '../testing/testing-egress.ts';
import { block, flags, frame, preface } from '../testing/testing-frames.ts';
import { openHttp2Upstream } from '../testing/testing-http2.ts';

const head = (scheme: string, host: string): Buffer => frame('headers', flags.endHeaders, 1, block([[':method', 'POST'], [':scheme', scheme], [':authority', host], [':path', '/up']]));

test('an upload without a length that is reset reaches the origin cut, an ended one whole', async () => {
  let arrived: (end: string) => void = () => undefined;
  let came: () => void = () => undefined;
  const origin = await openUpstream((req: IncomingMessage, res) => {
    req.once('data', () => came());
    req.once('end', () => arrived('whole'));
    req.once('error', () => arrived('cut'));
    res.on('error', () => undefined);
  }, 'o.test');
  const desk = await openDesk({ rules: [{ host: 'o.test', verdict: 'allow' }], pins: [{ host: 'o.test', caPem: origin.caPem ?? '', http1: true }], ports: [origin.port] });
  const codes: readonly (readonly [expected: string, last: Buffer])[] = [
    ['whole', frame('data', flags.endStream, 1)], ['cut', frame('reset', 0, 1, Buffer.from([0, 0, 0, 0]))], ['cut', frame('reset', 0, 1, Buffer.from([0, 0, 0, 8]))],
  ];
  for (const [expected, last] of codes) {
    const end = new Promise<string>((done) => { arrived = done; });
    const begun = new Promise<void>((done) => { came = done; });
    const socket = await desk.tls('o.test', origin.port, { ALPNProtocols: ['h2'] });
    socket.resume();
    socket.write(Buffer.concat([preface, frame('settings', 0, 0), head('https', 'o.test'), frame('data', 0, 1, Buffer.from('part one'))]));
    await begun;
    socket.write(last);
    assert.equal(await end, expected, last.toString('hex'));
    socket.destroy();
  }
  await desk.close();
  await origin.close();
});

test('an upload that is there at once, before anybody was told of its head, is whole', async () => {
  let arrived: (body: string) => void = () => undefined;
  const origin = await openHttp2Upstream((stream) => {
    let body = '';
    stream.on('data', (chunk: Buffer) => { body += chunk.toString('latin1'); });
    stream.once('end', () => arrived(stream.aborted ? 'cut' : body));
    stream.once('aborted', () => arrived('cut'));
  });
  const desk = await openDesk({ rules: [{ host: 'o.test', verdict: 'allow' }], pins: [{ host: 'o.test' }], ports: [origin.port] });
  const end = new Promise<string>((done) => { arrived = done; });
  const socket = await desk.tcp('o.test', origin.port);
  socket.resume();
  socket.write(Buffer.concat([preface, frame('settings', 0, 0), head('http', `o.test:${origin.port}`), frame('data', flags.endStream, 1, Buffer.from('all of it'))]));
  assert.equal(await end, 'all of it');
  socket.destroy();
  await desk.close();
  await origin.close();
});
