/** LaunchPlan: everything a sandbox is made of, computed in TypeScript, checked against the host's bounds and carried out by the C launcher. */
import type { RuleRef } from './decision.ts';

/** One step of building the sandbox's root, in order. Paths are absolute inside the sandbox, without `.`, `..` or empty segments; no step follows a symbolic link. */
export type ViewStep =
  | { readonly do: 'dir'; readonly path: string; readonly mode: number }
  /** `%UID%` and `%GID%` in the text become the ids that the agent sees. */
  | { readonly do: 'file'; readonly path: string; readonly mode: number; readonly text: string }
  /** Bytes as small hex digits, 64 KiB at most, written as they are. */
  | { readonly do: 'file'; readonly path: string; readonly mode: number; readonly hex: string }
  | { readonly do: 'link'; readonly path: string; readonly to: string }
  /** Private, nosuid, nodev; owned by the agent or by root. `exec` false adds noexec. */
  | { readonly do: 'tmpfs'; readonly path: string; readonly mode: number; readonly bytes: number; readonly owner: 'agent' | 'root'; readonly exec: boolean }
  /** A host file or folder, always read-only, nosuid, nodev; not its submounts. `source` must lie below the host's bind roots. */
  | { readonly do: 'bind'; readonly path: string; readonly source: string; readonly optional: boolean; readonly noexec?: true }
  /** A new file: the host file `source` (below the bind roots; may be missing) followed by `text`. */
  | { readonly do: 'concat'; readonly path: string; readonly source: string; readonly text: string }
  /** null, zero, full, random, urandom, tty, ptmx, fd, stdin, stdout, stderr, pts, shm. */
  | { readonly do: 'dev'; readonly path: string; readonly shmBytes: number }
  /** The host's own node, at the same path below /dev: a character device that the host's bounds name and the agent may use by its own rights; nosuid, noexec. */
  | { readonly do: 'device'; readonly path: string }
  /** Of the sandbox's own pid namespace, read-only, other people's processes invisible. */
  | { readonly do: 'proc'; readonly path: string }
  /** The registered folder, idmapped to the agent, nosuid, nodev. */
  | { readonly do: 'workspace'; readonly path: string; readonly readOnly: boolean; readonly exec: boolean }
  /** Makes a folder a mount point of its own, so that renaming it gives EBUSY. */
  | { readonly do: 'pin'; readonly path: string }
  /** Read-only from here down, locked. `missing` as for `mask`; `skip` where left out. */
  | { readonly do: 'freeze'; readonly path: string; readonly missing?: 'create-dir' | 'create-file' | 'skip' }
  /** Writable again from here down, inside a read-only workspace. */
  | { readonly do: 'thaw'; readonly path: string }
  /** Programs may be started from here down, inside a noexec mount; nothing where it is missing. */
  | { readonly do: 'run'; readonly path: string }
  /**
   * Keeps a mount of the same files for openshelld, out of the sandbox's reach, as they are before they are locked: `writable` as they were, or `read-only`; `view`: of the whole root.
   * What is missing is made as for `mask`; a place that is not there and cannot be made has an empty twin.
   */
  | { readonly do: 'twin'; readonly path: string; readonly as: 'writable' | 'read-only' | 'view'; readonly missing: 'create-dir' | 'create-file' | 'skip' }
  /** Hides what is there, locked: an empty folder or file that nobody may open. `missing`: make a placeholder to hide, or skip. */
  | { readonly do: 'mask'; readonly path: string; readonly missing: 'create-dir' | 'create-file' | 'skip' };

export interface LandlockRule {
  readonly path: string;
  /** LANDLOCK_ACCESS_FS_* bits; the C drops those that the kernel or a non-folder does not know. */
  readonly rights: number;
}

/**
 * What a person may be asked about. `write`: change of content, mode, owner, times or attributes; `create`: a new name (file, folder, link, pipe, socket);
 * `read`: opening for reading; `exec`: starting a program; `connect`: to a Unix socket by its path; `call`: a system call by its name.
 */
