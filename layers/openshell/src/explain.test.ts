/** What `explain` says is what the kernel does, for generated policies and operations in real sandboxes. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { loadSandboxPolicy, type SandboxPolicy } from '@nemoclaw/contract';
import { explain, type ExplainOp, type ExplainQuery } from './explain.ts';
import { trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
before(() => buildNative('openshell-launch'));

const folders = ['/workspace', '/workspace/a', '/workspace/a/b', '/workspace/a/b/c', '/workspace/d', '/workspace/d/e'] as const;
const load = (spec: string): SandboxPolicy => loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec: { ${spec} }\n`, 't.yaml');

/** Run inside by perl (it calls what it says; truncate by its number, since perl would open): one operation a line, `op path toPath`; prints each one's errno name, or - for success. */
const runner = String.raw`
use Fcntl; use Errno;
my %run = (read => sub { sysopen(my $f, $_[0], O_RDONLY) }, write => sub { sysopen(my $f, $_[0], O_WRONLY) }, create => sub { sysopen(my $f, $_[0], O_WRONLY|O_CREAT|O_EXCL, 0644) }, mkdir => sub { mkdir $_[0] },
  delete => sub { lstat($_[0]) && -d _ ? rmdir $_[0] : unlink $_[0] }, rename => sub { rename $_[0], $_[1] }, link => sub { link $_[0], $_[1] }, truncate => sub { my $p = $_[0]; syscall(76, $p, 0) == 0 }, chmod => sub { chmod 0700, $_[0] },
  exec => sub { my $pid = fork; if ($pid == 0) { { no warnings; exec { $_[0] } $_[0]; } exit $! + 0 } waitpid $pid, 0; $! = $? >> 8; $? == 0 });
while (<STDIN>) {
  chomp; my ($op, $path, $to) = split / /;
  if ($path =~ m{^/tmp/} && $op ne 'create' && $op ne 'mkdir') { open my $f, '>', $path; print $f "#!/usr/bin/perl\n"; close $f; chmod 0755, $path; }
  if ($run{$op}->($path, $to)) { print "-\n"; next }
  my ($name) = grep { $!{$_} } keys %!; print "$name\n";
}
`;

async function compare(spec: string, queries: readonly ExplainQuery[]): Promise<void> {
  const policy = load(spec);
  const t = trial(spec);
  try {
    for (const folder of folders) mkdirSync(t.workspace + folder.slice('/workspace'.length), { recursive: true });
    for (const { op, path } of queries) {
      if (!path.startsWith('/workspace/') || op === 'create' || op === 'mkdir' || (folders as readonly string[]).includes(path)) continue;
      const file = t.workspace + path.slice('/workspace'.length);
      writeFileSync(file, '#!/usr/bin/perl\nexit 0\n');
      chmodSync(file, 0o755);
    }
    const result = await t.run(['/usr/bin/perl', '-e', runner], queries.map((q) => `${q.op} ${q.path} ${q.toPath ?? '-'}\n`).join(''));
    assert.equal(result.code, 0, `${spec}\n${result.stderr}`);
    const seen = result.stdout.trim().split('\n');
    queries.forEach((query, i) => assert.equal(seen[i], explain(policy, 'B', query).errno ?? '-', `${spec}\n${JSON.stringify(query)}\n${JSON.stringify(explain(policy, 'B', query))}`));
  } finally {
    t.remove();
  }
}

