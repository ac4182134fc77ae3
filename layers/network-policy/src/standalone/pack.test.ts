/** The package: packed, installed without a network in an empty folder, and used there; its README's example runs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../../../', import.meta.url));
const policy = 'networkPolicy:\n  name: packed\n  egress:\n    allow:\n      - { domain: api.example.com, methods: [GET] }\n    deny:\n      - { domain: "*" }\n';

describe('the package', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'packed-network-'));
  const app = join(folder, 'app');
  const installed = join(app, 'node_modules', '@nemoclaw', 'network-policy');
  const program = join(app, 'node_modules', '.bin', 'network-policy');
  const run = (command: string, ...args: readonly string[]): { code: number | null; out: string; err: string } => {
    const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', cwd: app, env: { PATH: `${join(folder, 'bin')}:/usr/bin:/bin`, HOME: folder, NODE_DISABLE_COMPILE_CACHE: '1' } });
    return { code: status, out: stdout, err: stderr };
  };

  before(() => {
    chmodSync(folder, 0o755);
    for (const name of ['app', 'bin']) mkdirSync(join(folder, name));
    const node = join(folder, 'bin', 'node');
    try {
      linkSync(process.execPath, node);
    } catch {
      copyFileSync(process.execPath, node);
    }
    const packed = run(process.execPath, join(repository, 'layers/pack.ts'), 'network-policy', folder);
    assert.equal(packed.code, 0, packed.err);
    const got = run('npm', 'install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--cache', join(folder, 'cache'), packed.out.trim());
    assert.equal(got.code, 0, got.err);
    writeFileSync(join(app, 'policy.yaml'), policy);
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('brings JavaScript with types and its native helper with all sources, and no tests', () => {
    assert.deepEqual(readdirSync(installed).sort(), ['LICENSE', 'README.md', 'bin', 'dist', 'native', 'node_modules', 'package.json']);
    for (const file of ['dist/index.js', 'dist/index.d.ts', 'dist/standalone/run.js', 'dist/inspect/inspect-thread.js', 'native/Makefile', 'native/nftables.c', 'native/build/network-capture', 'native/build/binding.node', 'node_modules/@nemoclaw/decide/dist/index.js', 'node_modules/undici/package.json']) assert.ok(existsSync(join(installed, file)), file);
    assert.deepEqual((readdirSync(join(installed, 'dist'), { recursive: true }) as string[]).filter((name) => name.includes('test') || (name.endsWith('.ts') && !name.endsWith('.d.ts'))), []);
  });

  it('is not made by npm alone, which says what makes it', () => {
    const { status, stderr } = spawnSync('npm', ['pack', '--dry-run', '--cache', join(folder, 'cache')], { encoding: 'utf8', cwd: join(repository, 'layers', 'network-policy') });
    assert.notEqual(status, 0);
    assert.match(stderr, /node \.\.\/pack\.ts network-policy/);
  });

  it('runs a command and says what is denied', () => {
    const { code, out, err } = run(program, 'run', '--policy', 'policy.yaml', '--', '/bin/sh', '-c', 'curl -sS -m 30 -X POST http://api.example.com/; curl -sS -m 30 http://evil.example/; exit 9');
    assert.equal(code, 9, err);
    assert.match(out, /"rule":"egress\.allow\[0\]"/);
    assert.match(err, /denied: POST http:\/\/api\.example\.com\/: denied \[egress\.allow\[0\], policy\.yaml:5\][^]*denied: DNS question for evil\.example/);
    assert.match(run(program, '--version').out, /^network-policy \d/);
  });

  it('does what the README’s example says', () => {
    const example = /```js\n([^]*?)```/.exec(readFileSync(join(installed, 'README.md'), 'utf8'))?.[1] ?? '';
    assert.match(example, /createJudgedEgress|createEgress/);
    writeFileSync(join(app, 'example.mjs'), example);
    const { code, out, err } = run(join(folder, 'bin', 'node'), 'example.mjs');
    assert.deepEqual([code, out], [0, '403 egress.allow[0]\n'], err);
  });

  it('can be built again from what it brings', () => {
    for (const target of ['clean', 'all']) {
      const made = run('make', '-s', '-C', join(installed, 'native'), target);
      assert.equal(made.code, 0, made.err);
    }
    const { out, err } = run(program, 'run', '--policy', 'policy.yaml', '--', '/bin/echo', 'rebuilt');
    assert.equal(out, 'rebuilt\n', err);
  });
});
