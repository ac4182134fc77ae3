/** The sandbox's root as an allow-list of steps: what is not named here does not exist in it. */
import type { ViewStep } from '@nemoclaw/contract';
import type { ExecPlan } from './exec-plan.ts';
import { between, home, isBelow, workspace } from './plan-paths.ts';

/** What the view is made from; every path as seen inside, but `source`. */
export interface View {
  readonly usrLinks: readonly string[];
  /** Host folders and files shown read-only. */
  readonly binds: readonly { readonly path: string; readonly source: string; readonly optional: boolean }[];
  /** Writable without a trace after the sandbox's end, beside /tmp and the home. */
  readonly privateFolders: readonly string[];
  readonly files: readonly { readonly path: string; readonly text: string; readonly mode: number }[];
  /** Character devices of the host, below /dev. */
  readonly devices: readonly string[];
  readonly timeZone: string | null;
  /** Folders of the host's /etc. */
  readonly settings: readonly string[];
  /** Certificates added to the host's bundle, PEM; '' for none. */
  readonly certificates: string;
  /** Hex; '' for none. */
  readonly javaTrustStore: string;
  readonly workspace: 'none' | 'read-only' | 'writable';
  /** What differs from what lies around it. `root`: the private or shared folder it lies in, whose other folders must not be renamed around it. */
  readonly places: readonly { readonly path: string; readonly what: 'freeze' | 'thaw' | 'mask'; readonly folder: boolean; readonly aroundWritable: boolean; readonly root: string | undefined }[];
  /** Undefined: programs may be started from everywhere. Else every mount is noexec but these. */
  readonly programs: ExecPlan | undefined;
  readonly sizes: { readonly tmp: number; readonly home: number; readonly shm: number };
}

/** Where the kernel shows more of the host than a program needs; read-only anyway, and out of sight on top. */
const procMasks = ['acpi', 'asound', 'bus', 'cmdline', 'driver', 'fs', 'irq', 'scsi', 'kallsyms', 'kcore', 'key-users', 'keys', 'latency_stats', 'locks', 'sched_debug', 'sysrq-trigger', 'timer_list'];

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
  for (const path of view.settings) steps.push({ do: 'bind', path, source: path, optional: true, noexec: true });
  if (view.javaTrustStore !== '') steps.push({ do: 'dir', path: '/etc/ssl/certs/java', mode: 0o755 }, { do: 'file', path: '/etc/ssl/certs/java/cacerts', mode: 0o644, hex: view.javaTrustStore });
  if (view.certificates !== '') {
    // Chromium has a trust store of its own, and this way to add to it (its policy CACertificates).
    for (const path of ['/etc/chromium', '/etc/chromium/policies', '/etc/chromium/policies/managed']) steps.push({ do: 'dir', path, mode: 0o755 });
    steps.push(file('/etc/chromium/policies/managed/nemoclaw.json', `${JSON.stringify({ CACertificates: derOf(view.certificates) })}\n`));
  }
  // OpenSSL reads its settings here; without the file some programs print an error.
  steps.push({ do: 'bind', path: '/etc/ssl/openssl.cnf', source: '/etc/ssl/openssl.cnf', optional: true });
  return steps;
}

/** Certificates as base64 of their DER form. */
function derOf(pem: string): string[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g)].map(([, body = '']) => body.replace(/\s/g, ''));
}

/** Makes the missing folders above a path. */
function withParents(path: string, made: Set<string>): ViewStep[] {
  return between('', path).filter((folder) => !made.has(folder)).map((folder) => {
    made.add(folder);
    return { do: 'dir', path: folder, mode: 0o755 };
  });
}

/** What is special somewhere; the folders above it are pinned, so that nothing special can be moved away by renaming one of them. */
function specialSteps(view: View): ViewStep[] {
  const steps: ViewStep[] = [];
  const pinned = new Set<string>();
  // Outer folders first: a self-mount hides what was mounted on the same folders before it. Masks last, since nothing lies in them.
  const order = (one: View['places'][number]): string => `${one.what === 'mask' ? 1 : 0}${one.path}`;
  for (const { path, what, folder, aroundWritable, root } of [...view.places].sort((a, b) => (order(a) < order(b) ? -1 : 1))) {
    const empty = root !== undefined && (root !== workspace || view.workspace === 'none');
    for (const parent of root === undefined ? [] : between(root, path)) {
      if (pinned.has(parent)) continue;
      pinned.add(parent);
      // A private folder starts empty: what the policy speaks of is made first.
      if (empty) steps.push({ do: 'dir', path: parent, mode: 0o755 });
      steps.push({ do: 'pin', path: parent });
    }
    const missing = !aroundWritable ? 'skip' : folder ? 'create-dir' : 'create-file';
    if (what === 'thaw') steps.push({ do: 'thaw', path });
    else steps.push({ do: what, path, missing });
    pinned.add(path);
  }
  return steps;
}

/** The steps, in the order in which the launcher takes them. */
export function viewSteps(view: View): ViewStep[] {
  const made = new Set<string>(['/dev', '/home', '/etc', '/etc/ssl', '/etc/ssl/certs']);
  const everywhere = view.programs === undefined;
  const noexec = everywhere ? {} : { noexec: true as const };
  const tmpfs = (path: string, mode: number, bytes: number, owner: 'agent' | 'root'): ViewStep => ({ do: 'tmpfs', path, mode, bytes, owner, exec: everywhere });
  const steps: ViewStep[] = [
    { do: 'bind', path: '/usr', source: '/usr', optional: false, ...noexec },
    ...view.usrLinks.map((name): ViewStep => ({ do: 'link', path: `/${name}`, to: `usr/${name}` })),
    ...etc(view),
    { do: 'proc', path: '/proc' },
    ...procMasks.map((name): ViewStep => ({ do: 'mask', path: `/proc/${name}`, missing: 'skip' })),
    { do: 'dev', path: '/dev', shmBytes: view.sizes.shm },
    ...view.devices.flatMap((path): ViewStep[] => [...withParents(path, made), { do: 'device', path }]),
    { do: 'dir', path: '/run', mode: 0o755 },
    { do: 'dir', path: '/var', mode: 0o755 },
    { do: 'link', path: '/var/tmp', to: '/tmp' },
    tmpfs('/tmp', 0o1777, view.sizes.tmp, 'root'),
    { do: 'dir', path: '/home', mode: 0o755 },
    tmpfs(home, 0o700, view.sizes.home, 'agent'),
  ];
  for (const bind of view.binds) steps.push(...withParents(bind.path, made), { do: 'bind', path: bind.path, source: bind.source, optional: bind.optional, ...noexec });
  for (const { path, source } of view.programs?.binds ?? []) steps.push({ do: 'bind', path, source, optional: true });
  for (const path of view.privateFolders) steps.push(...withParents(path, made), tmpfs(path, 0o700, view.sizes.tmp, 'agent'));
  for (const file of view.files) steps.push(...(isBelow(file.path, '/etc') || !isBelow(file.path, home) ? withParents(file.path, made) : []), { do: 'file', path: file.path, mode: file.mode, text: file.text });
  steps.push(view.workspace === 'none' ? tmpfs(workspace, 0o700, view.sizes.tmp, 'agent') : { do: 'workspace', path: workspace, readOnly: view.workspace === 'read-only', exec: everywhere });
  for (const path of view.programs?.run ?? []) steps.push({ do: 'run', path });
  steps.push(...specialSteps(view));
  return steps;
}
