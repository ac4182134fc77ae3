/** A configuration is in force when the worker says so of this one, not of one before it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { encodeFrame, type SandboxConfig } from '@nemoclaw/contract';
import { Workers } from './workers.ts';

test('an answer that comes too late for its own configuration is not taken for the next of the same version', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [ours, worker] = duplexPair();
  let told = (): void => undefined;
  const nothing = async (): Promise<never> => Promise.reject(new Error('not asked'));
  const workers = new Workers({
    ownerOf: () => 'worker:1', hold: nothing, withdrawn: nothing, raise: nothing, consume: nothing, renew: nothing, rates: () => undefined,
    usage: () => told(), breach: (_worker, why) => assert.fail(why), up: () => undefined, down: () => undefined,
  });
  const config = { sandbox: 's', version: 1 } as SandboxConfig;
  const configured = (): void => void worker.write(encodeFrame({ t: 'configured', sandbox: 's', version: 1 }));
  workers.attach('worker:1', ours);
  worker.resume();
  try {
    const first = assert.rejects(workers.configure('worker:1', config), /did not answer in time/);
    t.mock.timers.tick(5000);
    await first;
    let inForce = false;
    const second = workers.configure('worker:1', config).then(() => void (inForce = true));
    configured();
    // What comes after it was read, so it was, too.
    const read = new Promise<void>((resolve) => (told = resolve));
    worker.write(encodeFrame({ t: 'usage', sandbox: 's', requests: 0, bytesOut: 0, tokens: 0 }));
    await read;
    await new Promise(setImmediate);
    assert.equal(inForce, false);
    configured();
    await second;
  } finally {
    const closed = once(worker, 'close');
    workers.close();
    worker.destroy();
    await closed;
  }
});
