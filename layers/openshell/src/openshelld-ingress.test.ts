/** Connections into a sandbox on the real kernel: made in its network namespace, for the worker that serves it and for nobody else. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';

const spec = 'isolation: { network: restricted, filesystem: read-only, syscalls: standard }';
const listener = `
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()
c, _ = s.accept(); c.sendall(b'heard ' + c.makefile('rb').read()); c.close()`;

describe('connections into a sandbox', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let workers: TestService[];
  before(async () => {
    instance = await TestInstance.start({ workers: 2 });
    gateway = await instance.service('gateway');
    workers = [await instance.service('worker:1'), await instance.service('worker:2')];
    for (const [name, worker] of [['one', 'worker:1'], ['two', 'worker:2']] as const) await gateway.call('create', name, instance.plan(spec), (await instance.workspace(name)).id, worker);
    await workers[0]?.saw('attach', (m) => m.sandbox === 'one');
    await workers[1]?.saw('attach', (m) => m.sandbox === 'two');
  });
  after(async () => {
    await instance?.stop();
  });
  const into = (service: TestService | undefined, sandbox: string, port: number): Promise<unknown> => service?.order({ op: 'into', sandbox, port, text: 'hello' }) ?? assert.fail();

  /** The listener of the agent takes a moment to come up. */
  async function patiently(service: TestService | undefined, sandbox: string, port: number): Promise<unknown> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await into(service, sandbox, port);
      } catch (error) {
        if ((error as { code?: string }).code !== 'refused' || tries > 400) throw error;
        await sleep(50);
      }
    }
  }

  it('reach what listens on its loopback, also when openshelld was restarted', async () => {
    for (const round of [1, 2]) {
      const run = gateway.run('one', `listen${round}`, ['/usr/bin/python3', '-c', listener, '8080']);
      assert.equal(await patiently(workers[0], 'one', 8080), 'heard hello');
      assert.equal((await run).code, 0);
      if (round === 1) {
        await instance.killDaemon();
        await workers[0]?.saw('reset');
        await gateway.call('host');
      }
    }
  });

  it('do not reach what listens elsewhere on the same port: the host, another sandbox', async () => {
    const server = createServer((socket) => socket.end('the host'));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    try {
      await assert.rejects(into(workers[0], 'one', port), { code: 'refused' });
      const run = gateway.run('two', 'listen', ['/usr/bin/python3', '-c', listener, String(port)]);
      assert.equal(await patiently(workers[1], 'two', port), 'heard hello');
      await run;
      await assert.rejects(into(workers[0], 'one', port), { code: 'refused' });
    } finally {
      server.close();
    }
  });

  it('are for the worker that has the sandbox: another worker and another role are refused', async () => {
    await assert.rejects(into(workers[1], 'one', 8080), { code: 'no-sandbox' });
    await assert.rejects(into(workers[0], 'none', 8080), { code: 'no-sandbox' });
    await assert.rejects(into(gateway, 'one', 8080), { code: 'refused', message: /a gateway may not ask/ });
    for (const port of [0, -1, 65_536, 1.5]) await assert.rejects(into(workers[0], 'one', port), { code: 'protocol' });
  });
});
