import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSandboxPolicy, type LaunchPlan, type ViewStep } from '@nemoclaw/contract';
import type { HostFacts } from './host-facts.ts';
import { rights } from './landlock-rights.ts';
import { planFor, type PlanOptions } from './plan-for.ts';
import { between, outermost } from './plan-paths.ts';

const host: HostFacts = { bindRoots: ['/usr', '/opt', '/srv/models'], nodeFolder: '/opt/node24/bin', usrLinks: ['bin', 'lib'], timeZone: 'Etc/UTC' };

function plan(spec: string, options: Partial<PlanOptions> = {}): LaunchPlan {
  const text = `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec: { ${spec} }\n`;
  return planFor(loadSandboxPolicy(text, 't.yaml'), host, { hasWorkspace: true, ...options });
}
const steps = <K extends ViewStep['do']>(p: LaunchPlan, what: K): Extract<ViewStep, { do: K }>[] => p.view.filter((s): s is Extract<ViewStep, { do: K }> => s.do === what);
const rightsAt = (p: LaunchPlan, path: string): number => p.landlock.rules.filter((r) => r.path === path).reduce((all, r) => all | r.rights, 0);
const changes = rights.write(false);

test('read-only: the workspace is mounted read-only and Landlock grants no change to it', () => {
  const p = plan('isolation: { filesystem: read-only }');
  assert.deepEqual(steps(p, 'workspace'), [{ do: 'workspace', path: '/workspace', readOnly: true, exec: true }]);
  assert.equal(rightsAt(p, '/workspace') & changes, rights.read);
  assert.equal(rightsAt(p, '/tmp') & changes, changes);
});

test('read-only with a writable part: only that part is thawed', () => {
  const p = plan('isolation: { filesystem: read-only }, filesystem: { readWrite: [/workspace/a/out/**, /tmp] }');
  assert.equal(steps(p, 'workspace')[0]?.readOnly, true);
  assert.deepEqual(p.view.filter((s) => s.do === 'pin' || s.do === 'thaw'), [{ do: 'pin', path: '/workspace/a' }, { do: 'thaw', path: '/workspace/a/out' }]);
  assert.equal(rightsAt(p, '/workspace/a/out') & changes, changes);
  assert.equal(rightsAt(p, '/workspace') & changes, rights.read);
});

test('a denied folder is masked after its parents are pinned, and made where it is missing', () => {
  const p = plan('isolation: { filesystem: workspace }, filesystem: { deny: [/workspace/a/b/keys/**, /workspace/.env, /usr/share/doc/**] }');
  const special = p.view.filter((s) => s.do === 'pin' || (s.do === 'mask' && !s.path.startsWith('/proc')));
  assert.deepEqual(special, [
    { do: 'mask', path: '/usr/share/doc', missing: 'skip' },
    { do: 'mask', path: '/workspace/.env', missing: 'create-file' },
    { do: 'pin', path: '/workspace/a' },
    { do: 'pin', path: '/workspace/a/b' },
    { do: 'mask', path: '/workspace/a/b/keys', missing: 'create-dir' },
  ]);
});

test('where a person decides on deletions, Landlock grants none anywhere and the calls go to the shim', () => {
  const spec = 'isolation: { filesystem: workspace }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete, rename] }] }';
  const p = plan(spec);
  assert.deepEqual(p.escalate, [{ path: '/workspace/prod', on: ['delete', 'rename'] }]);
  const removal = changes & ~rights.write(true);
  assert.notEqual(removal, 0);
  for (const rule of p.landlock.rules) assert.equal(rule.rights & removal, 0, rule.path);
  assert.notEqual(p.seccomp.filter, plan('isolation: { filesystem: workspace }').seccomp.filter);
  const alone = plan(spec, { escalations: 'refuse' });
  assert.deepEqual(alone.escalate, []);
  assert.deepEqual(steps(alone, 'freeze'), [{ do: 'freeze', path: '/workspace/prod', missing: 'create-dir' }]);
  assert.match(alone.notes.join(), /nobody can be asked/);
});

