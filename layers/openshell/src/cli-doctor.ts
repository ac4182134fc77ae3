/** `openshell doctor`: what this host enforces, found by launching a sandbox and trying. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { readHostFacts } from './host-facts.ts';
import { launchAlone } from './launch-alone.ts';
import { planFor } from './plan-for.ts';

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
  readonly tier: 'B' | 'C';
  readonly kernel: string;
  readonly securityModules: readonly string[];
  readonly launched: boolean;
  readonly why: string;
  readonly probe: Readonly<Record<string, boolean>>;
  readonly phases: Readonly<Record<string, number>>;
  readonly notEnforced: readonly string[];
}

function securityModules(): string[] {
  try {
    return readFileSync('/sys/kernel/security/lsm', 'utf8').trim().split(',');
  } catch {
    return [];
  }
}

async function examine(): Promise<DoctorReport> {
  const host = readHostFacts();
  const always = ['The size of a workspace on disk is not limited; private folders are.', 'No tier A: decisions by eBPF LSM are not used by openshell on its own.'];
  const base = { kernel: release(), securityModules: securityModules() };
  if (process.getuid?.() !== 0) {
    return { ...base, tier: 'C', launched: false, why: 'Not root: rootless sandboxes are not part of this version.', probe: {}, phases: {}, notEnforced: ['Everything: nothing can be launched.'] };
  }
  const plan = planFor(loadSandboxPolicy(plainPolicy, 'doctor'), host, { hasWorkspace: false, escalations: 'refuse' });
  const result = await launchAlone(plan, { command: ['/bin/true'], bindRoots: host.bindRoots, stdio: 'pipe' });
  const complaints = result.stderr.trim();
  const limits = complaints.includes('are not limited') ? [complaints] : [];
  return { ...base, tier: 'B', launched: result.code === 0, why: result.code === 0 ? '' : complaints, probe: result.report?.probe ?? {}, phases: result.report?.phases ?? {}, notEnforced: [...limits, ...always] };
}

/** Prints the report; 0 if a sandbox could be launched and every try was stopped. */
export async function doctor(json: boolean): Promise<number> {
  const report = await examine();
  const good = report.launched && Object.values(report.probe).every((stopped) => stopped);
  if (json) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return good ? 0 : 1;
  }
  const lines = [`tier ${report.tier}, Linux ${report.kernel}, security modules: ${report.securityModules.join(', ') || 'unknown'}`];
  if (!report.launched) lines.push(`no sandbox could be launched: ${report.why}`);
  for (const [layer, what] of Object.entries(layers)) {
    const tries = Object.entries(report.probe).filter(([name]) => name.startsWith(`${layer}.`));
    const open = tries.filter(([, stopped]) => !stopped).map(([name]) => name);
    if (tries.length > 0) lines.push(`  ${open.length === 0 ? 'ok  ' : 'OPEN'} ${layer.padEnd(9)}${what} (${tries.length} ${tries.length === 1 ? 'try' : 'tries'}${open.length > 0 ? `; not stopped: ${open.join(', ')}` : ''})`);
  }
  if (report.launched) lines.push(`launched in ${report.phases['total']?.toFixed(1) ?? '?'} ms`);
  for (const text of report.notEnforced) lines.push(`not enforced: ${text}`);
  process.stdout.write(`${lines.join('\n')}\n`);
  return good ? 0 : 1;
}
