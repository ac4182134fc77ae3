/** From a SandboxPolicy and what this host has to a LaunchPlan. */
import { isStated, NemoError, writesDirectly, type LandlockRule, type LaunchPlan, type LayerSwitch, type PlanLimits, type ProtectPlan, type SandboxPolicy, type WorkspacePlan } from '@nemoclaw/contract';
import { execPlan, type ExecPlan } from './exec-plan.ts';
import { startRules, withStartsDenied } from './exec-rules.ts';
import type { HostFacts } from './host-facts.ts';
import { rights } from './landlock-rights.ts';
import { escalationOf } from './plan-escalate.ts';
import { fileRules, fixedFolders, ownDevices, pinRoot, privateFolders, specialPlaces, type FileRules } from './file-rules.ts';
import { home, isBelow, outermost, scratch, workspace } from './plan-paths.ts';
import { lsmPlan } from './plan-lsm.ts';
import { monitored } from './monitored.ts';
import { protectedFor } from './protected-names.ts';
import { recordRules } from './record-rules.ts';
import { seccompFilter } from './seccomp-filter.ts';
import { viewSteps, type View } from './view.ts';

export interface PlanOptions {
  /** False: /workspace is a private folder that ends with the sandbox. */
  readonly hasWorkspace: boolean;
  /** Folders of installed agents: shown read-only at /opt/<name>. */
  readonly agents?: readonly { readonly name: string; readonly source: string }[];
  /** PEM certificates the sandbox trusts beside the host's. */
  readonly certificates?: string;
  /** The same as a trust store of Java, in hex: it takes the place of the host's own store. */
  readonly javaTrustStore?: string;
  /** Files written before the agent starts; below /etc, /opt or /run. */
  readonly files?: readonly { readonly path: string; readonly text: string; readonly mode: number }[];
  /** More environment, "K=V". */
  readonly env?: readonly string[];
  readonly hostname?: string;
  /** What happens to deletions and renames that a person should decide. `ask` (default): a shim holds them. `refuse`: nobody can be asked, the folders are read-only. */
  readonly escalations?: 'ask' | 'refuse';
  /** Layers to switch off, for tests. */
  readonly off?: readonly LayerSwitch[];
}

const mebi = 2 ** 20;
/** Said wherever a sandbox is shown whose policy says `protect: off`. */
const protectionOff = 'filesystem.protect is off: the agent may write git hooks and settings of editors and agents that run on your side.';

interface Sorted {
  readonly rules: FileRules;
  /** The workspace as a whole. */
  readonly writable: boolean;
  /** Parts of a read-only workspace that are writable all the same. */
  readonly writableParts: string[];
  readonly binds: { path: string; source: string; optional: boolean }[];
  readonly privateFolders: string[];
  readonly notes: string[];
}

/** Sorts readOnly and readWrite into mounts. What is not of this host becomes private or absent, with a note: never more than the policy grants. */
function sortPaths(policy: SandboxPolicy, host: HostFacts): Sorted {
  const notes: string[] = [];
  const rules = fileRules(policy);
  const writable = rules.grantAt(workspace)?.access === 'write';
  for (const { path, access } of rules.grants) {
    if (access === 'write' && fixedFolders.some((p) => isBelow(path, p)) && !scratch.some((s) => isBelow(path, s))) {
      throw new NemoError('NEMO_E_PLAN_PATH', { what: `filesystem.readWrite names ${path}, which no sandbox may change.` });
    }
  }
  const own = privateFolders(rules);
  for (const path of own) notes.push(`filesystem.readWrite ${path} is a private folder of the sandbox: what is written there ends with it.`);
  const binds: Sorted['binds'] = [];
  const shown = ['/usr', '/etc', '/proc', '/dev', '/var', '/run', '/home', workspace, ...scratch, ...own];
  // The view has an /opt of its own, in which nothing is that nobody names.
  for (const path of outermost(rules.grants.filter((one) => one.access === 'read' && one.path !== '/opt').map((one) => one.path))) {
    if (shown.some((s) => isBelow(path, s))) continue;
    if (host.bindRoots.some((root) => isBelow(path, root)) && !isBelow(path, '/root')) binds.push({ path, source: path, optional: true });
    else notes.push(`filesystem.readOnly ${path} is not shown: it is not below this host's bind roots.`);
  }
  const thawed = specialPlaces(rules).filter((one) => one.what === 'thaw' && isBelow(one.path, workspace));
  return { rules, writable, writableParts: writable ? [] : outermost(thawed.map((one) => one.path)), binds, privateFolders: own, notes };
}

