/** `openshell doctor`: what this host enforces for the caller, found by launching a sandbox and trying. */
import { release } from 'node:os';
import { loadSandboxPolicy, unenforced } from '@nemoclaw/contract';
import { readWords, usage } from './cli-words.ts';
import { readHostFacts } from './host-facts.ts';
import { launchAlone } from './launch-alone.ts';
import { kernelSetting, namespaceHint, policyFactsOf, readLaunchFacts, securityModules, type LaunchFacts } from './launch-facts.ts';
import type { HostReport } from './openshelld-client.ts';
import { planFor } from './plan-for.ts';
import { AloneDaemon } from './sandbox-daemon.ts';

const plainPolicy = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: doctor }
spec: { isolation: { network: restricted, filesystem: read-only, syscalls: minimal } }
`;

const layers: Readonly<Record<string, string>> = {
  view: 'only what is named exists (mount namespace, pivot_root)',
  landlock: 'files and abstract sockets by Landlock',
  uid: 'a user of its own',
  caps: 'no capabilities',
  netns: 'a network with loopback only',
  pidns: 'its own processes only',
  seccomp: 'a list of allowed system calls',
  all: 'what several layers stop together',
};

export interface DoctorReport {
  readonly tier: 'A' | 'B' | 'C';
  /** Why it is this tier. */
  readonly because: string;
  readonly kernel: string;
  readonly securityModules: readonly string[];
  /** Landlock ABI; 0: none. */
  readonly landlock: number;
  readonly limits: LaunchFacts['cgroup'];
  readonly launched: boolean;
  /** Why nothing could be launched, or ''. */
  readonly why: string;
  /** Every try by name; false: it was not stopped. */
  readonly probe: Readonly<Record<string, boolean>>;
  /** ms */
  readonly phases: Readonly<Record<string, number>>;
  readonly notEnforced: readonly string[];
  /** What to do about it, one sentence each. */
  readonly hints: readonly string[];
}

/** By Landlock ABI: what an older one lacks (Documentation/userspace-api/landlock.rst, Previous limitations). */
const landlockSince: readonly (readonly [abi: number, lacks: string])[] = [
  [1, 'Landlock is missing: no sandbox is started without it.'],
  [2, 'Renaming and linking between folders is refused altogether (Landlock ABI 2, Linux 5.19).'],
  [3, 'Landlock does not stop truncation; mounts do (ABI 3, Linux 6.2).'],
  [4, 'network: none leaves TCP on loopback (Landlock ABI 4, Linux 6.7).'],
  [6, 'Landlock does not scope signals and abstract sockets; the namespaces do (ABI 6, Linux 6.12).'],
];

function hintsFor(facts: LaunchFacts): string[] {
  const hints: string[] = [];
  const namespaces = namespaceHint(facts, kernelSetting);
  if (namespaces !== '') hints.push(namespaces);
  if (facts.rootless) hints.push('As root each sandbox has a host user of its own (tier B).');
  if (!facts.cgroup.memory || !facts.cgroup.cpu) {
    hints.push(facts.rootless ? 'For memory and CPU limits: `systemd-run --user --scope -p Delegate=yes openshell run …` on a host with control groups version 2.' : 'For memory and CPU limits: mount the memory and cpu control groups, or give this service its own (`Delegate=yes`).');
  }
  return hints;
}

/** The tier that a sandbox which asks and records would have (`createSandbox`, `openshell run` with escalations): openshelld tries to load its programs. */
async function askOpenshelld(bindRoots: readonly string[]): Promise<Pick<HostReport, 'tier' | 'tierWhy' | 'seen'>> {
  const { daemon, release } = await AloneDaemon.take({ bindRoots, devices: [], holdSeconds: 60, testing: false });
  try {
    return await daemon.client.host();
  } finally {
    await release();
  }
}

/** Tries everything once; some tens of ms. Throws NEMO_E_NATIVE where the native part is not built. */
export async function examine(): Promise<DoctorReport> {
  const facts = readLaunchFacts();
  const { limits } = policyFactsOf(facts);
  const host = { ...readHostFacts(), limits };
  const { tier, tierWhy, seen } = await askOpenshelld(host.bindRoots);
  const policy = loadSandboxPolicy(plainPolicy, 'doctor');
  const base = {
    tier,
    because: facts.rootless ? 'the caller is not root' : tierWhy,
    kernel: release(),
    securityModules: securityModules(),
    landlock: facts.landlock,
    limits: facts.cgroup,
    hints: hintsFor(facts),
  };
  if (facts.namespaces !== '') return { ...base, launched: false, why: facts.namespaces, probe: {}, phases: {}, notEnforced: ['Everything: nothing can be launched.'] };
  const result = await launchAlone(planFor(policy, host, { hasWorkspace: false, escalations: 'refuse' }), { command: ['/bin/true'], bindRoots: host.bindRoots, stdio: 'pipe' });
  const always = [
    ...(tier === 'C' ? ['To the host the agent is the caller: no user of its own.', 'The start of a program is never held for a person: only root sees it in time.'] : []),
    'What is written to a workspace itself has a size only where a policy names one, which is measured; private folders and layers have one that the kernel keeps.',
    ...(tier === 'A' || facts.rootless ? [] : [`No tier A: ${tierWhy}.`]),
    ...(seen || facts.rootless ? [] : ['System calls are not counted: the eBPF program that does it cannot be loaded here.']),
  ];
  const old = landlockSince.filter(([abi]) => facts.landlock < abi).map(([, lacks]) => lacks);
  return { ...base, launched: result.code === 0, why: result.code === 0 ? '' : result.stderr.trim(), probe: result.report?.probe ?? {}, phases: result.report?.phases ?? {}, notEnforced: [...unenforced(policy, { tier, limits }), ...old, ...always] };
}

function layerLines({ probe, tier }: DoctorReport): string[] {
  return Object.entries({ ...layers, ...(tier === 'C' && { uid: 'no way to become another user' }) }).flatMap(([layer, what]) => {
    const tries = Object.entries(probe).filter(([name]) => name.startsWith(`${layer}.`));
    const open = tries.filter(([, stopped]) => !stopped).map(([name]) => name);
    return tries.length === 0 ? [] : [`  ${open.length === 0 ? 'ok  ' : 'OPEN'} ${layer.padEnd(9)}${what} (${tries.length} ${tries.length === 1 ? 'try' : 'tries'}${open.length > 0 ? `; not stopped: ${open.join(', ')}` : ''})`];
  });
}

/** Prints the report; 0 if a sandbox could be launched and every try was stopped. */
export async function doctor(args: readonly string[]): Promise<number> {
  const { flags, rest } = readWords('doctor', args, ['--json'], []);
  if (rest.length > 0) throw usage(`doctor takes no ${String(rest[0])}.`);
  const report = await examine();
  const good = report.launched && Object.values(report.probe).every((stopped) => stopped);
  if (flags.has('--json')) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return good ? 0 : 1;
  }
  const lines = [`tier ${report.tier} (${report.because}), Linux ${report.kernel}, Landlock ABI ${report.landlock}, security modules: ${report.securityModules.join(', ') || 'unknown'}`];
  if (!report.launched) lines.push(`no sandbox could be launched: ${report.why}`);
  lines.push(...layerLines(report));
  for (const [name, what] of [['memory', 'memory of all together'], ['cpu', 'CPU time'], ['pids', 'processes']] as const) {
    if (report.launched) lines.push(`  ${report.limits[name] ? 'ok  ' : 'none'} limits   ${what} by control group${name === 'pids' && !report.limits.pids ? '; counted by user namespace or uid instead' : ''}`);
  }
  if (report.launched) lines.push(`launched in ${report.phases['total']?.toFixed(1) ?? '?'} ms`);
  for (const text of report.notEnforced) lines.push(`not enforced: ${text}`);
  for (const text of report.hints) lines.push(`hint: ${text}`);
  process.stdout.write(`${lines.join('\n')}\n`);
  return good ? 0 : 1;
}
