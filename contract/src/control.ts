/** Messages between openshelld and the services on the control channel: one JSON object per SEQPACKET packet, descriptors attached to the packet. Golden vectors in contract/vectors/control. */
import type { LedgerEvent } from './events.ts';
import type { EscalateOp, EscalateRule, LsmPlan, PlanLimits, RecordRules } from './plan.ts';

/** Service -> openshelld, first packet after start and after every reset. */
export interface Hello {
  readonly t: 'hello';
  readonly role: 'gateway' | 'worker' | 'ledger';
  readonly pid: number;
}

// ---- openshelld -> any service
export type FromOpenshelld =
  /** fds: [stream socket to the peer]. `peer` e.g. gateway, worker:1, ledger, openshelld. */
  | { readonly t: 'link'; readonly peer: string }
  | { readonly t: 'peer.gone'; readonly peer: string }
  /** openshelld restarted; state follows (inventory to the gateway, attach to the workers). */
  | { readonly t: 'reset' }
  | { readonly t: 'reply'; readonly id: number; readonly ok: true; readonly result: unknown }
  | { readonly t: 'reply'; readonly id: number; readonly ok: false; readonly error: string; readonly code: string }
  // -> worker. fds: [tcp transparent listener, udp dns socket]
  | { readonly t: 'attach'; readonly sandbox: string }
  | { readonly t: 'detach'; readonly sandbox: string }
  // -> ledger
  /** openshelld's own events; the ledger acknowledges nothing here. `seq` is without gaps across restarts of openshelld. */
  | { readonly t: 'event'; readonly seq: number; readonly event: LedgerEvent }
  | { readonly t: 'signed'; readonly id: number; readonly count: number; readonly head: string; readonly signature: string }
  // -> gateway
  | { readonly t: 'inventory'; readonly sandboxes: readonly { readonly sandbox: string; readonly init: number; readonly uid: number; readonly execs: readonly string[] }[]; readonly holds: readonly SyscallHold[]; readonly workers: readonly string[] }
  | { readonly t: 'hold'; readonly hold: SyscallHold }
  | { readonly t: 'hold.ended'; readonly sandbox: string; readonly holdId: string; readonly outcome: 'performed' | 'denied' | 'timeout' | 'agent-gone' | 'changed'; readonly errno: number }
  | { readonly t: 'exec.exited'; readonly sandbox: string; readonly execId: string; readonly code: number | null; readonly signal: string | null }
  | { readonly t: 'sandbox.gone'; readonly sandbox: string; readonly why: string }
  /** What a sandbox left at protected names of its workspace, found when it was given back; also of one that ended while the gateway was away. */
  | { readonly t: 'workspace.released'; readonly sandbox: string; readonly released: Released }
  | { readonly t: 'workspace.registered'; readonly registration: Registration };

/**
 * A held system call; `path`/`toPath` as the agent sees them, resolved; object identity is what an approval binds to.
 * `create`: device and inode are those of the folder. `connect`: path of the socket, or `address:port` with device and inode 0. `call`: `path` is the arguments as a person reads them, device and inode 0.
 */
export interface SyscallHold {
  readonly sandbox: string;
  readonly holdId: string;
  readonly op: EscalateOp;
  readonly syscall: string;
  readonly path: string;
  readonly toPath: string | null;
  readonly dev: number;
  readonly ino: number;
  readonly pid: number;
  readonly exe: string;
  /** Index of the escalate rule of the plan that named it. */
  readonly rule: number;
  /** CLOCK_BOOTTIME ms. */
  readonly deadline: number;
}

/** What was found when a workspace was given back, after the last process of the sandbox was gone. Paths are printable (%XX for the rest), relative to the workspace. */
export interface Released {
  /** False: not everything was looked at; `problem` says why. */
  readonly checked: boolean;
  readonly entries: number;
  /** Folder in the workspace that has what was moved away; '' if nothing was. */
  readonly quarantine: string;
  /** At most 200. `moved` false: it is still there. */
  readonly found: readonly { readonly path: string; readonly why: 'new' | 'changed' | 'too deep to be checked'; readonly moved: boolean }[];
  /** How many more were moved. */
  readonly more: number;
  /** One sentence; '' if all went well. */
  readonly problem: string;
}

