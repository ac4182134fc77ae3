/** What a run may leave behind on the host: taken before and after, the difference must be empty. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export type Inventory = ReadonlyMap<string, ReadonlySet<string>>;

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/** Several of one name are told apart by their number: of two mounts at one place both count. */
function numbered(all: readonly string[]): ReadonlySet<string> {
  const count = new Map<string, number>();
  return new Set(
    all.map((one) => {
      const n = (count.get(one) ?? 0) + 1;
      count.set(one, n);
      return n === 1 ? one : `${one} (${n})`;
    }),
  );
}

/** Processes of ours, namespaces, mounts, objects of IPC and BPF, control groups, sockets, users and files in the usual places. `ours` tells our processes by their command line. */
export function takeInventory(places: readonly string[], ours: RegExp): Inventory {
  const processes = new Set<string>();
  const namespaces = new Set<string>();
  for (const pid of names('/proc').filter((name) => /^\d+$/.test(name))) {
    const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
    if (ours.test(command) && Number(pid) !== process.pid) processes.add(command.trim());
    for (const kind of ['net', 'mnt', 'pid', 'user', 'ipc', 'uts', 'cgroup']) {
      try {
        namespaces.add(readlinkSync(`/proc/${pid}/ns/${kind}`));
      } catch {
        // gone meanwhile, or a kernel thread
      }
    }
  }
  return new Map<string, ReadonlySet<string>>([
    ['processes', processes],
    ['namespaces', namespaces],
    ['mounts', numbered(lines(read('/proc/self/mountinfo')).map((line) => line.split(' ').slice(3, 5).join(' ')))],
    ['System V and POSIX objects', new Set([...['shm', 'sem', 'msg'].flatMap((kind) => lines(read(`/proc/sysvipc/${kind}`)).slice(1).map((line) => `${kind} ${line.trim().split(/\s+/).slice(0, 2).join(' ')}`)), ...['/dev/shm', '/dev/mqueue'].flatMap((place) => names(place).map((name) => `${place}/${name}`))])],
    // The kernel's own two are there as soon as the file system is mounted.
    ['pinned BPF objects', new Set(names('/sys/fs/bpf').filter((name) => !/^(maps|progs)\.debug$/.test(name)))],
    ['control groups', new Set(['memory', 'pids', 'cpu', 'freezer', 'unified', '.'].flatMap((c) => names(`/sys/fs/cgroup/${c}`).filter((n) => n.startsWith('nemoclaw')).map((n) => `${c}/${n}`)))],
    ['sockets', new Set(lines(read('/proc/net/unix')).map((line) => line.split(/\s+/)[7] ?? '').filter((path) => path.includes('nemoclaw')))],
    ['users', new Set(lines(read('/etc/passwd')).concat(lines(read('/etc/group'))).filter((line) => line.includes('nemoclaw')).map((line) => line.split(':').slice(0, 3).join(':')))],
    ['files', new Set(places.flatMap((place) => names(place).map((name) => `${place}/${name}`)))],
  ]);
}

/** What is in `after` and was not in `before`, as `kind: thing`. */
export function leftBehind(before: Inventory, after: Inventory): string[] {
  const left: string[] = [];
  for (const [kind, things] of after) for (const thing of things) if (!before.get(kind)?.has(thing)) left.push(`${kind}: ${thing}`);
  return left;
}
