/** `process.exec.allow` on the real kernel: what is not named does not run, by no way that a native program has; what is named works. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { loadSandboxPolicy, type LedgerEvent } from '@nemoclaw/contract';
import { explain } from './explain.ts';
import { trial, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';
import { createSandbox } from './sandbox.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const trials: Trial[] = [];
function sandbox(allow: string, more = ''): Trial {
  const made = trial(`isolation: { filesystem: workspace, syscalls: standard }, process: { exec: { allow: [${allow}] } }${more}`);
  trials.push(made);
  return made;
}
before(() => buildNative('openshell-launch'));
after(() => trials.forEach((t) => t.remove()));

const loader = '/lib64/ld-linux-x86-64.so.2';

test('only named programs run: not others, not copies, not by the loader, not from memory', root, async () => {
  const t = sandbox('/usr/bin/dash, /usr/bin/cat, /usr/bin/cp, /usr/bin/perl, /usr/bin/ln');
  copyFileSync('/usr/bin/id', `${t.workspace}/brought`);
  chmodSync(`${t.workspace}/brought`, 0o755);
  writeFileSync(`${t.workspace}/script`, '#!/usr/bin/id\n');
  chmodSync(`${t.workspace}/script`, 0o755);
  // memfd_create (319), then the loader on it, and execveat (322) of the descriptor itself
  writeFileSync(`${t.workspace}/memory.pl`, `my $n = "x"; my $fd = syscall(319, $n, 0); if ($fd < 0) { print "no memory file\\n"; exit } open my $in, '<', '/usr/bin/id'; binmode $in; local $/; my $data = <$in>; syscall(1, $fd, $data, length $data); exec '${loader}', "/proc/self/fd/$fd";\n`);
  const tries: readonly (readonly [string, string])[] = [
    ['by name', '/usr/bin/id'],
    ['by another name of its folder', '/bin/id'],
    ['by the loader', `${loader} /usr/bin/id`],
    ['by the loader under its real name', '/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 /usr/bin/id'],
    ['by the loader, as a library before an allowed one', `LD_PRELOAD=/usr/bin/id /usr/bin/cat /dev/null`],
    ['a copy', 'cp /usr/bin/id mine; ./mine'],
    ['a copy, by the loader', `cp /usr/bin/id mine2; ${loader} ./mine2`],
    ['a copy in /tmp, by the loader', `cp /usr/bin/id /tmp/mine; /tmp/mine; ${loader} /tmp/mine`],
    ['a copy in /dev/shm, by the loader', `cp /usr/bin/id /dev/shm/mine; /dev/shm/mine; ${loader} /dev/shm/mine`],
    ['what lay in the workspace', `./brought; ${loader} ./brought`],
    ['by a script whose interpreter is not named', './script'],
    ['by a link with the name of an allowed one', 'ln -s /usr/bin/id cat; ./cat'],
    ['by a descriptor', `exec 7< /usr/bin/id; ${loader} /proc/self/fd/7; /proc/self/fd/7`],
    ['by its own file in /proc', 'cp /usr/bin/id /tmp/x; exec 7< /tmp/x; /proc/self/fd/7'],
    ['from memory', 'perl memory.pl'],
    ['by exec of perl', 'perl -e \'exec "/usr/bin/id"\''],
  ];
  for (const [what, script] of tries) {
    const result = await t.run(['/usr/bin/dash', '-c', script]);
    assert.doesNotMatch(result.stdout, /uid=/, what);
  }
  const fine = await t.run(['/usr/bin/dash', '-c', 'cat /etc/hostname; perl -e \'use List::Util; print "perl\\n"\'; /bin/cat /etc/hostname']);
  assert.equal(fine.stdout, 'sandbox\nperl\nsandbox\n', fine.stderr);
});

test('an allowed link, script or alternative starts, with its interpreter and its libraries', root, async () => {
  const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : '';
  const t = sandbox(`/bin/sh, /usr/bin/awk, /opt/node/bin/node, /usr/bin/ldd${python === '' ? '' : `, ${python}`}`);
  const result = await t.run(['/bin/sh', '-c', `awk 'BEGIN { print "awk" }'; node -e 'console.log("node")'; ${python === '' ? 'echo python' : `python3 -c 'import ssl, ctypes; print("python")'`}; id; /usr/bin/env true || echo none`]);
  assert.equal(result.stdout, 'awk\nnode\npython\nnone\n', result.stderr);
  // ldd is a script for bash: its interpreter comes with it
  const script = await t.run(['/usr/bin/ldd', '/nothing']);
  assert.match(script.stdout + script.stderr, /ldd: \/nothing: No such file/);
});

test('a folder of the workspace may be named: there programs start, beside it not', root, async () => {
  const t = sandbox('/usr/bin/dash, /usr/bin/cp, /workspace/bin/**');
  mkdirSync(`${t.workspace}/bin`);
  copyFileSync('/usr/bin/id', `${t.workspace}/bin/mine`);
  copyFileSync('/usr/bin/id', `${t.workspace}/other`);
  for (const name of ['bin/mine', 'other']) chmodSync(`${t.workspace}/${name}`, 0o755);
  const result = await t.run(['/usr/bin/dash', '-c', `bin/mine > seen; ./other; ${loader} ./other; mv bin b; cp other bin/new && bin/new`]);
  assert.match(result.stdout, /^uid=\d+[^\n]*\n$/, result.stderr);
});

test('a denied program stays denied inside an allowed folder', root, async () => {
  const t = sandbox('/usr/bin/**', ', filesystem: { deny: [/usr/bin/id] }');
  const result = await t.run(['/usr/bin/dash', '-c', `id; ${loader} /usr/bin/id; uname; git --version`]);
  assert.match(result.stdout, /^Linux\ngit version/, result.stderr);
});

test('what cannot be started is said: a missing program, an interpreter out of sight, a place without programs', () => {
  const t = sandbox('/usr/bin/dash, /usr/bin/no-such-program');
  assert.match(t.plan.notes.join('\n'), /no-such-program is not on this host/);
  assert.throws(() => sandbox('/etc/init.d/x'), { code: 'NEMO_E_PLAN_PATH' });
});

test('the record names the layer and the rule that explain names', root, async () => {
  const policy = loadSandboxPolicy("apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: programs }\nspec: { isolation: { syscalls: standard }, process: { exec: { allow: [/usr/bin/dash, /usr/bin/cp, /usr/bin/chmod] } } }\n", 'p.yaml');
  await using sandbox = await createSandbox(policy);
  const events: LedgerEvent[] = [];
  const reading = (async () => {
    for await (const event of sandbox.events()) events.push(event);
  })();
  const paths = ['/usr/bin/id', '/tmp/copy', '/dev/shm/copy'];
  const { stderr } = await (await sandbox.exec(['/usr/bin/dash', '-c', `for copy in /tmp/copy /dev/shm/copy; do cp /usr/bin/id $copy; chmod 755 $copy; done; for one in ${paths.join(' ')}; do $one; done`])).output();
  assert.equal(stderr.match(/Permission denied/g)?.length, paths.length, stderr);
  await sandbox.destroy();
  await reading;
  for (const path of paths) {
    const said = explain(policy, 'B', { op: 'exec', path });
    const told = events.find((event) => event.data?.['syscall'] === 'execve' && event.data['path'] === path);
    assert.deepEqual([told?.layer, told?.verdict, said.layer, said.errno], ['mounts', 'deny', 'mounts', 'EACCES'], path);
    const rule = told?.data?.['rule'];
    if (said.rule !== 'view') assert.equal(typeof rule === 'object' && rule !== null && 'id' in rule ? rule.id : '', said.rule, path);
  }
});
