/** What an entry of the table says, and the words it uses. */
import type { LaunchPlan, LayerSwitch } from '@nemoclaw/contract';
import type { Seen } from './world.ts';

/** `mounts`: what is locked inside the workspace (hidden, read-only, pinned, noexec); `view`: everything else of the host that is shown or not, and whether programs run from it. `limits`: of memory and processes. `protect`: of names that programs of the owner obey. */
export type Switch = 'view' | 'mounts' | 'uid' | 'landlock' | 'seccomp' | 'netns' | 'pidns' | 'limits' | 'protect';
export const switches: readonly Switch[] = ['view', 'mounts', 'uid', 'landlock', 'seccomp', 'netns', 'pidns', 'limits', 'protect'];

export interface Attack {
  readonly id: string;
  readonly title: string;
  /** All the layers that stop it, each without the others' help. One only: without that layer it works. */
  readonly stops: readonly Switch[];
  /** More that must be off for it to work with all of `stops` off, and that alone stops nothing. */
  readonly with?: readonly LayerSwitch[];
  /** Who can do it without a sandbox. */
  readonly plain: 'user' | 'root';
  /** What a kernel may lack; where it does, only the refusal is looked at. */
  readonly mayLack?: string;
  /** It works in the sandbox too, and the product says so: this sentence is among what a policy with `spec` is told not to enforce. */
  readonly admitted?: RegExp;
  /** More of the policy's spec, in YAML flow style. */
  readonly spec?: string;
  /** For `sh -c`, the same in and outside the sandbox; for the variables see world.ts. */
  readonly attempt: string;
  /** How the world shows that it worked. */
  readonly won: (seen: Seen) => boolean;
}

/** The plan without some of its layers. */
export function without(plan: LaunchPlan, off: readonly (Switch | LayerSwitch)[]): LaunchPlan {
  const locked = new Set(['mask', 'freeze', 'pin', 'thaw']);
  const unlocked = plan.view.filter((step) => !(locked.has(step.do) && step.path.startsWith('/workspace'))).map((step) => (step.do === 'workspace' ? { ...step, exec: true } : step));
  const view = off.includes('mounts') ? unlocked : plan.view;
  const limits = off.includes('limits') ? { openFiles: 4096, pids: 4096, memoryBytes: 2 ** 31, cpuMillis: 2000 } : plan.limits;
  return { ...plan, view, limits, protect: off.includes('protect') ? null : plan.protect, off: off.filter((one) => one !== 'mounts' && one !== 'limits' && one !== 'protect') };
}