export type EscalateOp = 'delete' | 'rename' | 'write' | 'create' | 'read' | 'exec' | 'connect' | 'call';

/** An operation on anything at or below `path` waits for a person. */
export interface EscalateRule {
  readonly path: string;
  /** `start`: execve(2) itself, seen in monitor mode only and told as `exec`. */
  readonly on: readonly (EscalateOp | 'start')[];
  /** With `call` alone; `path` is '/'. */
  readonly calls?: readonly AskedCall[];
  /** Monitor mode: nobody is asked; what would have become of it is recorded where it would have been denied. `rank`: a denial beats a question (2), that a grant; then the longer path counts. */
  readonly watch?: { readonly would: 'deny' | 'allow'; readonly rank: 1 | 3; readonly rule: RuleRef };
}

/** A system call that always waits. `args`: how many a person is shown. `goesOn`: once approved, the kernel does it; else openshelld does. */
export interface AskedCall {
  readonly name: string;
  readonly nr: number;
  readonly args: number;
  readonly goesOn: boolean;
}

/** A place that is locked inside the sandbox: read-only, or `hidden` where reading is asked about. openshelld works in its twin. */
export interface PlanLock {
  readonly path: string;
  readonly hidden: boolean;
}

export interface PlanLimits {
  /** RLIMIT_NOFILE. */
  readonly openFiles: number;
  /** Processes and threads: cgroup pids.max, and RLIMIT_NPROC since the uid is the sandbox's own. */
  readonly pids: number;
  /** Of the whole sandbox, by control group; 0: none. What cannot be enforced fails the launch. */
  readonly memoryBytes: number;
  /** Private writable memory of one process (RLIMIT_DATA), where no control group counts the sandbox's. */
  readonly processBytes?: number;
  /** Thousandths of a CPU: 2000 = two CPUs; 0: none. What cannot be enforced fails the launch. */
  readonly cpuMillis: number;
  /** Wall time from the start of a command in an idle sandbox until everything in it is ended; absent: not limited. */
  readonly timeoutMs?: number;
  /** How many bytes a workspace that is written directly may grow by, counted while it runs (docs/decisions/0034); absent: not limited. */
  readonly diskBytes?: number;
}

/** How the workspace is written. */
export interface WorkspacePlan {
  /** `overlay`: changes go to a layer of their own; the folder stays as it is. */
  readonly kind: 'direct' | 'overlay';
  /** What becomes of the layer when the sandbox ends. */
  readonly onEnd: 'keep' | 'discard';
  /** Bytes that may be written to the layer; 0: not limited. */
  readonly bytes: number;
}

/** A name in the workspace that programs of its owner obey by themselves: one or two segments, letters compared without regard to case. */
export interface ProtectedName {
  readonly path: string;
  /** `repository`: in the workspace itself and in every folder that has a `.git`. `everywhere`: in every folder but below node_modules. */
  readonly scope: 'everywhere' | 'repository';
}

/** What is looked for when the sandbox starts (and then locked read-only) and again when its workspace is given back. */
export interface ProtectPlan {
  readonly names: readonly ProtectedName[];
  /** Hooks, settings that name programs and pointers of git directories, wherever they lie. */
  readonly git: boolean;
}

/** `connect`: to a Unix socket of that name. `write`: content, mode, owner, times, extended attributes. `map`: into memory, executable; it cannot be asked about. */
export type LsmRight = 'read' | 'write' | 'create' | 'delete' | 'rename' | 'exec' | 'map' | 'connect';

/** Of the rules at and above an object the nearest counts, whole; what it neither denies nor asks about is left to the other layers. */
export interface LsmRule {
  /** As seen inside; what is not there is skipped. */
  readonly path: string;
  readonly deny: readonly LsmRight[];
  readonly ask: readonly LsmRight[];
  /** Asked about for the object itself, not for what is below it. */
  readonly askSelf: readonly LsmRight[];
  /** Holds for the name, too: whatever is made there later is under the rule. The folder that has the name needs a rule. */
  readonly named: boolean;
  /** Protected names may not be made or changed below it. */
  readonly protect: boolean;
  /** Index in `escalate`, for a person to see; null: none. */
  readonly escalate: number | null;
}

