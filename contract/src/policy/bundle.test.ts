/** Blueprint folders load whole with a digest; what is not enforced is said; lint finds rules that do less than they seem to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHost, lintBundle, loadBlueprintFolder, loadBundle, loadInference, loadNetworkPolicy, loadSandboxPolicy, NemoError, unenforced, type ErrorCode } from '../index.ts';

const files = new Map<string, string>([
  ['blueprint.yaml', 'apiVersion: nemoclaw.dev/v1\nkind: Blueprint\nname: b\nversion: 1.0.0\ndescription: d\nrole: support\nagent: { kind: shell }\nfiles: { sandbox: s.yaml, network: n.yaml, actions: a.yaml, approvals: p.yaml, inference: i.yaml }\npatience: { stream: 5m }\n'],
  ['s.yaml', 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: s }\nspec: { isolation: {}, permissions: { allowedAPIs: [crm.read, admin.reset], deniedAPIs: [admin.*] } }\n'],
  ['n.yaml', 'networkPolicy: { name: n, egress: { allow: [{ domain: x.org }] } }\n'],
  ['a.yaml', 'actions:\n  - { name: crm.read, match: [{ tool: crm_read }] }\n  - { name: crm.drop, match: [{ tool: crm_drop }] }\n  - { name: crm.wipe, match: [{ tool: crm_wipe }, { http: { host: x.org, method: DELETE } }] }\n'],
  ['p.yaml', 'triggers: [{ action: crm.read, threshold: always }]\n'],
  ['i.yaml', 'providers: [{ name: demo, kind: demo, endpoint: "http://127.0.0.1:1/v1", model: m, location: local }]\ndefault: demo\n'],
  ['workspace/README.md', 'hello\n'],
]);

function folder(changes: ReadonlyMap<string, string | undefined> = new Map()): ReturnType<typeof loadBlueprintFolder> {
  const all = new Map(files);
  for (const [name, text] of changes) {
    if (text === undefined) all.delete(name);
    else all.set(name, text);
  }
  const read = (path: string): string => {
    const text = all.get(path.replace('/dir/', ''));
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
  return loadBlueprintFolder('/dir', read, () => [...all.keys()]);
}
const refusal = (code: ErrorCode) => (error: unknown): boolean => error instanceof NemoError && error.code === code;

test('a folder loads whole; times are ms', () => {
  const bundle = folder();
  assert.equal(bundle.role, 'support');
  assert.deepEqual(bundle.blueprint.patience, { stream: 300_000, http: 25_000 });
  assert.equal(bundle.approvals?.triggers.length, 1);
  assert.equal(bundle.files.get('n.yaml'), files.get('n.yaml'));
});

test('the digest changes with any file and with none but that', () => {
  const digest = folder().digest;
  assert.match(digest, /^[0-9a-f]{64}$/);
  assert.equal(folder().digest, digest);
  assert.notEqual(folder(new Map([['workspace/README.md', 'hullo\n']])).digest, digest);
  assert.notEqual(folder(new Map([['workspace/other', '']])).digest, digest);
});

test('a missing file and scripted approvals for a real provider are refused', () => {
  assert.throws(() => folder(new Map([['n.yaml', undefined]])), refusal('NEMO_E_BLUEPRINT'));
  assert.throws(() => loadBundle(new Map([['blueprint.yaml', files.get('blueprint.yaml') ?? '']])), refusal('NEMO_E_BLUEPRINT'));
  const scripted = `${files.get('blueprint.yaml')}demo: { approvedRequests: [${'a'.repeat(64)}] }\n`;
  assert.equal(folder(new Map([['blueprint.yaml', scripted]])).blueprint.demo.approvedRequests.length, 1);
  const real = (files.get('i.yaml') ?? '').replace('kind: demo', 'kind: openai');
  assert.throws(() => folder(new Map([['blueprint.yaml', scripted], ['i.yaml', real]])), refusal('NEMO_E_DEMO_ANSWERS'));
});

const head = 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: s }\nspec:\n  isolation: {}\n';

test('a required tier that the host lacks is refused, also with best effort', () => {
  const policy = loadSandboxPolicy(`${head}  requires: [tier-a]\n  enforcement: best-effort\n`, 's.yaml');
  checkHost(policy, { tier: 'A' });
  for (const tier of ['B', 'C'] as const) {
    assert.throws(() => checkHost(policy, { tier }), (e: unknown) => e instanceof NemoError && e.code === 'NEMO_E_POLICY_NEEDS' && e.where?.line === 6 && e.where.column === 14);
  }
  const b = loadSandboxPolicy(`${head}  requires: [tier-b]\n`, 's.yaml');
  checkHost(b, { tier: 'B' });
  assert.throws(() => checkHost(b, { tier: 'C' }), refusal('NEMO_E_POLICY_NEEDS'));
});

const unprovided: readonly (readonly [string, RegExp])[] = [
  ['resources: { gpuAccess: full }', /gpuAccess/],
  ['resources: { maxDisk: 1Gi }\n  filesystem: { readWrite: [/workspace] }', /maxDisk/],
];
const host = { tier: 'B', limits: { memory: true, cpu: true, freezer: false } } as const;
for (const [line, words] of unprovided) {
  test(`${line} is an error unless best effort, and said in any case`, () => {
    const strict = loadSandboxPolicy(`${head}  ${line}\n`, 's.yaml');
    assert.match(unenforced(strict, host).join('\n'), words);
    assert.throws(() => checkHost(strict, host), (e: unknown) => e instanceof NemoError && e.code === 'NEMO_E_POLICY_NEEDS' && e.where?.line === 6 && words.test(e.message));
    const lenient = loadSandboxPolicy(`${head}  ${line}\n  enforcement: best-effort\n`, 's.yaml');
    checkHost(lenient, host);
    assert.match(unenforced(lenient, host).join('\n'), words);
  });
}

test('maxDisk is kept by every layer, ephemeral or kept', () => {
  for (const line of ['isolation: { filesystem: ephemeral }', 'isolation: { filesystem: workspace }\n  filesystem: { overlay: true }', 'isolation: {}\n  filesystem: { overlay: true, readWrite: [/workspace] }']) {
    const policy = loadSandboxPolicy(`${head.replace('  isolation: {}\n', '')}  resources: { maxDisk: 1Gi }\n  ${line}\n`, 's.yaml');
    assert.deepEqual(unenforced(policy, { tier: 'B' }), [], line);
  }
  const direct = loadSandboxPolicy(`${head}  resources: { maxDisk: 1Gi }\n  filesystem: { readWrite: [/workspace] }\n`, 's.yaml');
  assert.match(unenforced(direct, host).join('\n'), /filesystem: \{ overlay: true \}/);
});

test('the size of a workspace that is written directly is measured where a sandbox can be stopped, unless the policy requires a quota', () => {
  const direct = (more: string) => loadSandboxPolicy(`${head}  resources: { maxDisk: 1Gi }\n  filesystem: { readWrite: [/workspace]${more} }\n`, 's.yaml');
  const limits = { memory: true, cpu: true, freezer: true };
  assert.deepEqual(unenforced(direct(''), { tier: 'B', limits }), []);
  checkHost(direct(''), { tier: 'B', limits });
  const quota = ' }\n  requires: [disk-quota]\n  permissions: {';
  assert.throws(() => checkHost(direct(quota), { tier: 'A', limits }), (e: unknown) => e instanceof NemoError && e.code === 'NEMO_E_POLICY_NEEDS' && /counted and not kept by the kernel/.test(e.message));
  checkHost(direct(`, overlay: true${quota}`), { tier: 'B', limits });
});

test('rules on starting programs hold where openshelld is root, and a plain user is told what happens instead', () => {
  const policy = loadSandboxPolicy(`${head}  process: { exec: { escalate: [/usr/bin/ssh] } }\n  filesystem: { escalate: [{ path: /workspace/a/**, on: [exec] }] }\n`, 's.yaml');
  for (const tier of ['A', 'B'] as const) assert.deepEqual(unenforced(policy, { tier }), []);
  checkHost(policy, { tier: 'B' });
  checkHost(policy, { tier: 'C' });
  assert.match(unenforced(policy, { tier: 'C' }).join('\n'), /process\.exec\.escalate: without root[^]*filesystem\.escalate\[0\]: without root/);
});

test('system calls are recorded in full where openshelld is root, and a plain user is told that they are not', () => {
  const policy = loadSandboxPolicy(`${head}  auditLog: { syscalls: full }\n`, 's.yaml');
  assert.deepEqual(unenforced(policy, { tier: 'B' }), []);
  assert.throws(() => checkHost(policy, { tier: 'C' }), refusal('NEMO_E_POLICY_NEEDS'));
});

test('delete and rename rules are enforced in every tier', () => {
  const policy = loadSandboxPolicy(`${head}  filesystem: { escalate: [{ path: /workspace/a/**, on: [delete, rename] }] }\n`, 's.yaml');
  assert.deepEqual(unenforced(policy, { tier: 'B' }), []);
  checkHost(policy, { tier: 'C' });
});

test('a limit that cannot be kept is an error where the policy names it, and only said where it is the default', () => {
  const facts = { tier: 'B', limits: { memory: false, cpu: false } } as const;
  const silent = loadSandboxPolicy(head, 's.yaml');
  checkHost(silent, facts);
  assert.match(unenforced(silent, facts).join(), /maxMemory[^]*maxCPU/);
  for (const resources of ['maxMemory: 2Gi', 'maxCPU: 1']) {
    const named = loadSandboxPolicy(`${head}  resources: { ${resources} }\n`, 's.yaml');
    assert.throws(() => checkHost(named, facts), refusal('NEMO_E_POLICY_NEEDS'));
    checkHost(named, { tier: 'B' });
    checkHost(loadSandboxPolicy(`${head}  resources: { ${resources} }\n  enforcement: best-effort\n`, 's.yaml'), facts);
  }
});

test('incoming requests are reported as not served, which is no error; programs of egress rules are one', () => {
  const policy = loadSandboxPolicy(head, 's.yaml');
  const ingress = loadNetworkPolicy('networkPolicy: { name: n, ingress: { allow: [{ source: a.org, path: /x }] } }\n', 'n.yaml');
  assert.match(unenforced(policy, { tier: 'B' }, { network: ingress }).join(), /ingress\.allow\[0\]: unproven/);
  checkHost(policy, { tier: 'B' }, { network: ingress });
  const binaries = loadNetworkPolicy('networkPolicy:\n  name: n\n  egress:\n    allow: [{ domain: x.org, binaries: [/usr/bin/gh] }]\n', 'n.yaml');
  for (const tier of ['A', 'B'] as const) checkHost(policy, { tier, programs: true }, { network: binaries });
  assert.deepEqual(unenforced(policy, { tier: 'B', programs: true }, { network: binaries }).filter((text) => text.includes('binaries')), []);
  assert.throws(() => checkHost(policy, { tier: 'C', programs: true }, { network: binaries }), /binaries/);
  assert.throws(() => checkHost(policy, { tier: 'B' }, { network: binaries }), (e: unknown) => e instanceof NemoError && e.where?.file === 'n.yaml' && e.where.line === 4);
});

test('what is asked of the record and of the router and not done is said: stricter is no error, less is one', () => {
  const lenient = loadSandboxPolicy(`${head}  auditLog: { onAuditFailure: continue }\n`, 's.yaml');
  assert.match(unenforced(lenient, { tier: 'B' }).join(), /onAuditFailure/);
  checkHost(lenient, { tier: 'B' });
  const provider = '{ name: m, kind: vllm, endpoint: "http://127.0.0.1:1/v1", model: m, location: local }';
  const inference = loadInference(`providers: [${provider}]\ndefault: m\nprivacyRouter: { fallback: deny }\n`, 'i.yaml');
  assert.throws(() => checkHost(loadSandboxPolicy(head, 's.yaml'), { tier: 'B' }, { inference }), (e: unknown) => e instanceof NemoError && e.where?.file === 'i.yaml' && e.where.line === 3);
});

test('lint: advisory-only actions and allowances without effect', () => {
  const findings = lintBundle(folder());
  assert.deepEqual(findings.map((f) => [f.code, f.text.split(' ')[0], f.where?.file, f.where?.line]), [
    ['advisory-only', 'crm.read', 'a.yaml', 2],
    ['advisory-only', 'crm.drop', 'a.yaml', 3],
    ['no-effect', 'permissions.allowedAPIs[1]', 's.yaml', 4],
  ]);
});
