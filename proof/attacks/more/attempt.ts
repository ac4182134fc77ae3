/** What an entry of the larger table says: judged once without a sandbox and once in each tier, and in B once more without the layers that it names. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LayerSwitch } from '@nemoclaw/contract';
import type { Switch } from '../attack.ts';
import type { Seen, World } from '../world.ts';

/** What stops an attack: layers that can be switched off, or something that is always there. `nnp`: no program gains privileges by being started; `kernel`: Linux, or how a sandbox is made in any case; `fresh`: nothing to be had was given; `release`: found when the workspace is given back; `lsm`: tier A's own program. */
export type Layer = Switch | LayerSwitch | 'nnp' | 'kernel' | 'fresh' | 'release' | 'lsm';
export type Tier = 'A' | 'B' | 'C';

export interface Attempt {
  readonly id: string;
  readonly title: string;
  /** Who can do it without a sandbox; `never`: it makes no sense or does harm there, and only the refusal is looked at. */
  readonly plain: 'user' | 'root' | 'never';
  /** What a kernel may lack; where it does, only the refusal is looked at. */
  readonly mayLack?: string;
  readonly spec?: string;
  readonly attempt: string;
  readonly won: (seen: Seen) => boolean;
  /** Looked at again and again while it runs: true once, and it has won. */
  readonly during?: (world: World) => boolean;
  /** What stops it in B: with all of these off it works there, unless one of them is always there. */
  readonly by: readonly Layer[];
  /** Where it is stopped by something else. */
  readonly byIn?: Partial<Readonly<Record<Tier, readonly Layer[]>>>;
  /** Where it works: this sentence is among what a policy with `spec` is told not to enforce there, and without best-effort such a policy is refused. */
  readonly admitted?: Partial<Readonly<Record<Tier, RegExp>>>;
}

export const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};
export const gotSecret = ({ world, loot }: Seen): boolean => loot.includes(world.secret);
export const gotShared = ({ world, loot }: Seen): boolean => loot.includes(world.shared);
export const heardToken = ({ world, heard }: Seen): boolean => heard.includes(world.token);
export const said = (pattern: RegExp) => ({ loot }: Seen): boolean => pattern.test(loot);
export const inWorkspace = (name: string) => ({ world }: Seen): boolean => read(join(world.workspace, name)).includes(world.token);
export const inShown = (name: string) => ({ world }: Seen): boolean => read(join(world.shown, name)).includes(world.token);
export const inScratch = (name: string) => ({ world }: Seen): boolean => read(join(world.scratch, name)).includes(world.token);
export const isThere = (name: string) => ({ world }: Seen): boolean => existsSync(join(world.workspace, name));
export const neighbourGone = ({ world }: Seen): boolean => !world.neighbourLives;
/** Of `tries call`: the kernel did it, or refused only what was asked of it, not who asked. */
export const reached = said(/^(= |E(?!PERM|ACCES|NOSYS|OPNOTSUPP|AFNOSUPPORT|PROTONOSUPPORT|SOCKTNOSUPPORT|SRCH|XDEV))/);
/** A call by its number; see native/call.c. */
export const call = (words: string): string => `$TRY call ${words} >$W/loot`;
