/** The guest's three disks (root, checkout, extra files) and its first root. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { archive, type ArchiveEntry } from './cpio.ts';
import { baseFiles } from './base-files.ts';
import { fingerprint, keptDisk, makeDisk, tool } from './disk.ts';
import { modulesOf } from './modules.ts';
import type { Kernel } from './fetch.ts';

export const project = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');
const here = join(project, 'proof/guest');
/** Tools that check the sources; nothing in the guest runs them. */
const leftOut = new Set(['typescript', '@typescript', 'oxlint', '@oxlint', 'oxfmt', '@oxfmt', 'oxc-parser', '@oxc-parser', '@oxc-project', '@types', '.cache']);

const nodeModules = (): string[] => readdirSync(join(project, 'node_modules')).filter((name) => !leftOut.has(name) && name !== 'node' && name !== '.bin');

/** Two ordinary people and a group for the tests, beside root and nobody. */
const accounts = {
  passwd: 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nperson:x:1000:1000::/home/person:/bin/bash\nother:x:1001:1001::/home/other:/bin/bash\n',
  group: 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\nperson:x:1000:\nother:x:1001:\n',
};

function fillRoot(folder: string, files: readonly string[]): void {
  for (const name of ['etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'var/tmp', 'var/lib', 'root', 'home', 'mnt', 'opt', 'srv', 'media', 'nemoclaw', 'extra', 'node_modules/.bin', 'usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'usr/local/bin']) mkdirSync(join(folder, name), { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(folder, name));
  // --parents keeps each path; the rest keeps links, owners, times and extended attributes.
  tool('cp', ['-a', '--parents', ...files, folder]);
  tool('cp', ['-a', ...nodeModules(), join(folder, 'node_modules')], join(project, 'node_modules'));
  mkdirSync(join(folder, 'node_modules/node/bin'), { recursive: true });
  tool('cp', [join(project, 'node_modules/node/bin/node'), join(folder, 'node_modules/node/bin/node')]);
  symlinkSync('../node/bin/node', join(folder, 'node_modules/.bin/node'));
  for (const [name, text] of Object.entries(accounts)) writeFileSync(join(folder, 'etc', name), text);
  writeFileSync(join(folder, 'etc/hosts'), '127.0.0.1 localhost guest\n');
  tool('chmod', ['1777', join(folder, 'tmp'), join(folder, 'var/tmp')]);
  tool('chmod', ['700', join(folder, 'root')]);
  for (const [name, uid] of [['person', '1000'], ['other', '1001']] as const) {
    mkdirSync(join(folder, 'home', name));
    if (process.getuid?.() === 0) tool('chown', [`${uid}:${uid}`, join(folder, 'home', name)]);
  }
}

/** Root: this machine's programs and libraries, Node 24 and the packages. Made again when one of them changes. */
export function rootDisk(cache: string, now: number): string {
  const node = join(project, 'node_modules/node/bin/node');
  const files = baseFiles([node]);
  // By content what belongs to the checkout, so that all checkouts of one version share a disk.
  const own = ['package-lock.json', 'proof/guest/image.ts', 'proof/guest/base-files.ts'].map((path) => readFileSync(join(project, path), 'utf8'));
  const print = fingerprint(files, [...own, ...nodeModules(), String(statSync(node).size)]);
  return keptDisk(cache, 'root', print, (file) => makeDisk(file, 2048, (folder) => fillRoot(folder, files)), now);
}

/** In place, with every line where it was; see plain.mjs. */
function withoutTypes(folder: string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const path = join(folder, name);
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, stripTypeScriptTypes(text));
  }
}

/** Everything of the checkout but its dependencies and history; made for each boot, in about a second. */
export function checkoutDisk(file: string): void {
  const rooms = readdirSync(project).filter((name) => !['node_modules', '.git', '.cache'].includes(name) && !name.endsWith('.log'));
  makeDisk(file, 256, (folder) => {
    tool('cp', ['-a', ...rooms, folder], project);
    withoutTypes(folder);
    mkdirSync(join(folder, 'node_modules'));
  });
}

/** A script and files beside it, for one boot; below `/extra` in the guest. */
export function extraDisk(file: string, script: string, files: readonly string[]): void {
  makeDisk(file, 64, (folder) => {
    cpSync(script, join(folder, 'run.sh'));
    for (const path of files) cpSync(path, join(folder, basename(path)), { recursive: true });
  });
}

/** The first root: the static init and the modules, in loading order. */
export function firstRoot(cache: string, kernel: Kernel): string {
  const source = join(here, 'init.c');
  const print = fingerprint([], [kernel.release, ...['init.c', 'modules.ts', 'image.ts'].map((name) => readFileSync(join(here, name), 'utf8'))]);
  const file = join(cache, `first-${kernel.release}-${print}.cpio`);
  if (existsSync(file)) return file;
  const init = join(cache, `init.${process.pid}`);
  tool('gcc', ['-static', '-Os', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-Wno-unused-result', '-D_GNU_SOURCE', '-o', init, source]);
  const modules = modulesOf(kernel.modules);
  const entries: ArchiveEntry[] = [
    { name: 'init', mode: 0o100755, data: readFileSync(init) },
    { name: 'modules', mode: 0o040755 },
    ...modules.map((module, index) => ({ name: `modules/${String(index).padStart(2, '0')}-${basename(module.file)}`, mode: 0o100644, data: readFileSync(module.file) })),
  ];
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, archive(entries));
  tool('rm', ['-f', init]);
  return file;
}
