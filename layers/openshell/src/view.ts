/** The sandbox's root as an allow-list of steps: what is not named here does not exist in it. */
import type { ViewStep } from '@nemoclaw/contract';
import { between, home, isBelow, workspace } from './plan-paths.ts';

/** What the view is made from; every path as seen inside, but `source`. */
export interface View {
  readonly usrLinks: readonly string[];
  /** Host folders and files shown read-only. */
  readonly binds: readonly { readonly path: string; readonly source: string; readonly optional: boolean }[];
  /** Writable without a trace after the sandbox's end, beside /tmp and the home. */
  readonly privateFolders: readonly string[];
  readonly files: readonly { readonly path: string; readonly text: string; readonly mode: number }[];
  readonly timeZone: string | null;
  /** Certificates added to the host's bundle, PEM; '' for none. */
  readonly certificates: string;
  readonly workspace: 'none' | 'read-only' | 'writable';
  /** Below the workspace: writable although the workspace is not. */
  readonly writableParts: readonly string[];
  readonly frozenParts: readonly string[];
  readonly denied: readonly { readonly path: string; readonly folder: boolean }[];
  /** Programs may be started from the workspace, /tmp and the home. */
  readonly execInWritable: boolean;
  readonly sizes: { readonly tmp: number; readonly home: number; readonly shm: number };
}

/** Where the kernel shows more of the host than a program needs; read-only anyway, and out of sight on top. */
const procMasks = ['acpi', 'asound', 'bus', 'cmdline', 'driver', 'fs', 'irq', 'scsi', 'kallsyms', 'kcore', 'key-users', 'keys', 'latency_stats', 'sched_debug', 'sysrq-trigger', 'timer_list'];

const passwd = 'root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nagent:x:%UID%:%GID%:agent:/home/agent:/bin/bash\n';
const group = 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\nagent:x:%GID%:\n';
const profile = '# Interactive shells start here; nothing of the host is read.\n[ -z "${PS1-}" ] || PS1="\\w\\$ "\n';

function etc(view: View): ViewStep[] {
  const file = (path: string, text: string, mode = 0o644): ViewStep => ({ do: 'file', path, mode, text });
  const steps: ViewStep[] = [
    { do: 'dir', path: '/etc', mode: 0o755 },
    file('/etc/passwd', passwd),
    file('/etc/group', group),
    file('/etc/hosts', '127.0.0.1 localhost\n::1 localhost ip6-localhost\n'),
    file('/etc/hostname', 'sandbox\n'),
    file('/etc/resolv.conf', 'nameserver 127.0.0.1\noptions edns0 timeout:2 attempts:2\n'),
    file('/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n'),
    file('/etc/services', 'domain 53/udp\nhttp 80/tcp\nhttps 443/tcp\nssh 22/tcp\nsmtp 25/tcp\nsubmission 587/tcp\n'),
    file('/etc/protocols', 'ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n'),
    file('/etc/profile', profile),
    file('/etc/bash.bashrc', profile),
    file('/etc/shells', '/bin/sh\n/bin/bash\n'),
    { do: 'link', path: '/etc/mtab', to: '/proc/self/mounts' },
    { do: 'bind', path: '/etc/ld.so.cache', source: '/etc/ld.so.cache', optional: true },
    { do: 'bind', path: '/etc/alternatives', source: '/etc/alternatives', optional: true },
    { do: 'dir', path: '/etc/ssl', mode: 0o755 },
    { do: 'dir', path: '/etc/ssl/certs', mode: 0o755 },
  ];
  if (view.timeZone !== null) steps.push({ do: 'link', path: '/etc/localtime', to: `/usr/share/zoneinfo/${view.timeZone}` }, file('/etc/timezone', `${view.timeZone}\n`));
  const bundle = '/etc/ssl/certs/ca-certificates.crt';
  steps.push(view.certificates === '' ? { do: 'bind', path: bundle, source: bundle, optional: true } : { do: 'concat', path: bundle, source: bundle, text: view.certificates });
  // OpenSSL reads its settings here; without the file some programs print an error.
  steps.push({ do: 'bind', path: '/etc/ssl/openssl.cnf', source: '/etc/ssl/openssl.cnf', optional: true });
  return steps;
}