function landlockRules(sorted: Sorted, asked: boolean, extra: readonly string[], programs: ExecPlan | undefined, hidden: readonly string[], devices: readonly string[]): LandlockRule[] {
  const run = programs === undefined ? rights.execute : 0;
  const write = rights.write(asked);
  const writable = [...scratch, ...sorted.privateFolders, ...(sorted.writable ? [workspace] : sorted.writableParts)];
  const rules: LandlockRule[] = [
    { path: '/', rights: rights.list },
    ...['/usr', '/opt', ...extra].map((path) => ({ path, rights: rights.read | run })),
    ...['/etc', '/proc', '/run'].map((path) => ({ path, rights: rights.read })),
    { path: workspace, rights: rights.read | run },
    ...[...ownDevices, ...devices].map((path) => ({ path, rights: rights.device })),
    { path: '/dev/pts', rights: rights.terminals },
    // Readable as far as Landlock goes, so that the probe sees what the uid alone stops.
    { path: '/dev/.probe/root', rights: rights.readFile },
    ...writable.map((path) => ({ path, rights: write | run })),
    ...(programs?.landlock ?? []).map((path) => ({ path, rights: rights.execute })),
  ];
  // What is denied or hidden is covered by a closed folder, which nobody could open to grant something below it.
  return rules.filter((rule) => sorted.rules.denialAt(rule.path) === undefined && !hidden.some((path) => isBelow(rule.path, path)));
}

function workspacePlan(spec: SandboxPolicy['spec']): WorkspacePlan {
  const ephemeral = spec.isolation.filesystem === 'ephemeral';
  return { kind: ephemeral || spec.filesystem.overlay ? 'overlay' : 'direct', onEnd: ephemeral ? 'discard' : 'keep', bytes: spec.resources.maxDisk ?? 0 };
}

/** By how much the workspace itself may grow; 0: it is a layer, nothing of it is written, or nothing here could stop who writes. */
function measuredBytes(policy: SandboxPolicy, host: HostFacts, writes: boolean): number {
  return writes && writesDirectly(policy) && (host.limits === undefined || host.limits.freezer === true) ? (policy.spec.resources.maxDisk ?? 0) : 0;
}

function protectPlan(policy: SandboxPolicy, hasWorkspace: boolean, notes: string[]): ProtectPlan | null {
  const choice = policy.spec.filesystem.protect;
  if (!hasWorkspace) return null;
  if (choice === 'off') notes.push(protectionOff);
  const names = protectedFor(choice);
  const git = choice === 'default' || (choice !== 'off' && !choice.except.includes('git'));
  return names.length === 0 && !git ? null : { names, git };
}

function environment(options: PlanOptions): string[] {
  const paths = [...(options.agents ?? []).map((a) => `/opt/${a.name}/bin`), '/opt/node/bin', '/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin'];
  const env = [`PATH=${paths.join(':')}`, `HOME=${home}`, 'USER=agent', 'LOGNAME=agent', 'SHELL=/bin/bash', 'LANG=C.UTF-8', 'TMPDIR=/tmp', 'TERM=xterm-256color'];
  if ((options.certificates ?? '') !== '') {
    // Most programs read the system's bundle; these bring or prefer their own.
    for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO', 'PIP_CERT', 'CARGO_HTTP_CAINFO', 'AWS_CA_BUNDLE', 'DENO_CERT', 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH']) env.push(`${name}=/etc/ssl/certs/ca-certificates.crt`);
  }
  return [...env, ...(options.env ?? [])];
}

/** The special places of the policy, and what nobody can be asked about, read-only. */
function placesOf(rules: FileRules, refused: readonly string[], hidden: readonly string[]): View['places'] {
  const policyPlaces = specialPlaces(rules);
  const more = refused.filter((path) => rules.grantAt(path)?.access === 'write' && !policyPlaces.some((one) => one.path === path));
  const out = hidden.filter((path) => rules.denialAt(path) === undefined);
  return [...policyPlaces, ...more.map((path) => ({ path, what: 'freeze' as const, folder: true, aroundWritable: true })), ...out.map((path) => ({ path, what: 'mask' as const, folder: true, aroundWritable: rules.grantAt(path)?.access === 'write' }))].map((one) => ({ ...one, root: pinRoot(one.path, rules) }));
}

/** V8 sets 512 MiB aside for the code of each thread that runs JavaScript, and RLIMIT_DATA counts it untouched: room for a main thread and seven workers, where the policy names no limit. */
const setAside = 4 * 2 ** 30;

/** What the host cannot limit is not asked for: the launcher refuses a limit that does not hold. `checkHost` has said what is missing. */
function limitsFor(policy: SandboxPolicy, host: HostFacts, diskBytes: number): PlanLimits {
  const { resources } = policy.spec;
  const { memory, cpu } = host.limits ?? { memory: true, cpu: true };
  return {
    openFiles: resources.maxOpenFiles,
    pids: resources.maxPids,
    memoryBytes: memory ? resources.maxMemory : 0,
    ...(memory ? {} : { processBytes: resources.maxMemory + (isStated(policy, ['spec', 'resources', 'maxMemory']) ? 0 : setAside) }),
    cpuMillis: cpu ? Math.round(resources.maxCPU * 1000) : 0,
    ...(resources.timeout === undefined ? {} : { timeoutMs: resources.timeout }),
    ...(diskBytes === 0 ? {} : { diskBytes }),
  };
}

/**
 * The plan for one sandbox. Pure.
 * Throws NemoError: NEMO_E_PLAN_PATH (a path that cannot be shown), NEMO_E_PLAN_SYSCALL (a name that cannot be allowed or denied).
 */
