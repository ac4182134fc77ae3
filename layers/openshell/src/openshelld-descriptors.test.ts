/** openshelld's open files: as many sandboxes as there is room for, whatever rules they have; one too many is refused, and nothing else is. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';
import { oneInstance } from './openshelld-test-layer.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
/** DESCRIPTORS_A_SANDBOX and DESCRIPTORS_SET_ASIDE of openshelld_descriptors.h. */
const each = 96;
const aside = 256;
const folders = Array.from({ length: 8 }, (_, n) => `place-${n}`);
const spec = `isolation: { network: restricted, filesystem: workspace }, filesystem: { escalate: [${folders.map((name) => `{ path: /workspace/${name}/**, on: [delete, rename, write, create, read, exec, connect] }`).join(', ')}] }, process: { exec: { escalate: [/usr/bin/ssh] } }`;

describe('the open files of openshelld', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });

  const open = (): number => readdirSync(`/proc/${instance.daemonPid}/fd`).length;
  const limit = (): number => Number(/^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${instance.daemonPid}/limits`, 'utf8'))?.[1]);
  const create = async (name: string): Promise<void> => {
    const folder = await instance.workspace(name);
    for (const place of folders) mkdirSync(join(folder.path, place), { recursive: true });
    await gateway.call('create', name, instance.plan(spec), folder.id, 'worker:1');
  };
  const works = async (name: string, id: string): Promise<void> => assert.equal((await gateway.run(name, id, ['/bin/sh', '-c', 'cd /workspace; for i in 1 2 3 4 5 6 7 8; do mkdir -p d$i/e; : >d$i/e/f; rm d$i/e/f; done; echo done'])).stdout, 'done\n');

  it('suffice for as many sandboxes as a host allows, each with rules of every kind at work', async () => {
    const before = open();
    await create('one');
    const idle = open() - before;
    assert.ok(idle <= each, `one sandbox takes ${idle}`);
    await works('one', 'one-a');
    // What the host gives is not ours to say: where it gives less, fewer sandboxes are made, which the next test shows.
    assert.ok(limit() >= Math.min(512 * each + aside, hardLimit()), String(limit()));
    await gateway.call('destroy', 'one');
  });

  it('refuse the sandbox for which there is no room, and nothing else; with one gone there is room again', async () => {
    await create('first');
    const lowered = open() + each + aside + 8;
    execFileSync('prlimit', ['--pid', String(instance.daemonPid), `--nofile=${lowered}:`]);
    await create('second');
    await assert.rejects(create('third'), { code: 'full', message: /may have \d+ \(RLIMIT_NOFILE\)/ });
    for (const name of ['first', 'second']) await works(name, `${name}-a`);
    assert.equal((await gateway.run('first', 'first-tty', ['/bin/echo', 'x'], '', { rows: 24, cols: 80 })).code, 0);
    assert.ok(open() <= lowered);
    await gateway.call('destroy', 'first');
    await create('third');
    for (const name of ['second', 'third']) await works(name, `${name}-b`);
    for (const name of ['second', 'third']) await gateway.call('destroy', name);
    assert.ok(statSync(`/proc/${instance.daemonPid}`).isDirectory());
  });
});

/** Of this process, which the instance has inherited. */
function hardLimit(): number {
  const text = /^Max open files\s+\d+\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '';
  return text === 'unlimited' ? Infinity : Number(text);
}
