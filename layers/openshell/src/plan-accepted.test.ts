/** Any policy that loads gives a plan that the native part accepts and can start a program in, or one NemoError; never anything else. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { filesystemLevels, NemoError, networkLevels, syscallLevels } from '@nemoclaw/contract';
import { trial, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
before(() => buildNative('openshell-launch'));

const path = fc.constantFrom('/usr', '/usr/bin/**', '/bin', '/lib64', '/etc', '/opt/x', '/srv/data/**', '/data', '/tmp', '/tmp/a/b', '/home', '/home/agent/x', '/var/tmp/x', '/dev/shm/y', '/run/z', '/workspace', '/workspace/a', '/workspace/a/b/**', '/workspace/a/b/c', '/workspace/d');
const paths = fc.array(path, { maxLength: 3 });
const program = fc.constantFrom('/usr/bin/true', '/bin/sh', '/usr/bin/**', '/usr/bin/awk', '/workspace/a/**', '/tmp/bin', '/nothing/here', '/opt/node/bin/**');
const call = fc.constantFrom('ptrace', 'link', 'mount', 'personality', 'mbind', 'execve', 'nonsense', 'memfd_create', 'symlink');
const op = fc.constantFrom('delete', 'rename', 'write', 'create', 'read');
const spec = fc
  .record({
    isolation: fc.record({ network: fc.constantFrom(...networkLevels), filesystem: fc.constantFrom(...filesystemLevels), syscalls: fc.constantFrom(...syscallLevels) }),
    filesystem: fc.record({ readOnly: paths, readWrite: paths, deny: fc.array(path, { maxLength: 1 }), escalate: fc.array(fc.record({ path, on: fc.uniqueArray(op, { minLength: 1, maxLength: 2 }) }), { maxLength: 1 }) }),
    process: fc.record({ exec: fc.record({ allow: fc.array(program, { maxLength: 2 }) }), user: fc.integer({ min: 1, max: 65_533 }) }, { requiredKeys: ['exec'] }),
    syscalls: fc.record({ allow: fc.array(call, { maxLength: 1 }), deny: fc.array(call, { maxLength: 1 }) }),
    resources: fc.record({ maxPids: fc.integer({ min: 16, max: 300 }), maxOpenFiles: fc.integer({ min: 64, max: 5000 }), timeout: fc.constantFrom('30s', '1h'), maxMemory: fc.constantFrom('256Mi', '2Gi') }, { requiredKeys: [] }),
  })
  .map((one) => JSON.stringify(one).slice(1, -1));

/** What may end a launch: the agent could make a denied name, or a rule hides what every program needs. Said in words, before anything ran. */
const reasons = /placeholder for|denied|cannot be started|Permission denied|Not a directory|No such file|Is a directory|no program/i;

test('generated policies: a plan that is carried out, or a reason', { ...root, timeout: 120_000 }, async () => {
  let started = 0, refused = 0;
  for (const text of fc.sample(spec, { seed: 20261122, numRuns: 60 })) {
    let t: Trial;
    try {
      t = trial(text);
    } catch (error) {
      assert.ok(error instanceof NemoError, `${String(error)}\n${text}`);
      refused++;
      continue;
    }
    try {
      for (const folder of ['a/b/c', 'd']) mkdirSync(`${t.workspace}/${folder}`, { recursive: true });
      const result = await t.run(['/bin/true']);
      assert.doesNotMatch(result.stderr, /malformed|plan:|outside the host's bounds|unknown step/, text);
      if (result.code === 0) started++;
      else assert.match(result.stderr, reasons, `${text}\n${result.code}`);
    } finally {
      t.remove();
    }
  }
  assert.ok(started >= 12, `${started} started, ${refused} refused`);
});
