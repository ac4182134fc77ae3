/** What goes wrong while an answer is passed on ends that answer, whole or not at all: it is not left waiting. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dispatcher } from 'undici';
import type { Core } from '../core.ts';
import { Relay } from './relay.ts';
import type { Wire } from './wire.ts';

test('an answer whose bytes cannot be written when they come back from elsewhere is given up, upstream too', async () => {
  const told: string[] = [];
  const wire = { gone: false, head: () => undefined, write: () => { throw new Error('no room'); }, end: () => told.push('end') } as unknown as Wire;
  const core = { stalled: { full: false }, pace: { measure: (work: () => void) => work(), rests: false } } as unknown as Core;
  const over = new Promise<void>((done) => {
    const controller = { rawHeaders: [], pause: () => undefined, resume: done, abort: (error: Error) => told.push(`abort: ${error.message}`) } as unknown as Dispatcher.DispatchController;
    const elsewhere = { next: (chunk: Buffer) => Promise.resolve(chunk), end: () => Buffer.alloc(0) };
    const relay = new Relay(wire, [], () => [], () => [elsewhere], { data: () => undefined, ended: () => told.push('ended'), failed: (error) => told.push(`failed: ${error.message}`) }, core);
    relay.onResponseStart(controller, 200);
    relay.onResponseData(controller, Buffer.from('x'));
    relay.onResponseData(controller, Buffer.from('behind it'));
    relay.onResponseEnd(controller);
  });
  await over;
  assert.deepEqual(told, ['failed: no room', 'abort: no room']);
});