const ruled = fc.tuple(fc.constantFrom(...folders.slice(1)), fc.constantFrom('readOnly', 'readWrite', 'deny'));
const programs = ['', ', process: { exec: { allow: [/usr/bin/perl, /usr/bin/true, /workspace/a/b/**] } }', ', process: { exec: { allow: [/usr/bin/**] } }'];
const specs = fc.record({ exec: fc.constantFrom(...programs), level: fc.constantFrom('read-only', 'workspace'), rules: fc.uniqueArray(ruled, { maxLength: 4, selector: ([path]) => path }), noLink: fc.boolean() }).map(({ exec, level, rules, noLink }) => {
  const list = (field: string): string => `${field}: [${rules.filter(([, f]) => f === field).map(([p]) => `${p}/**`).join(', ')}]`;
  return `isolation: { network: none, filesystem: ${level}, syscalls: standard }, filesystem: { ${list('readOnly')}, ${list('readWrite')}, ${list('deny')} }${noLink ? ', syscalls: { deny: [link, linkat] }' : ''}${exec}`;
});
const fixed = ['/usr/bin/true', '/usr/share', '/etc/hostname', '/srv/x', '/bin/true', '/newname', '/home/x', '/dev/shm/x'];
const place = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...folders) }, { weight: 1, arbitrary: fc.constant('/tmp') });
const one = fc.tuple(fc.constantFrom<ExplainOp>('read', 'write', 'create', 'mkdir', 'delete', 'truncate', 'chmod', 'exec'), place);
const two = fc.tuple(fc.constantFrom<ExplainOp>('rename', 'link'), place, place);

/** Every operation gets a name of its own, so that none depends on another. */
function queriesOf(seed: number): ExplainQuery[] {
  const ones = fc.sample(one, { seed, numRuns: 40 }).map(([op, folder], i): ExplainQuery => ({ op, path: `${folder}/f${i}` }));
  const twos = fc.sample(two, { seed, numRuns: 25 }).map(([op, from, to], i): ExplainQuery => ({ op, path: `${from}/s${i}`, toPath: `${to}/t${i}` }));
  return [...ones, ...twos];
}
/** The roots of rules themselves, where nothing may come of it. */
function onRoots(policy: SandboxPolicy): ExplainQuery[] {
  return folders.slice(1).flatMap((path): ExplainQuery[] => [
    { op: 'delete', path }, { op: 'rename', path, toPath: '/workspace/moved' }, { op: 'rename', path, toPath: '/tmp/moved' }, { op: 'create', path }, { op: 'mkdir', path },
  ]).filter((query) => (query.op !== 'create' && query.op !== 'mkdir' ? explain(policy, 'B', query).verdict === 'deny' : explain(policy, 'B', query).errno === 'EEXIST'));
}
const elsewhere: ExplainQuery[] = fixed.flatMap((path): ExplainQuery[] => {
  const there = ['/usr/bin/true', '/bin/true', '/etc/hostname'].includes(path);
  const ops: ExplainOp[] = there ? ['read', 'write', 'delete', 'chmod', 'truncate', 'exec'] : path === '/usr/share' ? [] : path === '/srv/x' ? ['read', 'write', 'create', 'mkdir', 'delete', 'chmod', 'exec'] : ['create'];
  return ops.map((op) => ({ op, path }));
});

test('generated policies: errno for errno what the kernel does (tier B)', { ...root, timeout: 120_000 }, async () => {
  const seed = 20261122;
  let compared = 0;
  for (const [i, spec] of fc.sample(specs, { seed, numRuns: 25 }).entries()) {
    const queries = [...queriesOf(seed + i), ...onRoots(load(spec)), ...elsewhere];
    await compare(spec, queries);
    compared += queries.length;
  }
  assert.ok(compared > 1500, String(compared));
});

test('a denial beats everything at any depth, a question beats a grant, the nearest grant counts', () => {
  const policy = load('isolation: { filesystem: workspace }, filesystem: { deny: [/workspace/a/**], readWrite: [/workspace/a/b, /workspace/d/e], readOnly: [/workspace/d], escalate: [{ path: /workspace/d/**, on: [delete, create] }, { path: /workspace/a/**, on: [read] }] }');
  const verdict = (query: ExplainQuery, tier: 'A' | 'B' | 'C' = 'B'): string => `${explain(policy, tier, query).verdict} ${explain(policy, tier, query).rule}`;
  assert.equal(verdict({ op: 'read', path: '/workspace/a/b/x' }), 'deny filesystem.deny[0]');
  assert.equal(verdict({ op: 'delete', path: '/workspace/d/e/x' }), 'escalate filesystem.escalate[0]');
  assert.equal(verdict({ op: 'rename', path: '/workspace/d/e/x', toPath: '/workspace/x' }), 'escalate filesystem.escalate[0]');
  assert.equal(verdict({ op: 'write', path: '/workspace/d/e/x' }), 'allow filesystem.readWrite[1]');
  assert.equal(verdict({ op: 'write', path: '/workspace/d/x' }), 'deny filesystem.readOnly[0]');
  assert.equal(verdict({ op: 'write', path: '/workspace/x' }), 'allow isolation.filesystem: workspace');
  const exec = load('isolation: {}, process: { exec: { escalate: [/usr/bin/ssh] } }');
  assert.equal(explain(exec, 'B', { op: 'exec', path: '/bin/ssh' }).verdict, 'escalate');
  assert.equal(explain(exec, 'A', { op: 'exec', path: '/bin/ssh' }).layer, 'lsm');
  assert.equal(explain(exec, 'C', { op: 'exec', path: '/bin/ssh' }).verdict, 'deny');
});