export type LayerOp = 'diff' | 'commit' | 'discard' | 'remove' | 'snapshot' | 'snapshots' | 'restore';

/** What a layer says of the folder below; paths are printable (%XX for the rest). At most 1,000 are named. */
export interface LayerDiff {
  readonly changes: readonly { readonly path: string; readonly change: 'added' | 'changed' | 'deleted'; readonly type: 'file' | 'folder' | 'link' | 'other' }[];
  readonly more: number;
  /** False: not everything could be looked at. */
  readonly checked: boolean;
}

/**
 * What was carried out, and what stays in the layer: `conflict`, the owner changed it meanwhile; `protected`, a name that other programs obey by themselves;
 * `refused`, neither file, folder nor link; `failed`, the owner may not write there or the disk is full.
 */
export interface LayerCommit {
  readonly committed: number;
  readonly left: readonly { readonly path: string; readonly why: 'conflict' | 'protected' | 'refused' | 'failed' }[];
  readonly more: number;
  /** False: not everything could be looked at, and nothing was carried out. */
  readonly checked: boolean;
}
export interface LayerSnapshots {
  /** `at`: ms since epoch. */
  readonly snapshots: readonly { readonly name: string; readonly at: number }[];
}

export interface Registration {
  readonly id: string;
  readonly uid: number;
  readonly gid: number;
  /** As the registering person named it; shown, never opened again by name. */
  readonly path: string;
}

// ---- any service -> openshelld (all with an `id` are answered by reply)
export type ToOpenshelld =
  | Hello
  // ledger
  | { readonly t: 'sign'; readonly id: number; readonly count: number; readonly head: string; readonly why: 'interval' | 'commit' | 'stop' }
  // worker
  /** A connection to a port on the loopback of a sandbox attached to the asking worker. Reply fds: [socket, perhaps still connecting]. Errors: no-sandbox, refused (nothing listens there), internal. */
  | { readonly t: 'ingress.connect'; readonly id: number; readonly sandbox: string; readonly port: number }
  /**
   * Which program opened a captured connection of a sandbox attached to the asking worker, by its ends as the sandbox sees them (IPv4 also as ::ffff:a.b.c.d).
   * Reply result: ConnectionOwner. Errors: no-sandbox, not-seen (this host keeps nothing of it), unknown (nothing is kept of this connection), protocol.
   */
  | { readonly t: 'connection.owner'; readonly id: number; readonly sandbox: string; readonly source: string; readonly sourcePort: number; readonly destination: string; readonly destinationPort: number }
  // gateway
  /** `plan` is the LaunchPlan of contract/src/plan.ts; `registration` names the workspace, or '' for none; `manifest`, alone and with a workspace: path of an empty file that says until the folder is checked what is to be checked. Reply result: CreateResult. */
  | { readonly t: 'sandbox.create'; readonly id: number; readonly sandbox: string; readonly plan: unknown; readonly registration: string; readonly worker: string; readonly manifest?: string }
  /** Reply fds: tty given: [pty master]; else [stdin write end, stdout read end, stderr read end]. Result {execId, pid}. */
  | { readonly t: 'exec'; readonly id: number; readonly sandbox: string; readonly execId: string; readonly argv: readonly string[]; readonly env: readonly string[]; readonly cwd: string; readonly tty: { readonly rows: number; readonly cols: number } | null }
  /** Outputs of a running exec after the gateway was restarted. Reply fds: tty: [pty master]; else [stdout read end, stderr read end]. Result {execId, pid}. */
  | { readonly t: 'exec.attach'; readonly id: number; readonly sandbox: string; readonly execId: string }
  | { readonly t: 'exec.signal'; readonly id: number; readonly sandbox: string; readonly execId: string; readonly signal: number }
  | { readonly t: 'exec.resize'; readonly id: number; readonly sandbox: string; readonly execId: string; readonly rows: number; readonly cols: number }
  | { readonly t: 'sandbox.freeze'; readonly id: number; readonly sandbox: string; readonly frozen: boolean }
  /** Other rules and limits for a running sandbox; 0 leaves a limit as it is. */
  | { readonly t: 'sandbox.update'; readonly id: number; readonly sandbox: string; readonly escalate: readonly EscalateRule[]; readonly lsm: LsmPlan | null; readonly limits: Omit<PlanLimits, 'openFiles'>; readonly recordRules: RecordRules }
  /**
   * The layer of an overlay workspace that is kept. `diff` (result LayerDiff), `snapshots` (LayerSnapshots) and `snapshot` (of `name`) also while the sandbox runs;
   * `commit` (result LayerCommit), `discard` and `restore` (of `name`) only while it does not. `remove`: with all snapshots. Errors: no-layer, running, busy, no-snapshot, exists, full, registration.
   */
  | { readonly t: 'layer'; readonly id: number; readonly sandbox: string; readonly op: LayerOp; readonly name: string }
  /** Result {released: Released | null}: null where it had no writable workspace. */
  | { readonly t: 'sandbox.destroy'; readonly id: number; readonly sandbox: string }
  /** On 'allow' openshelld performs the operation on the object that was shown, then answers the call. `reply` when done. */
  | { readonly t: 'hold.answer'; readonly id: number; readonly sandbox: string; readonly holdId: string; readonly verdict: 'allow' | 'deny' }
  /** Host facts for doctor/status: tier, landlock ABI, kernel, cgroup, identities. */
  | { readonly t: 'host'; readonly id: number }
  /** Sends to the ledger what is known of a sandbox and not yet told. Reply result: {seq}, the number of openshelld's last event. */
  | { readonly t: 'flush'; readonly id: number; readonly sandbox: string }
  /** What was seen of one sandbox; its events until now are sent to the ledger before the reply. Reply result: SeenReport. */
  | { readonly t: 'seen'; readonly id: number; readonly sandbox: string }
  | { readonly t: 'workspaces'; readonly id: number }
  // the one program of an openshelld that works for it alone, which also gets `event`
  /** fds: [the folder]. Reply result: Registration. */
  | { readonly t: 'workspace.register'; readonly id: number; readonly path: string };