export function planFor(given: SandboxPolicy, host: HostFacts, options: PlanOptions): LaunchPlan {
  // Only root sees a start in time, and somebody must be there to answer.
  const closed = options.escalations === 'refuse' || host.tier === 'C';
  const starts = closed ? withStartsDenied(given, (path) => host.program?.(path)?.path ?? path) : undefined;
  const whole = starts?.policy ?? given;
  // Somebody must be there to let it through.
  const watched = given.spec.mode === 'monitor' && options.escalations !== 'refuse' ? monitored(whole, starts?.ruleOf ?? ((rule) => rule)) : undefined;
  const policy = watched?.policy ?? whole;
  const spec = policy.spec;
  const sorted = sortPaths(policy, host);
  const escalation = escalationOf(policy, sorted.rules, { ...options, inKernel: host.tier === 'A' && watched === undefined, ...(watched && { watched }) });
  sorted.notes.push(...escalation.notes, ...(closed ? startRules(given).map(({ path, rule }) => `${rule} ${path} is out of sight: nobody can be asked here before a program starts.`) : []));
  const installed = [
    ...(host.nodeFolder === null ? [] : [{ path: '/opt/node/bin', source: host.nodeFolder, optional: false }]),
    ...(options.agents ?? []).map((a) => ({ path: `/opt/${a.name}`, source: a.source, optional: false })),
  ];
  // What the sandbox was given stays at its place.
  const shown = [...installed, ...sorted.binds.filter(({ path }) => !installed.some((one) => isBelow(path, one.path) || isBelow(one.path, path)))];
  const programs = execPlan(policy, host, shown, [workspace, ...scratch, ...sorted.privateFolders]);
  sorted.notes.push(...(programs?.notes ?? []));
  const devices = spec.resources.gpuAccess === 'full' ? (host.gpu ?? []) : [];
  const disk = spec.resources.maxDisk ?? 1024 * mebi;
  const view: View = {
    usrLinks: host.usrLinks,
    binds: shown,
    privateFolders: sorted.privateFolders,
    files: options.files ?? [],
    timeZone: host.timeZone,
    settings: (host.settings ?? []).filter((path) => host.bindRoots.some((root) => isBelow(path, root))),
    certificates: options.certificates ?? '',
    javaTrustStore: options.javaTrustStore ?? '',
    workspace: !options.hasWorkspace ? 'none' : sorted.writable ? 'writable' : 'read-only',
    places: placesOf(sorted.rules, escalation.refused, escalation.refusedHidden),
    devices,
    programs,
    sizes: { tmp: disk, home: disk, shm: Math.min(disk, 256 * mebi) },
  };
  const protect = protectPlan(policy, options.hasWorkspace, sorted.notes);
  const level = spec.syscalls.profile ?? spec.isolation.syscalls;
  const measured = measuredBytes(policy, host, options.hasWorkspace && (sorted.writable || sorted.writableParts.length > 0));
  if (measured > 0) sorted.notes.push(`resources.maxDisk is measured in the workspace, not kept by the kernel: when it is ${measured} bytes larger than at the start, everything in the sandbox is stopped until there is less. It can be more by what a disk takes in some hundredths of a second. \`requires: [disk-quota]\` refuses this; \`filesystem: { overlay: true }\` has a size that the kernel keeps.`);
  return {
    version: 1,
    hostname: options.hostname ?? 'sandbox',
    network: spec.isolation.network === 'none' ? 'none' : 'capture',
    view: [...viewSteps(view), ...escalation.steps],
    mode: spec.mode,
    workspace: workspacePlan(spec),
    rootBytes: 4 * mebi,
    landlock: { rules: landlockRules(sorted, escalation.removals, sorted.binds.map((b) => b.path), programs, [...escalation.refusedHidden, ...escalation.locks.filter((lock) => lock.hidden).map((lock) => lock.path)], devices), handleTcp: spec.isolation.network === 'none' },
    seccomp: { level, filter: seccompFilter({ level, allow: spec.syscalls.allow, deny: spec.syscalls.deny, removalsAsked: escalation.removals, asked: escalation.calls, onlyNamedPrograms: programs !== undefined, spaceByWriting: measured > 0 }) },
    identity: { seen: spec.process.user ?? null },
    limits: limitsFor(policy, host, measured),
    protect,
    audit: spec.auditLog.syscalls,
    recordRules: recordRules(given, { bindRoots: host.bindRoots, program: host.program, ...(host.gpu && { gpu: host.gpu }) }),
    escalate: escalation.escalate,
    locks: escalation.locks,
    // In monitor mode it keeps what is no rule of the policy's own, and openshelld watches for those as in the other tiers.
    lsm: host.tier === 'A' && !(options.off ?? []).includes('lsm') ? lsmPlan({ policy, rules: sorted.rules, escalate: watched === undefined ? escalation.escalate : [], programs, protect, privateFolders: sorted.privateFolders }) : null,
    off: options.off ?? [],
    env: environment(options),
    cwd: workspace,
    notes: sorted.notes,
  };
}
