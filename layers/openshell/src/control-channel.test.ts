/** Packets over a socket pair: order, descriptors, a full socket, a broken peer; and the client's promises. No root, no daemon. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { afterEach, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { FromOpenshelld, ToOpenshelld } from '@nemoclaw/contract';
import { ControlChannel, PacketChannel, maxPacket } from './control-channel.ts';
import { binding, closeFd, peerCred } from './native.ts';
import { OpenshelldClient } from './openshelld-client.ts';

/** A service's end, and openshelld's end played by the test. */
function both(): { service: ControlChannel; daemon: PacketChannel<ToOpenshelld, FromOpenshelld> } {
  const [a, b] = binding().pair(1);
  const made = { service: new ControlChannel(a), daemon: new PacketChannel<ToOpenshelld, FromOpenshelld>(b) };
  open.push(made.service, made.daemon);
  return made;
}

/** A test that fails leaves no channel that would keep the process alive. */
const open: { close(): void }[] = [];
afterEach(() => {
  for (const channel of open.splice(0)) channel.close();
});

describe('packet channels', () => {
  before(() => {
    const made = spawnSync('make', ['-s', '-C', fileURLToPath(new URL('../native/', import.meta.url)), 'build/binding.node'], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
  });

  it('carry messages in order with their descriptors, also those that came before a listener', async () => {
    const { service, daemon } = both();
    const file = openSync('/dev/null', 'r');
    daemon.send({ t: 'link', peer: 'ledger' }, [file]);
    for (let i = 0; i < 200; i++) daemon.send({ t: 'peer.gone', peer: String(i) });
    await new Promise((resolve) => setTimeout(resolve, 20)); // so that some, or all, come before there is a listener
    const got: FromOpenshelld[] = [];
    const all = new Promise<void>((resolve) => service.onMessage((message, fds) => {
      if (message.t === 'link') {
        assert.equal(fds.length, 1);
        assert.equal(fstatSync(fds[0] ?? -1).rdev, fstatSync(file).rdev);
      }
      for (const fd of fds) closeFd(fd);
      if (got.push(message) === 201) resolve();
    }));
    await all;
    assert.deepEqual(got.slice(1).map((m) => (m.t === 'peer.gone' ? Number(m.peer) : -1)), Array.from({ length: 200 }, (_, i) => i));
    closeSync(file);
    service.close();
    daemon.close();
  });

  it('queue while the socket is full, and lose nothing', async () => {
    const { service, daemon } = both();
    const big = 'x'.repeat(200_000);
    let count = 0;
    const all = new Promise<void>((resolve) => daemon.onMessage((message) => {
      assert.equal((message as { head: string }).head, big + String(count));
      count += 1;
      if (count === 60) resolve();
    }));
    for (let i = 0; i < 60; i++) service.send({ t: 'sign', id: i, count: i, head: big + String(i), why: 'interval' });
    await all;
    assert.throws(() => service.send({ t: 'sign', id: 0, count: 0, head: 'x'.repeat(maxPacket), why: 'interval' }), RangeError);
    service.close();
    daemon.close();
  });

  it('refuse texts that are none, and only those', async () => {
    const { service, daemon } = both();
    for (const head of ['a\u0000b', '\\\u0000', '\ud800', 'x\udc00']) assert.throws(() => service.send({ t: 'sign', id: 0, count: 0, head, why: 'interval' }), RangeError);
    const fine = ['\\u0000', '\ud83d\ude00', '\u0001', '\\\\ud800', 'ä'];
    const got: string[] = [];
    const all = new Promise<void>((resolve) => daemon.onMessage((message) => {
      if (got.push((message as { head: string }).head) === fine.length) resolve();
    }));
    for (const head of fine) service.send({ t: 'sign', id: 0, count: 0, head, why: 'interval' });
    await all;
    assert.deepEqual(got, fine);
    service.close();
    daemon.close();
  });

  it('end when the other side ends or sends no JSON', async () => {
    const first = both();
    const ended = new Promise<Error | undefined>((resolve) => first.service.onClose(resolve));
    first.daemon.close();
    assert.equal(await ended, undefined);
    first.service.send({ t: 'host', id: 1 });
    const [a, b] = binding().pair(1);
    const broken = new ControlChannel(a);
    const why = new Promise<Error | undefined>((resolve) => broken.onClose(resolve));
    binding().send(b, Buffer.from('{nonsense'), []);
    assert.ok((await why) instanceof SyntaxError);
    closeFd(b);
  });

  it('tell who is at the other end', () => {
    const [a, b] = binding().pair(0);
    assert.deepEqual(peerCred(a), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
    const file = openSync('/dev/null', 'r');
    assert.throws(() => peerCred(file), /peerCred/);
    for (const fd of [a, b, file]) closeFd(fd);
  });
});

describe('the openshelld client', () => {
  it('matches replies to requests in any order and passes errors with their code', async () => {
    const { service, daemon } = both();
    const client = new OpenshelldClient(service, 'gateway', 1, () => undefined);
    const asked: ToOpenshelld[] = [];
    daemon.onMessage((message) => {
      asked.push(message);
      if (asked.length < 3) return;
      daemon.send({ t: 'reply', id: 2, ok: false, error: 'no such sandbox is running', code: 'no-sandbox' });
      daemon.send({ t: 'reply', id: 1, ok: true, result: [] });
      daemon.send({ t: 'reply', id: 99, ok: true, result: 'nobody asked' });
    });
    const first = client.workspaces();
    const second = client.destroy('x');
    await assert.rejects(second, { name: 'OpenshelldError', code: 'no-sandbox' });
    assert.deepEqual(await first, []);
    assert.deepEqual(asked, [{ t: 'hello', role: 'gateway', pid: 1 }, { t: 'workspaces', id: 1 }, { t: 'destroy', id: 2, sandbox: 'x' }].map((m) => (m.t === 'destroy' ? { ...m, t: 'sandbox.destroy' } : m)));
    service.close();
    daemon.close();
  });

  it('says hello again after a reset, and fails what was under way', async () => {
    const { service, daemon } = both();
    const news: string[] = [];
    const client = new OpenshelldClient(service, 'ledger', 7, (message) => news.push(message.t));
    const hellos: number[] = [];
    const twice = new Promise<void>((resolve) => daemon.onMessage((message) => {
      if (message.t === 'hello' && hellos.push(message.pid) === 2) resolve();
      if (message.t === 'sign') daemon.send({ t: 'reset' });
    }));
    await assert.rejects(client.sign(1, 'aa', 'commit'), { code: 'reset' });
    await twice;
    assert.deepEqual(news, ['reset']);
    daemon.onMessage((message) => {
      if (message.t === 'sign') daemon.send({ t: 'signed', id: message.id, count: message.count, head: message.head, signature: 'ff' });
    });
    const closed = client.destroy('x');
    daemon.close();
    await assert.rejects(closed, { code: 'closed' });
    service.close();
  });
});