/** The process that called connect(2), as it was then. `exe`: its program's path in the sandbox; '' where it has no name there, or too long a one. `pid`: the host's. `startTime`: µs since boot. */
export interface ConnectionOwner {
  readonly pid: number;
  readonly exe: string;
  readonly startTime: number;
}

export interface CreateResult {
  readonly sandbox: string;
  readonly init: number;
  readonly uid: number;
  /** Outcome of the enforcement probe, by name; every one must be true or create fails with code `probe`. */
  readonly probe: Readonly<Record<string, boolean>>;
  /** ms by phase, for people and benchmarks. */
  readonly phases: Readonly<Record<string, number>>;
}

/** What became of the calls of one number, each in exactly one; `seenVerdicts` in this order. */
export type SeenCounts = readonly [done: number, denied: number, failed: number, filtered: number, interrupted: number, heldDenied: number, approved: number];

/**
 * done: it succeeded. denied: refused by the kernel with EPERM, EACCES or EROFS (mounts, Landlock, owners and modes, capabilities). failed: any other error
 * of the kernel. filtered: refused by the seccomp filter. interrupted: ended by a signal before it had an effect; the kernel repeats it, and the repetition is
 * counted for itself. heldDenied: handed over and refused (by a person, or because nobody answered). approved: handed over, approved, and done.
 */
export const seenVerdicts = ['done', 'denied', 'failed', 'filtered', 'interrupted', 'heldDenied', 'approved'] as const;

export interface SeenReport {
  /** By the name of the call; `call_N` for a number that has no name, `other` for all above the table. Only those that were called. */
  readonly counts: Readonly<Record<string, SeenCounts>>;
  /** Processes and threads that ended. */
  readonly ended: number;
  /** Events that were not told one by one: beyond the sandbox's share, or because the ring was full. They are counted above. */
  readonly withheld: number;
  readonly ringFull: number;
}
