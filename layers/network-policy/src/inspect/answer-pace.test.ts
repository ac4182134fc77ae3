/** An answer that a person let through unsearched comes no quicker than its client reads. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { openDesk, openUpstream } from '../testing/testing-egress.ts';
import { openSession } from '../testing/testing-http2.ts';

test('what waits for a client that reads nothing is bounded', { timeout: 20_000 }, async (t) => {
  let sent = 0;
  let open = true;
  const upstream = await openUpstream((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.once('close', () => { open = false; });
    res.on('error', () => undefined);
    const piece = Buffer.alloc(1 << 18, 'plain words, and nothing else in them\n');
    const on = (): void => {
      while (open) {
        sent += piece.length;
        if (!res.write(piece)) {
          res.once('drain', on);
          return;
        }
      }
    };
    on();
  }, 'api.test');
  const desk = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test', caPem: upstream.caPem ?? '' }], ports: [upstream.port] });
  t.after(async () => {
    await desk.close();
    await upstream.close();
  });
  Object.assign(desk.policy, { inspection: { scanForPII: true, responses: { actions: { 'credit-card': 'block' } } }, terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize: 'escalate', monitor: false }) });
  const session = await openSession(desk, 'api.test', upstream.port);
  const stream = session.request({ ':path': '/x' });
  stream.on('error', () => undefined);
  stream.pause();
  const answered = once(stream, 'response');
  await desk.approver.until(1);
  desk.approver.answer({ verdict: 'allow', by: 'ann', approvalId: 'apr_1' });
  await answered;
  for (let before = -1; sent > before && sent < 1 << 27;) {
    before = sent;
    await new Promise((next) => setTimeout(next, 500));
  }
  session.destroy();
  while (open) await new Promise((next) => setTimeout(next, 10));
  assert.equal(sent < 1 << 26, true, `${sent >> 20} MiB`);
});