/** Tier A: what BPF LSM decides for a sandbox. The most rights that any layer leaves are what the agent has. */
export interface LsmPlan {
  readonly rules: readonly LsmRule[];
  /** For what lies below no rule: pipes, files in memory. */
  readonly elsewhere: { readonly deny: readonly LsmRight[]; readonly ask: readonly LsmRight[] };
  /** A name, or `folder/name`, at any depth below a rule with `protect`; at most 27 bytes a part. At most 63 of all lists have a folder. */
  readonly protectedNames: readonly string[];
  /** The same, directly in the place of the rule with `protect`. */
  readonly topNames: readonly string[];
  /** `folder/name` that may not be made anywhere below folders named in `hooksBelow`. */
  readonly hooks: readonly string[];
  readonly hooksBelow: readonly string[];
  /** Below folders of these names nothing is protected. */
  readonly unprotectedFolders: readonly string[];
  /** Address families of which sockets may be made, AF_*. */
  readonly families: readonly number[];
}

/** Layers that a test may switch off one at a time; refused unless the host says `testing: true`. Each has tries of its own in the probe. */
export const layerSwitches = ['landlock', 'seccomp', 'uid', 'caps', 'view', 'netns', 'pidns'] as const;
/** `lsm`: what the kernel's program of tier A decides. */
export type LayerSwitch = (typeof layerSwitches)[number] | 'lsm';

/** For the record only: the rule that a refusal belongs to, by the nearest path above it or by the name of the call; null: no rule of the policy. */
export interface RecordRules {
  readonly paths: readonly { readonly path: string; readonly read: RuleRef | null; readonly write: RuleRef | null; readonly exec: RuleRef | null }[];
  readonly calls: Readonly<Record<string, RuleRef>>;
}

export interface LaunchPlan {
  readonly version: 1;
  readonly hostname: string;
  /** `capture`: TCP to our listener, DNS to our socket, all else rejected. `none`: loopback only, without TCP. */
  readonly network: 'none' | 'capture';
  readonly view: readonly ViewStep[];
  /** Bytes of the root tmpfs (synthesised files). */
  readonly rootBytes: number;
  readonly landlock: { readonly rules: readonly LandlockRule[]; readonly handleTcp: boolean };
  /** `monitor`: what a rule would deny or ask about is decided, recorded and let through; isolation stays. */
  readonly mode: 'enforce' | 'monitor';
  readonly workspace: WorkspacePlan;
  /** `filter`: struct sock_filter[] as hex, little endian, 8 bytes an instruction. */
  readonly seccomp: { readonly level: string; readonly filter: string };
  /** `seen`: the uid and gid shown inside (a user namespace of one entry), or null: the host uid. */
  readonly identity: { readonly seen: number | null };
  readonly limits: PlanLimits;
  /** null: nothing in the workspace is protected. */
  readonly protect: ProtectPlan | null;
  /** Which system calls go on record: none, counted with refusals told, or also each success of a call that names a file, a host or a process. */
  readonly audit: 'off' | 'counts' | 'full';
  readonly recordRules: RecordRules;
  readonly escalate: readonly EscalateRule[];
  /** Outer before inner. Each has a `twin` step as `writable`; a hidden one another as `read-only`, and the first hidden one before it one as `view`. */
  readonly locks: readonly PlanLock[];
  /** null: this host has no tier A. */
  readonly lsm: LsmPlan | null;
  /** Layers switched off, for tests only; [] otherwise. */
  readonly off: readonly LayerSwitch[];
  /** Environment that every exec starts from, "K=V". */
  readonly env: readonly string[];
  /** Working directory of execs that name none. */
  readonly cwd: string;
  /** What the policy asks for that this plan cannot enforce or had to narrow, one plain sentence each. */
  readonly notes: readonly string[];
}
