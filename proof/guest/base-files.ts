/** Which of this machine's own files make up the guest's root: some everyday programs, what they are linked with, and little of /etc. */
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const programs = [
  ...['bash', 'sh', 'dash', 'env', 'id', 'true', 'false', 'test', '[', 'echo', 'printf', 'yes', 'sleep', 'date', 'uname', 'nproc', 'sync', 'seq', 'timeout', 'kill', 'ps', 'nice', 'tty', 'whoami', 'hostname'],
  ...['cat', 'ls', 'cp', 'mv', 'rm', 'mkdir', 'rmdir', 'ln', 'link', 'unlink', 'chmod', 'chown', 'chgrp', 'touch', 'stat', 'truncate', 'dd', 'df', 'du', 'mktemp', 'mkfifo', 'mknod', 'realpath', 'readlink', 'dirname', 'basename', 'install', 'shred'],
  ...['head', 'tail', 'grep', 'sed', 'awk', 'find', 'xargs', 'sort', 'uniq', 'wc', 'tr', 'cut', 'tee', 'od', 'cmp', 'diff', 'md5sum', 'sha256sum', 'base64', 'expr', 'tar', 'gzip'],
  ...['mount', 'umount', 'unshare', 'nsenter', 'setpriv', 'setsid', 'flock', 'prlimit', 'dmesg', 'findmnt', 'losetup', 'mke2fs', 'chattr', 'lsattr', 'getfattr', 'setfattr', 'getcap', 'setcap', 'capsh', 'pivot_root', 'chroot', 'ip', 'ss', 'nft', 'pgrep', 'lsmod'],
  ...['git', 'python3', 'make', 'openssl', 'curl', 'busybox', 'strace', 'bpftool', 'getent', 'gcc', 'cc', 'as', 'ld'],
] as const;
const searched = ['/usr/local/sbin', '/usr/sbin', '/usr/bin', '/usr/local/bin'];
/** Whole folders and single files; those that this machine has not are left out. */
const more = ['/usr/lib/git-core', '/usr/share/git-core', '/etc/ld.so.cache', '/etc/ld.so.conf', '/etc/nsswitch.conf', '/etc/ssl/openssl.cnf', '/usr/lib/ssl/openssl.cnf', '/etc/ssl/certs/ca-certificates.crt', '/etc/protocols', '/etc/services', '/etc/mke2fs.conf'];

/** What a C compiler needs to link a static program; tests bring small programs of their own. */
function compilerFiles(): string[] {
  const machine = `${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
  const version = existsSync(`/usr/lib/gcc/${machine}`) ? readdirSync(`/usr/lib/gcc/${machine}`)[0] : undefined;
  if (version === undefined) return [];
  const own = `/usr/lib/gcc/${machine}/${version}`;
  const internal = readdirSync(own).filter((name) => /^(cc1|collect2|include|liblto_plugin\.so.*|.*\.o|libgcc.*\.(a|so))$/.test(name)).map((name) => join(own, name));
  const headers = readdirSync('/usr/include').filter((name) => /\.h$|^(linux|asm-generic|sound|misc|mtd|rdma|scsi|sys|bits|net|netinet|arpa|rpc|x86_64-linux-gnu|aarch64-linux-gnu)$/.test(name)).map((name) => join('/usr/include', name));
  const objects = readdirSync(`/usr/lib/${machine}`).filter((name) => /^(crt.*\.o|.crt1\.o|libc\.(a|so)|libc_nonshared\.a|lib(pthread|m|mvec|dl|rt|util)(-[\d.]+)?\.a|libm\.so)$/.test(name)).map((name) => join(`/usr/lib/${machine}`, name));
  return [...internal, ...headers, ...objects];
}

/** The file, the links on the way to it, and the file at their end. */
function chain(path: string): string[] {
  const found: string[] = [];
  let at = path;
  for (let links = 0; links < 16; links += 1) {
    // Folders that are links themselves (/lib, /bin) are made by the image.
    at = join(realpathSync(dirname(at)), at.slice(at.lastIndexOf('/') + 1));
    found.push(at);
    if (!lstatSync(at).isSymbolicLink()) return found;
    at = resolve(dirname(at), readlinkSync(at));
    if (!existsSync(at)) return found;
  }
  return found;
}

function isProgram(path: string): boolean {
  const stat = lstatSync(path);
  return stat.isFile() && (stat.mode & 0o111) !== 0;
}

/** Shared libraries of these programs, by the loader's own account. */
function libraries(files: readonly string[]): string[] {
  const done = spawnSync('ldd', [...files], { encoding: 'utf8' });
  return [...new Set([...done.stdout.matchAll(/(\/\S+\.so[^\s:]*)/g)].map((match) => match[1] ?? ''))];
}

/** Absolute paths of files, links and whole folders; `extra`: more programs, such as Node. */
export function baseFiles(extra: readonly string[]): string[] {
  const found = programs.map((name) => searched.map((folder) => join(folder, name)).find((path) => existsSync(path))).filter((path) => path !== undefined);
  const files = new Set([...found, ...more.filter((path) => existsSync(path))].flatMap(chain));
  for (const path of readdirSync('/usr/lib').filter((name) => /^python3/.test(name))) files.add(join('/usr/lib', path));
  for (const path of compilerFiles()) files.add(path);
  const linked = [...files, ...extra].filter(isProgram);
  const python = realpathSync('/usr/lib').concat('/python3');
  if (existsSync(python)) files.add(python);
  for (const path of libraries([...linked, ...pythonExtensions()])) for (const one of chain(path)) files.add(one);
  return [...files].sort();
}

function pythonExtensions(): string[] {
  return readdirSync('/usr/lib')
    .filter((name) => /^python3\.\d+$/.test(name) && existsSync(`/usr/lib/${name}/lib-dynload`))
    .flatMap((name) => readdirSync(`/usr/lib/${name}/lib-dynload`).map((file) => `/usr/lib/${name}/lib-dynload/${file}`));
}
