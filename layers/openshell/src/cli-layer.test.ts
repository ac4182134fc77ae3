/** `openshell run --overlay` and what comes after it, on the real kernel: a layer over one folder, without any daemon that stays. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, lchownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildNative } from './native-build.ts';
import { TestInstance } from './openshelld-test-instance.ts';

const program = fileURLToPath(new URL('../bin/openshell.js', import.meta.url));
const person = 64_906;

describe('a layer that a command alone leaves', process.getuid?.() === 0 ? {} : { skip: 'needs root' }, () => {
  const root = mkdtempSync(join(tmpdir(), 'openshell-layer-'));
  const state = join(root, 'state');
  const policy = join(root, 'policy.yaml');
  before(async () => {
    await buildNative('openshelld', 'openshell-shim');
    chmodSync(root, 0o755);
    writeFileSync(policy, 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: alone }\nspec:\n  isolation: { network: none, filesystem: workspace }\n');
  });
  after(() => rmSync(root, { recursive: true }));

  const project = (name: string): string => {
    const folder = join(root, name);
    mkdirSync(folder);
    for (const file of ['', 'kept', 'changed', 'gone']) {
      if (file !== '') writeFileSync(join(folder, file), `${file}\n`);
      lchownSync(join(folder, file), person, person);
    }
    return folder;
  };
  const openshell = (...words: string[]): { code: number | null; out: string; err: string } => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...words], { encoding: 'utf8' });
    return { code: status, out: stdout, err: stderr };
  };
  const sh = (folder: string, script: string, file = policy) => openshell('run', '--policy', file, '--overlay', '--workspace', folder, '--state', state, '--', '/bin/sh', '-c', script);
  const layer = (folder: string, verb: string, ...words: string[]) => openshell(verb, '--workspace', folder, '--state', state, ...words);
  const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '').sort();

  it('leaves the folder as it is; the next command goes on there; diff shows it, commit carries it out as the owner', () => {
    const folder = project('commit');
    const first = sh(folder, 'echo more >>changed; rm gone; echo n >new');
    assert.equal(first.code, 0, first.err);
    assert.match(first.err, /openshell diff/);
    assert.deepEqual([readdirSync(folder).sort(), readFileSync(join(folder, 'changed'), 'utf8')], [['changed', 'gone', 'kept'], 'changed\n']);
    assert.equal(sh(folder, 'cat new; test ! -e gone').out, 'n\n');
    assert.deepEqual(lines(layer(folder, 'diff').out), ['+ new', '- gone', '~ changed']);
    const asData = JSON.parse(layer(folder, 'diff', '--json').out) as { readonly changes: readonly unknown[] };
    assert.equal(asData.changes.length, 3);
    assert.deepEqual(layer(folder, 'commit'), { code: 0, out: '3 changes are in the folder.\n', err: '' });
    assert.deepEqual([readdirSync(folder).sort(), readFileSync(join(folder, 'changed'), 'utf8'), statSync(join(folder, 'new')).uid], [['changed', 'kept', 'new'], 'changed\nmore\n', person]);
    assert.equal(statSync(state).mode & 0o777, 0o700);
  });

  it('is dropped by discard, and brought back from a snapshot', () => {
    const folder = project('discard');
    assert.equal(sh(folder, 'echo 1 >one').code, 0);
    assert.equal(layer(folder, 'snapshot', 'first').code, 0);
    assert.match(layer(folder, 'snapshots').out, /^first {2}\d{4}-/);
    assert.equal(layer(folder, 'snapshot', 'first').code !== 0, true);
    assert.equal(layer(folder, 'discard').code, 0);
    assert.equal(layer(folder, 'diff').out, 'Nothing was changed.\n');
    assert.equal(sh(folder, 'test ! -e one; echo 2 >two').code, 0);
    assert.equal(layer(folder, 'restore', 'first').code, 0);
    assert.deepEqual(lines(layer(folder, 'diff').out), ['+ one']);
    assert.deepEqual(readdirSync(folder).sort(), ['changed', 'gone', 'kept']);
  });

  it('what was only made to be hidden is no change, until somebody puts something in it', () => {
    const folder = project('denied');
    const denying = join(root, 'denying.yaml');
    writeFileSync(denying, `${readFileSync(policy, 'utf8')}  filesystem: { deny: [/workspace/keys/**, /workspace/secret] }\n`);
    assert.equal(sh(folder, 'ls keys || cat secret || echo hidden >new', denying).code, 0);
    assert.deepEqual(lines(layer(folder, 'diff').out), ['+ new']);
    assert.equal(layer(folder, 'commit').code, 0);
    assert.deepEqual(readdirSync(folder).sort(), ['changed', 'gone', 'kept', 'new']);
    assert.equal(sh(folder, 'echo k >keys/k; echo s >secret').code, 0);
    assert.deepEqual(lines(layer(folder, 'diff').out), ['+ keys/', '+ keys/k', '+ secret']);
  });

  it('what the owner changed meanwhile stays in both, and commit says so', () => {
    const folder = project('conflict');
    assert.equal(sh(folder, 'echo theirs >changed').code, 0);
    writeFileSync(join(folder, 'changed'), 'mine\n');
    const done = layer(folder, 'commit');
    assert.deepEqual([done.code, readFileSync(join(folder, 'changed'), 'utf8')], [1, 'mine\n']);
    assert.match(done.out, /left {2}changed: you changed it meanwhile/);
  });

  it('has the size of maxDisk, kept by the kernel', () => {
    const folder = project('size');
    const sized = join(root, 'sized.yaml');
    writeFileSync(sized, `${readFileSync(policy, 'utf8')}  resources: { maxDisk: 8Mi }\n  requires: [disk-quota]\n`);
    const full = sh(folder, 'dd if=/dev/zero of=big bs=1M count=64; echo "code $?"', sized);
    assert.match(full.err + full.out, /No space left on device[^]*code 1/);
    assert.deepEqual(lines(layer(folder, 'diff').out), ['+ big']);
  });

  it('belongs to one command at a time; whoever is killed leaves it whole', async () => {
    const folder = project('busy');
    const child = spawn(process.execPath, [program, 'run', '--policy', policy, '--overlay', '--workspace', folder, '--state', state, '--', '/bin/sh', '-c', 'echo x >there; echo ready; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      await once(child.stdout, 'data');
      assert.deepEqual(lines(layer(folder, 'diff').out), ['+ there']);
      assert.match(sh(folder, 'true').err, /the layer is in use/);
      for (const verb of ['commit', 'discard']) assert.match(layer(folder, verb).err, /NEMO_E_STATE/, verb);
    } finally {
      child.kill('SIGKILL');
    }
    await once(child, 'close');
    let again = sh(folder, 'cat there');
    // Its openshelld may take a moment longer to end than it did.
    for (let tries = 0; tries < 200 && again.code !== 0; tries++) again = sh(folder, 'cat there');
    assert.equal(again.out, 'x\n', again.err);
    assert.equal(layer(folder, 'commit').code, 0);
    assert.ok(existsSync(join(folder, 'there')));
  });

  it('is nobody else’s as long as anything runs in it, also when its openshelld was killed', async () => {
    const folder = project('killed');
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [program, 'run', '--policy', policy, '--overlay', '--workspace', folder, '--state', state, '--', '/bin/sh', '-c', `echo ${round} >there; echo ready; exec sleep 1000`], { stdio: ['ignore', 'pipe', 'ignore'] });
      const over = once(child, 'close');
      try {
        await once(child.stdout, 'data');
        const below = (pid: number): number => TestInstance.children(pid)[0]?.pid ?? 0;
        const daemon = below(child.pid ?? 0), shim = below(daemon), init = below(shim);
        assert.ok(init > 0);
        // As slow as it can be, once: what ends the sandbox does not even begin to.
        if (round === 0) process.kill(shim, 'SIGSTOP');
        process.kill(daemon, 'SIGKILL');
        if (round === 0) {
          try {
            while (existsSync(`/proc/${daemon}`)) await new Promise((resolve) => setTimeout(resolve, 10));
            assert.match(sh(folder, 'true').err, /the layer is in use/);
            assert.match(layer(folder, 'discard').err, /NEMO_E_STATE/);
            assert.ok(existsSync(`/proc/${init}`));
          } finally {
            process.kill(shim, 'SIGCONT');
          }
        }
        let again = sh(folder, 'cat there');
        for (let tries = 0; tries < 200 && again.code !== 0; tries++) again = sh(folder, 'cat there');
        assert.ok(!existsSync(`/proc/${init}`));
        assert.equal(again.out, `${round}\n`, again.err);
      } finally {
        child.kill('SIGKILL');
      }
      await over;
    }
  });

  it('is refused where it cannot be kept, or makes no sense', () => {
    const folder = project('refused');
    assert.match(layer(folder, 'diff').err, /NEMO_E_NOT_FOUND[^]*has no layer|has no layer[^]*NEMO_E_NOT_FOUND/);
    chmodSync(root, 0o777);
    const open = join(root, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    chmodSync(root, 0o755);
    const refuses = (where: string): void => assert.match(openshell('run', '--policy', policy, '--overlay', '--workspace', folder, '--state', where, '--', '/bin/true').err, /nobody else may write to/, where);
    refuses(open);
    // Whoever owns a folder above could put another in its place at any time.
    refuses(join(open, 'below'));
    refuses(join(folder, 'of-root'));
    symlinkSync(join(open, 'below'), join(root, 'link'));
    refuses(join(root, 'link'));
    const ephemeral = join(root, 'ephemeral.yaml');
    writeFileSync(ephemeral, readFileSync(policy, 'utf8').replace('filesystem: workspace', 'filesystem: ephemeral'));
    assert.match(sh(folder, 'true', ephemeral).err, /which keeps nothing/);
    assert.match(layer(folder, 'snapshot').err, /NEMO_E_USAGE/);
    for (const [verb, name] of [['snapshot', 'A name'], ['restore', '../x']] as const) assert.match(layer(folder, verb, name).err, /is no name of a snapshot[^]*NEMO_E_USAGE/);
    assert.match(openshell('run', '--policy', policy, '--overlay', '--no-workspace', '--', '/bin/true').err, /NEMO_E_USAGE/);
  });
});
