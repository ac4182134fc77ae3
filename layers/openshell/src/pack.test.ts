/** The package: packed, installed without a network in an empty folder, and used there as root and as a plain user; its README's example runs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../../', import.meta.url));
/** In nobody's range. */
const person = { uid: 64_907, gid: 64_907 };
const policy = 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: packed }\nspec: { isolation: { network: none, filesystem: workspace, syscalls: standard } }\n';

describe('the package', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'openshell-pack-'));
  const node = join(folder, 'bin', 'node');
  const installed = join(folder, 'app', 'node_modules', '@nemoclaw', 'openshell');
  const run = (command: string, args: readonly string[], more: { uid?: number; gid?: number; cwd?: string } = {}): { code: number | null; out: string; err: string } => {
    const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', cwd: join(folder, 'app'), env: { PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, HOME: folder, XDG_STATE_HOME: join(folder, `state-${more.uid ?? 0}`), NODE_DISABLE_COMPILE_CACHE: '1' }, ...more });
    return { code: status, out: stdout, err: stderr };
  };

  before(() => {
    chmodSync(folder, 0o755);
    for (const name of ['app', 'bin', 'app/project', 'app/project/prod', 'app/own']) mkdirSync(join(folder, name));
    // Node where a plain user can reach it.
    try {
      linkSync(process.execPath, node);
    } catch {
      copyFileSync(process.execPath, node);
    }
    const packed = run(process.execPath, [join(repository, 'layers/pack.ts'), 'openshell', folder]);
    assert.equal(packed.code, 0, packed.err);
    const got = run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--cache', join(folder, 'cache'), packed.out.trim()]);
    assert.equal(got.code, 0, got.err);
    writeFileSync(join(folder, 'app', 'policy.yaml'), policy);
    mkdirSync(join(folder, `state-${person.uid}`));
    for (const name of ['app/own', `state-${person.uid}`]) chownSync(join(folder, name), person.uid, person.gid);
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('brings JavaScript with types and native programs, and no tests', () => {
    assert.deepEqual(readdirSync(installed).sort(), ['LICENSE', 'README.md', 'bin', 'dist', 'native', 'node_modules', 'package.json']);
    for (const file of ['dist/index.js', 'dist/index.d.ts', 'native/Makefile', 'native/build/openshelld', 'native/build/openshell-launch', 'node_modules/@nemoclaw/contract/dist/index.js', 'node_modules/zod/package.json']) assert.ok(existsSync(join(installed, file)), file);
    assert.deepEqual(readdirSync(join(installed, 'dist')).filter((name) => name.includes('test') || (name.endsWith('.ts') && !name.endsWith('.d.ts'))), []);
  });

  it('is not made by npm alone, which says what makes it', () => {
    const { code, err } = run('npm', ['pack', '--dry-run', '--cache', join(folder, 'cache')], { cwd: join(repository, 'layers', 'openshell') });
    assert.notEqual(code, 0);
    assert.match(err, /node \.\.\/pack\.ts openshell/);
  });

  it('runs a command in a sandbox, as root and as a plain user', () => {
    const program = join(folder, 'app', 'node_modules', '.bin', 'openshell');
    for (const who of [{}, person]) {
      const { code, out, err } = run(program, ['run', '--policy', 'policy.yaml', '--workspace', 'own', '--', '/bin/sh', '-c', 'echo hi; echo there > made; ls -A /workspace'], who);
      assert.deepEqual([code, out], [0, 'hi\nmade\n'], err);
      assert.equal(readFileSync(join(folder, 'app', 'own', 'made'), 'utf8'), 'there\n');
      rmSync(join(folder, 'app', 'own', 'made'));
    }
    assert.match(run(program, ['--version']).out, /^openshell \d/);
    assert.equal(run(program, ['explain', '--policy', 'policy.yaml', 'write', '/workspace/a']).code, 0);
  });

  it('does what the README’s example says', () => {
    const readme = readFileSync(join(installed, 'README.md'), 'utf8');
    const example = /```js\n([^]*?)```/.exec(readme)?.[1] ?? '';
    assert.match(example, /createSandbox/);
    writeFileSync(join(folder, 'app', 'example.mjs'), example);
    writeFileSync(join(folder, 'app', 'project', 'prod', 'report'), 'r');
    const { code, out, err } = run(node, ['example.mjs']);
    assert.equal(err, '');
    assert.deepEqual([code, out], [0, '/usr/bin/rm (pid N) wants to delete /workspace/prod/report\n0 still there\nagent\n\n']);
  });

  it('can be built again from what it brings', () => {
    const native = join(installed, 'native');
    for (const target of ['clean', 'all']) {
      const made = run('make', ['-s', '-j2', '-C', native, target]);
      assert.equal(made.code, 0, made.err);
    }
    const { out, err } = run(join(folder, 'app', 'node_modules', '.bin', 'openshell'), ['run', '--policy', 'policy.yaml', '--workspace', 'own', '--', '/bin/echo', 'rebuilt']);
    assert.equal(out, 'rebuilt\n', err);
  });
});