test('what is not of this host becomes private or absent, with a note, never more', () => {
  const p = plan('isolation: { filesystem: workspace }, filesystem: { readOnly: [/srv/models/**, /var/log, /usr], readWrite: [/data/**, /workspace] }');
  assert.ok(steps(p, 'bind').some((s) => s.path === '/srv/models' && s.source === '/srv/models'));
  assert.ok(!p.view.some((s) => 'source' in s && s.source.startsWith('/data')));
  assert.ok(steps(p, 'tmpfs').some((s) => s.path === '/data'));
  assert.equal(p.notes.length, 1, p.notes.join('\n')); // /var/log is in the view's own /var
  assert.throws(() => plan('isolation: { filesystem: workspace }, filesystem: { readWrite: [/etc] }'), { code: 'NEMO_E_PLAN_PATH' });
  assert.match(plan('isolation: {}, filesystem: { readOnly: [/mnt/share] }').notes.join(), /not shown/);
});

test('a folder below /opt is shown where the policy names it, and never in the place of an agent or of node', () => {
  const p = plan('isolation: { filesystem: workspace }, filesystem: { readOnly: [/opt/models/**, /opt/pi/lib, /opt/node, /opt/tools/one] }', { agents: [{ name: 'pi', source: '/opt/agents/pi' }] });
  assert.deepEqual(steps(p, 'bind').filter(({ path }) => path.startsWith('/opt')).map(({ path, source }) => [path, source]), [['/opt/node/bin', '/opt/node24/bin'], ['/opt/pi', '/opt/agents/pi'], ['/opt/models', '/opt/models'], ['/opt/tools/one', '/opt/tools/one']]);
  assert.deepEqual(steps(plan('isolation: {}, filesystem: { readOnly: [/opt] }'), 'bind').filter(({ path }) => path === '/opt'), []);
});

test('no bind step names anything outside the bind roots and the synthesised etc', () => {
  const p = plan('isolation: { filesystem: workspace }', { agents: [{ name: 'pi', source: '/opt/agents/pi' }], certificates: '-----BEGIN CERTIFICATE-----\n' });
  const allowed = ['/usr', '/opt', '/etc/ld.so.cache', '/etc/alternatives', '/etc/ssl'];
  for (const s of p.view) if ('source' in s) assert.ok(allowed.some((root) => s.source === root || s.source.startsWith(`${root}/`)), s.source);
  for (const name of ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'PIP_CERT', 'CARGO_HTTP_CAINFO', 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH']) assert.ok(p.env.includes(`${name}=/etc/ssl/certs/ca-certificates.crt`), name);
  assert.match(p.env[0] ?? '', /^PATH=\/opt\/pi\/bin:\/opt\/node\/bin:/);
});

test('network none: no capture, Landlock handles TCP and grants none', () => {
  const p = plan('isolation: { network: none }');
  assert.equal(p.network, 'none');
  assert.equal(p.landlock.handleTcp, true);
  assert.equal(plan('isolation: { network: restricted }').landlock.handleTcp, false);
});

test('exec rules: only the named programs and the loader, and nothing from where the agent writes', () => {
  const p = plan('isolation: { filesystem: workspace }, process: { exec: { allow: [/usr/bin/**] } }');
  assert.equal(rightsAt(p, '/usr/bin') & rights.execute, rights.execute);
  assert.equal(rightsAt(p, '/usr') & rights.execute, 0);
  assert.equal(rightsAt(p, '/workspace') & rights.execute, 0);
  assert.equal(steps(p, 'workspace')[0]?.exec, false);
  assert.ok(steps(p, 'tmpfs').every((s) => !s.exec));
});

test('limits and the number seen inside come from the policy', () => {
  const p = plan('isolation: {}, resources: { maxMemory: 4Gi, maxCPU: 2, maxPids: 77, maxOpenFiles: 99 }, process: { user: 10001 }');
  assert.deepEqual(p.limits, { openFiles: 99, pids: 77, memoryBytes: 4 * 2 ** 30, cpuMillis: 2000 });
  assert.equal(p.identity.seen, 10001);
  assert.equal(plan('isolation: {}').identity.seen, null);
});

test('paths', () => {
  assert.deepEqual(between('/workspace', '/workspace/a/b/c'), ['/workspace/a', '/workspace/a/b']);
  assert.deepEqual(between('', '/opt/x/y'), ['/opt', '/opt/x']);
  assert.deepEqual(outermost(['/a/b', '/a', '/ab', '/a/b/c']), ['/a', '/ab']);
});