/** Makes the missing folders above a path. */
function withParents(path: string, made: Set<string>): ViewStep[] {
  return between('', path).filter((folder) => !made.has(folder)).map((folder) => {
    made.add(folder);
    return { do: 'dir', path: folder, mode: 0o755 };
  });
}

/** What is special inside the workspace; parents are pinned, so that nothing special can be moved away by renaming a folder above it. */
function insideWorkspace(view: View): ViewStep[] {
  const steps: ViewStep[] = [];
  const pinned = new Set<string>();
  const pin = (path: string): void => {
    for (const folder of between(workspace, path)) {
      if (pinned.has(folder)) continue;
      pinned.add(folder);
      steps.push({ do: 'pin', path: folder });
    }
  };
  const parts: readonly (readonly [string, 'freeze' | 'thaw'])[] = [...view.frozenParts.map((p) => [p, 'freeze'] as const), ...view.writableParts.map((p) => [p, 'thaw'] as const)];
  // Outer folders first: a self-mount hides what was mounted on the same folders before it.
  for (const [path, what] of [...parts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (isBelow(path, workspace)) pin(path);
    steps.push({ do: what, path });
    pinned.add(path);
  }
  for (const { path, folder } of view.denied) {
    const ours = isBelow(path, workspace);
    if (ours) pin(path);
    const writable = ours ? view.workspace === 'writable' : isBelow(path, '/tmp') || isBelow(path, home);
    steps.push({ do: 'mask', path, missing: !writable ? 'skip' : folder ? 'create-dir' : 'create-file' });
  }
  return steps;
}

/** The steps, in the order in which the launcher takes them. */
export function viewSteps(view: View): ViewStep[] {
  const made = new Set<string>(['/home', '/etc', '/etc/ssl', '/etc/ssl/certs']);
  const tmpfs = (path: string, mode: number, bytes: number, owner: 'agent' | 'root'): ViewStep => ({ do: 'tmpfs', path, mode, bytes, owner, exec: view.execInWritable });
  const steps: ViewStep[] = [
    { do: 'bind', path: '/usr', source: '/usr', optional: false },
    ...view.usrLinks.map((name): ViewStep => ({ do: 'link', path: `/${name}`, to: `usr/${name}` })),
    ...etc(view),
    { do: 'proc', path: '/proc' },
    ...procMasks.map((name): ViewStep => ({ do: 'mask', path: `/proc/${name}`, missing: 'skip' })),
    { do: 'dev', path: '/dev', shmBytes: view.sizes.shm },
    { do: 'dir', path: '/run', mode: 0o755 },
    { do: 'dir', path: '/var', mode: 0o755 },
    { do: 'link', path: '/var/tmp', to: '/tmp' },
    tmpfs('/tmp', 0o1777, view.sizes.tmp, 'root'),
    { do: 'dir', path: '/home', mode: 0o755 },
    tmpfs(home, 0o700, view.sizes.home, 'agent'),
  ];
  for (const bind of view.binds) steps.push(...withParents(bind.path, made), { do: 'bind', path: bind.path, source: bind.source, optional: bind.optional });
  for (const path of view.privateFolders) steps.push(...withParents(path, made), tmpfs(path, 0o700, view.sizes.tmp, 'agent'));
  for (const file of view.files) steps.push(...(isBelow(file.path, '/etc') || !isBelow(file.path, home) ? withParents(file.path, made) : []), { do: 'file', path: file.path, mode: file.mode, text: file.text });
  steps.push(view.workspace === 'none' ? tmpfs(workspace, 0o700, view.sizes.tmp, 'agent') : { do: 'workspace', path: workspace, readOnly: view.workspace === 'read-only', exec: view.execInWritable });
  steps.push(...insideWorkspace(view));
  return steps;
}
