/** Packs one layer as an npm package that needs nothing else: JavaScript with types, native programs, and the rooms and packages it imports, bundled. Usage: node layers/pack.ts LAYER FOLDER */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Manifest {
  readonly name: string;
  readonly exports?: unknown;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const repository = fileURLToPath(new URL('..', import.meta.url));
const readManifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
const installed = (name: string): string => join(repository, 'node_modules', name);

/** Every package that `manifest` needs, and those they need; of what it can do without, what is here. */
function needed(manifest: Manifest, found = new Set<string>()): Set<string> {
  const optional = Object.keys(manifest.optionalDependencies ?? {}).filter((name) => existsSync(installed(name)));
  for (const name of [...Object.keys(manifest.dependencies ?? {}), ...optional]) {
    if (found.has(name)) continue;
    found.add(name);
    needed(readManifest(installed(name)), found);
  }
  return found;
}

/** Our TypeScript below `source` as JavaScript and declarations in `target`. Throws with the compiler's words. */
function compile(source: string, target: string): void {
  // The last is no import of anybody: a thread is started from it.
  const entries = ['index.ts', 'cli.ts', 'inspect/inspect-thread.ts'].map((name) => join(source, name)).filter((path) => existsSync(path));
  const options = ['--ignoreConfig', '--target', 'ES2024', '--lib', 'ES2024', '--module', 'nodenext', '--moduleResolution', 'nodenext', '--types', 'node', '--strict', '--skipLibCheck', '--verbatimModuleSyntax', '--exactOptionalPropertyTypes', '--rewriteRelativeImportExtensions', '--declaration'];
  execFileSync(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), ...options, '--rootDir', source, '--outDir', target, ...entries], { cwd: repository, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** A room of ours as an installed package. */
function putRoom(from: string, to: string): Manifest {
  const manifest = readManifest(from);
  compile(join(from, 'src'), join(to, 'dist'));
  writeFileSync(join(to, 'package.json'), JSON.stringify({ ...manifest, exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } } }, null, 2));
  return manifest;
}

/** Sources that `make` needs, and what it has built. */
function putNative(from: string, to: string): void {
  mkdirSync(join(to, 'build'), { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) if (entry.isFile() && !entry.name.startsWith('test-')) cpSync(join(from, entry.name), join(to, entry.name));
  // What its Makefile takes from another layer's sources comes along, so that the package can be built alone.
  const borrowed = /^SHARED := (.*)$/m.exec(readFileSync(join(from, 'Makefile'), 'utf8'))?.[1]?.split(' ') ?? [];
  for (const name of borrowed) cpSync(join(from, '../../openshell/native', name), join(to, name));
  for (const name of readdirSync(join(from, 'build'))) if (/^(open|network)[a-z-]+$|\.node$/.test(name)) cpSync(join(from, 'build', name), join(to, 'build', name));
}

/** Builds the native part and writes the package into `folder`; its path. Throws with the output of what failed. */
function packLayer(layer: string, folder: string): string {
  const from = join(repository, 'layers', layer);
  const stage = mkdtempSync(join(tmpdir(), 'nemoclaw-pack-'));
  try {
    const manifest = putRoom(from, stage);
    for (const name of ['README.md', 'bin']) cpSync(join(from, name), join(stage, name), { recursive: true });
    cpSync(join(repository, 'LICENSE'), join(stage, 'LICENSE'));
    if (existsSync(join(from, 'native'))) {
      execFileSync('make', ['-s', '-C', join(from, 'native')], { stdio: ['ignore', 'pipe', 'inherit'] });
      putNative(join(from, 'native'), join(stage, 'native'));
    }
    const bundle = [...needed(manifest)];
    for (const name of bundle) {
      const target = join(stage, 'node_modules', name);
      mkdirSync(target, { recursive: true });
      if (name.startsWith('@nemoclaw/')) putRoom(realpathSync(installed(name)), target);
      else cpSync(realpathSync(installed(name)), target, { recursive: true, dereference: true });
    }
    const staged = readManifest(stage);
    writeFileSync(join(stage, 'package.json'), JSON.stringify({ ...staged, engines: { node: '>=24' }, os: ['linux'], cpu: ['x64'], bundleDependencies: bundle }, null, 2));
    const name = execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', resolve(folder)], { cwd: stage, encoding: 'utf8', env: { ...process.env, NODE_DISABLE_COMPILE_CACHE: '1' } });
    return join(resolve(folder), basename(name.trim()));
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [layer, folder] = process.argv.slice(2);
  if (layer === undefined || folder === undefined) {
    process.stderr.write('usage: node layers/pack.ts LAYER FOLDER\n');
    process.exitCode = 2;
  } else process.stdout.write(`${packLayer(layer, folder)}\n`);
}
