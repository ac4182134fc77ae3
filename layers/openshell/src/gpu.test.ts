/** gpuAccess on the real kernel, with a device of the host that gives zeros in the place of a GPU. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { checkHost, loadSandboxPolicy, NemoError, type ViewStep } from '@nemoclaw/contract';
import { explain } from './explain.ts';
import { gpuDevices } from './gpu-devices.ts';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { TestInstance } from './openshelld-test-instance.ts';
import { planFor } from './plan-for.ts';
import { readHostFacts } from './host-facts.ts';
import { createSandbox } from './sandbox.ts';

const folder = `/dev/nemoclaw-test-${process.pid}`;
const [gpu, closed, disk, link, file] = ['gpu0', 'closed', 'disk', 'link', 'file'].map((name) => `${folder}/${name}`) as [string, string, string, string, string];
const full = `${workspaceSpec}, resources: { gpuAccess: full }`;
const person = { uid: 65533, gid: 65533 };
const policyOf = (spec: string): ReturnType<typeof loadSandboxPolicy> => loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: gpu }\nspec: { ${spec} }\n`, 'gpu.yaml');

describe('gpuAccess', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const trials: Trial[] = [];
  const sandbox = (spec: string, more: Parameters<typeof trial>[1] = {}): Trial => {
    const made = trial(spec, more);
    trials.push(made);
    return made;
  };
  before(() => {
    mkdirSync(folder);
    const node = (path: string, kind: string, major: number, minor: number, mode: number): void => {
      assert.equal(spawnSync('mknod', [path, kind, String(major), String(minor)]).status, 0);
      chmodSync(path, mode);
    };
    node(gpu, 'c', 1, 5, 0o666);
    node(closed, 'c', 1, 5, 0o660);
    node(disk, 'b', 7, 0, 0o666);
    symlinkSync(gpu, link);
    writeFileSync(file, 'text');
    chmodSync(file, 0o666);
  });
  after(() => {
    trials.forEach((one) => one.remove());
    rmSync(folder, { recursive: true, force: true });
  });

  it('finds character devices that agents may use, and nothing else', () => {
    assert.deepEqual(gpuDevices([`${folder}/*`]), [gpu]);
    assert.deepEqual(gpuDevices([gpu, closed, disk, link, file, `${folder}/none`, '/tmp/x']), [gpu]);
  });

  it('full shows the device, to read, write and control, but not to change', async () => {
    const t = sandbox(full, { gpu: [gpu] });
    const result = await t.sh(`head -c 4 ${gpu} | od -An -tx1 && echo x > ${gpu} && ls ${folder} && grep " ${gpu} " /proc/self/mounts; chmod 600 ${gpu}; rm ${gpu}; mv ${gpu} ${gpu}x; python3 -c 'import fcntl; fcntl.ioctl(open("${gpu}"), 0x5401)'`);
    assert.match(result.stdout, /^ 00 00 00 00\ngpu0\n.*\bro,nosuid,noexec\b/, result.stderr);
    assert.match(result.stderr, /chmod:[^]*Read-only[^]*rm:[^]*mv:[^]*Inappropriate ioctl/);
    const as = (await sandbox(full, { gpu: [gpu], as: person }).sh(`head -c 4 ${gpu} | od -An -tx1; ls ${folder}`));
    assert.equal(as.stdout, ' 00 00 00 00\ngpu0\n', as.stderr);
    const seen = await sandbox(`${full}, process: { user: 10001, exec: { allow: ['/usr/bin/**'] } }`, { gpu: [gpu] }).sh(`head -c 2 ${gpu} | od -An -tx1`);
    assert.equal(seen.stdout, ' 00 00\n', seen.stderr);
  });

  it('none and inference-only show no device, and a denied one stays closed', async () => {
    for (const level of ['none', 'inference-only']) {
      const { plan, ...t } = sandbox(`${workspaceSpec}, resources: { gpuAccess: ${level} }`, { gpu: [gpu] });
      assert.equal(plan.view.some((step) => step.do === 'device'), false);
      assert.doesNotMatch(JSON.stringify(plan.landlock), /nemoclaw-test/);
      assert.match((await t.sh(`ls ${folder} ${gpu}; ls /dev`)).stdout, /^fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n$/);
    }
    const denied = await sandbox(`${full}, filesystem: { deny: [${gpu}] }`, { gpu: [gpu] }).sh(`head -c 1 ${gpu}; echo x > ${gpu}`);
    assert.equal(denied.stdout, '');
    assert.match(denied.stderr, /Permission denied[^]*Read-only/);
  });

  it('the launcher shows nothing that the host did not name, and no other kind of file', async () => {
    const asked = (path: string, gpus: readonly string[]): Promise<{ code: number; stderr: string }> =>
      sandbox(full, { gpu: gpus, change: (plan) => ({ ...plan, view: plan.view.flatMap((step): ViewStep[] => (step.do === 'device' ? [] : step.do === 'dev' ? [step, { do: 'dir', path: folder, mode: 0o755 }, { do: 'device', path }] : [step])) }) }).run(['/bin/true']);
    for (const path of [closed, '/dev/kmsg', `${folder}/../null`, '/etc/passwd']) {
      const { code, stderr } = await asked(path, [gpu]);
      assert.equal(code, 1, path);
      assert.match(stderr, /outside the host's bounds/, path);
    }
    for (const [path, why] of [[closed, 'Permission denied'], [disk, 'No such device'], [link, '(Too many levels|No such device)'], [file, 'No such device'], [`${folder}/gone`, 'No such file'], ['/etc/passwd', "outside the host's bounds"]] as const) {
      const { code, stderr } = await asked(path, [path]);
      assert.equal(code, 1, path);
      assert.match(stderr, new RegExp(why), path);
    }
  });

  it('where there is no such device, the policy is refused at the line that asks for it; best-effort starts without', async () => {
    const host = { tier: 'B' } as const;
    for (const facts of [host, { ...host, gpu: [] }]) assert.throws(() => checkHost(policyOf(full), facts), (e: unknown) => e instanceof NemoError && e.code === 'NEMO_E_POLICY_NEEDS' && e.where?.line === 4 && /host\.yaml/.test(e.message));
    checkHost(policyOf(full), { ...host, gpu: [gpu] });
    await assert.rejects(createSandbox(policyOf(full), { host: readHostFacts({ gpu: [`${folder}/n*`] }) }), { code: 'NEMO_E_POLICY_NEEDS' });
    await using sandboxWithout = await createSandbox(policyOf(`${full}, enforcement: best-effort`), { host: readHostFacts({ gpu: [] }) });
    assert.match(sandboxWithout.notes.join(), /gpuAccess/);
  });

  it('a program alone shows it as well', async () => {
    await using one = await createSandbox(policyOf(full), { host: readHostFacts({ gpu: [`${folder}/*`] }) });
    const { code, stdout } = await (await one.exec(['/bin/sh', '-c', `head -c 2 ${gpu} | od -An -tx1; ls ${folder}`])).output();
    assert.deepEqual([code, stdout], [0, ' 00 00\ngpu0\n']);
  });

  it('openshelld finds what its configuration names, and shows that alone', async () => {
    const instance = await TestInstance.start({ devices: [`${folder}/*`], roles: ['gateway'] });
    try {
      const gateway = await instance.service('gateway');
      assert.deepEqual(((await gateway.call('host')) as { gpu: unknown }).gpu, [gpu]);
      const { id } = await instance.workspace('project');
      const plan = (gpus: readonly string[]): unknown => planFor(policyOf(full), readHostFacts({ nodeBinary: process.execPath, gpu: gpus }), { hasWorkspace: true });
      await gateway.call('create', 'one', plan([gpu]), id, '');
      assert.equal((await gateway.run('one', 'e1', ['/bin/ls', folder])).stdout, 'gpu0\n');
      await gateway.call('destroy', 'one');
      await assert.rejects(gateway.call('create', 'two', plan(['/dev/full']), id, ''), /outside the host's bounds/);
    } finally {
      await instance.stop();
    }
  });

  it('explain knows the devices', () => {
    const ask = (spec: string, op: 'read' | 'write', path: string): string => {
      const { verdict, errno } = explain(policyOf(spec), 'B', { op, path }, { gpu: [gpu] });
      return errno ?? verdict;
    };
    assert.deepEqual([ask(full, 'write', gpu), ask(full, 'read', gpu), ask(workspaceSpec, 'read', gpu), ask(full, 'read', closed), ask(workspaceSpec, 'write', '/dev/null')], ['allow', 'allow', 'ENOENT', 'ENOENT', 'allow']);
  });
});
