/** For tests: a real sandbox from a few lines of policy, in a workspace of its own that is removed afterwards. */
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSandboxPolicy, type LaunchPlan, type LayerSwitch } from '@nemoclaw/contract';
import { readHostFacts, type HostFacts } from './host-facts.ts';
import { launchAlone, type AloneOptions, type AloneResult } from './launch-alone.ts';
import { policyFactsOf, readLaunchFacts } from './launch-facts.ts';
import { planFor } from './plan-for.ts';

export interface Trial {
  /** Host folder that is /workspace inside. */
  readonly workspace: string;
  readonly plan: LaunchPlan;
  /** Runs `sh -c script`. */
  sh(script: string): Promise<AloneResult>;
  run(command: readonly string[], input?: string): Promise<AloneResult>;
  remove(): void;
}

/** `spec`: the policy's spec in YAML flow style, e.g. `isolation: { filesystem: workspace }`. */
export function trial(spec: string, more: { readonly off?: readonly LayerSwitch[]; readonly change?: (plan: LaunchPlan) => LaunchPlan; readonly uid?: number; readonly as?: AloneOptions['as']; readonly limits?: NonNullable<HostFacts['limits']>; readonly bindRoot?: string; readonly gpu?: readonly string[] } = {}): Trial {
  const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: trial }\nspec: { ${spec} }\n`, 'trial.yaml');
  const found = more.as === undefined ? undefined : policyFactsOf(readLaunchFacts(more.as));
  const limits = more.limits ?? found?.limits;
  const host = { ...readHostFacts({ nodeBinary: process.execPath, ...(more.gpu && { gpu: [] }) }), ...(more.gpu && { gpu: more.gpu }), ...(limits && { limits }) };
  const made = planFor(policy, host, { hasWorkspace: true, escalations: 'refuse', ...(more.off ? { off: more.off } : {}) });
  const plan = more.change?.(made) ?? made;
  const workspace = mkdtempSync(join(tmpdir(), 'openshell-trial-'));
  if (more.as) chownSync(workspace, more.as.uid, more.as.gid);
  const run = (command: readonly string[], input?: string): Promise<AloneResult> =>
    launchAlone(plan, { command, workspace, bindRoots: more.bindRoot === undefined ? host.bindRoots : [...host.bindRoots, more.bindRoot], ...(more.gpu && { devices: more.gpu }), stdio: 'pipe', testing: more.off !== undefined, ...(more.uid === undefined ? {} : { uid: more.uid }), ...(more.as && { as: more.as }), ...(input === undefined ? {} : { input }) });
  return { workspace, plan, run, sh: (script) => run(['/bin/sh', '-c', script]), remove: () => rmSync(workspace, { recursive: true, force: true }) };
}

/** The usual policy of a coding agent. */
export const workspaceSpec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }';
