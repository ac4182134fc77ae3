/** What a sandbox would have that this caller makes on this host without a daemon: asked of the launcher, which tries. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { NemoError, type PolicyHostFacts } from '@nemoclaw/contract';
import { launcherPath } from './launch-alone.ts';

export interface LaunchFacts {
  /** True: the sandbox lives in a user namespace of the caller, and to the host the agent is the caller. */
  readonly rootless: boolean;
  /** Landlock ABI; 0: none. */
  readonly landlock: number;
  /** Why no namespaces can be made, "step: reason"; '' if they can. */
  readonly namespaces: string;
  /** Which limits really held when one group was made and removed again. */
  readonly cgroup: Readonly<Record<'v2' | 'memory' | 'pids' | 'cpu' | 'freezer', boolean>>;
}

/** A few ms: makes namespaces and control groups, and removes them. `as`: another person, where the caller is root. Throws NEMO_E_NATIVE. */
export function readLaunchFacts(as?: { readonly uid: number; readonly gid: number }): LaunchFacts {
  if (!existsSync(launcherPath)) throw new NemoError('NEMO_E_NATIVE', { what: `${launcherPath} is missing.` });
  const { stdout, stderr, error } = spawnSync(launcherPath, ['--facts'], { encoding: 'utf8', timeout: 10_000, ...as });
  try {
    return JSON.parse(stdout) as LaunchFacts;
  } catch (cause) {
    throw new NemoError('NEMO_E_NATIVE', { what: 'The launcher does not say what this host has.', why: error?.message ?? stderr, cause });
  }
}

/** The same, as the check of a policy asks for it. */
export function policyFactsOf(facts: LaunchFacts): PolicyHostFacts & { readonly limits: { readonly memory: boolean; readonly cpu: boolean; readonly freezer: boolean } } {
  return { tier: facts.rootless ? 'C' : 'B', limits: { memory: facts.cgroup.memory, cpu: facts.cgroup.cpu, freezer: facts.cgroup.freezer } };
}

/** What a person can do about it, in one sentence; '' where namespaces can be made. `setting`: reads a file below /proc/sys, undefined if it is not there. */
export function namespaceHint(facts: LaunchFacts, setting: (name: string) => string | undefined): string {
  if (facts.namespaces === '') return '';
  if (setting('user/max_user_namespaces') === '0') return 'User namespaces are switched off: `sysctl -w user.max_user_namespaces=15000` as root, or run it as root.';
  if (setting('kernel/unprivileged_userns_clone') === '0') return 'User namespaces are for root only: `sysctl -w kernel.unprivileged_userns_clone=1` as root, or run it as root.';
  if (setting('kernel/apparmor_restrict_unprivileged_userns') === '1') return 'AppArmor keeps user namespaces from programs without a profile: `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` as root, or run it as root.';
  if (facts.namespaces.startsWith('a private /proc')) return 'This container hides parts of /proc, and then no new one can be mounted: start the container without masked paths, or run it as root.';
  return 'Run it as root, or allow unprivileged user namespaces on this host.';
}

/** What can be enforced here, for checkHost and planFor. Throws NEMO_E_ROOT with what to do where no sandbox can be made, NEMO_E_NATIVE. */
export function launchableHere(): ReturnType<typeof policyFactsOf> {
  const facts = readLaunchFacts();
  const hint = namespaceHint(facts, kernelSetting);
  if (hint !== '') throw new NemoError('NEMO_E_ROOT', { what: 'No sandbox can be made here.', why: facts.namespaces, fix: hint });
  return policyFactsOf(facts);
}

/** The text of /proc/sys/NAME, or undefined. */
export function kernelSetting(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Security modules that the kernel was started with; [] where that cannot be read. */
export function securityModules(): string[] {
  try {
    return readFileSync('/sys/kernel/security/lsm', 'utf8').trim().split(',');
  } catch {
    return [];
  }
}

/** Whether tier A is worth a try: its programs are loaded by openshelld, which then knows. */
export function mayHaveTierA(): boolean {
  return process.getuid?.() === 0 && securityModules().includes('bpf');
}
