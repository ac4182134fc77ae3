/** What can be measured: each group makes its figures in one go, so that they share a run. */
import type { Figures } from './figure.ts';
import { approvals } from './measure-approvals.ts';
import { calls, host } from './measure-calls.ts';
import { command } from './measure-command.ts';
import { fairness } from './measure-fairness.ts';
import { launches } from './measure-launches.ts';
import { lives } from './measure-lives.ts';
import { memory } from './measure-memory.ts';
import { pipeline } from './measure-pipeline.ts';
import { policyChange } from './measure-policy-change.ts';
import { rooms } from './measure-rooms.ts';
import { scale } from './measure-scale.ts';
import { work } from './measure-work.ts';
import type { Programs } from './programs.ts';
import type { World } from './world.ts';

/** What a measurement has at hand. */
export interface Bench {
  readonly programs: Programs;
  /** Whether bubblewrap can be run. */
  readonly hasBwrap: boolean;
  /** Whether sandbox-runtime can be run. */
  readonly hasSrt: boolean;
  /** Of three values the one for this run: a short one (`--quick`), the usual one, a long one (`--full`). */
  by<T>(quick: T, usual: T, full: T): T;
  /** Whether the person asked for this figure; what is not asked for may be left out. */
  wants(name: string): boolean;
  /** The instance, started when first asked for. */
  world(): Promise<World>;
  /** A line for the person who waits. */
  say(text: string): void;
  /** What has to be ended where the person ends it all. */
  onEnd(end: () => void): void;
}

export interface Group {
  readonly names: readonly string[];
  /** What a short run makes of them; without it, all. */
  readonly quick?: readonly string[];
  run(bench: Bench): Promise<Figures>;
}

/** In the order in which they run: what needs no instance comes first, so that nothing of it disturbs. */
export const groups: readonly Group[] = [...rooms, host, launches, calls, work, lives, pipeline, policyChange, approvals, fairness, command, memory, scale];
