/** The guest is what the other tests here take it for. */
import assert from 'node:assert/strict';
import { readFileSync, statfsSync } from 'node:fs';
import { test } from 'node:test';

test('the guest has BPF LSM, Landlock, and cgroup v2 with its controllers', () => {
  assert.equal(process.env['NEMOCLAW_GUEST'], '1', 'this suite is for the guest: npm run guest');
  const modules = readFileSync('/sys/kernel/security/lsm', 'utf8').trim().split(',');
  for (const name of ['bpf', 'landlock', 'lockdown', 'yama']) assert.ok(modules.includes(name), `${name} in ${modules.join()}`);
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.subtree_control', 'utf8').trim().split(' ');
  assert.deepEqual(['memory', 'cpu', 'pids'].filter((name) => !controllers.includes(name)), []);
  assert.equal(statfsSync('/sys/fs/bpf').type, 0xcafe4a11);
});
