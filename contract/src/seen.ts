/** What is counted of sandboxes' system calls, as the API gives it and as `top` and the metrics show it. */
import { z } from 'zod';
import { seenVerdicts, type SeenCounts, type SeenReport } from './control.ts';

export type SeenVerdict = (typeof seenVerdicts)[number];

const count = z.number();
const seenReportSchema = z.object({
  counts: z.record(z.string(), z.tuple([count, count, count, count, count, count, count])),
  ended: count,
  withheld: count,
  ringFull: count,
});

/** One sandbox of `GET /v1/seen`. `report` is null where nothing is counted; `why` then says why. */
export const seenViewSchema = z.object({
  sandbox: z.string(),
  /** ms on a clock that never jumps, of the gateway; only differences mean something. */
  at: z.number(),
  report: seenReportSchema.nullable(),
  why: z.string(),
  /** Calls and requests that wait for a person now. */
  waiting: z.number(),
});
export type SeenView = Omit<z.infer<typeof seenViewSchema>, 'report'> & { readonly report: SeenReport | null };

/** Classes of calls, so that a metric has few series. */
export const callClasses = ['file', 'process', 'network', 'signal', 'memory', 'other'] as const;
export type CallClass = (typeof callClasses)[number];

const network = new Set(['socket', 'socketpair', 'connect', 'accept', 'accept4', 'bind', 'listen', 'sendto', 'recvfrom', 'sendmsg', 'recvmsg', 'sendmmsg', 'recvmmsg', 'shutdown', 'getsockname', 'getpeername', 'setsockopt', 'getsockopt']);
const signal = new Set(['kill', 'tkill', 'tgkill', 'pidfd_send_signal', 'pause', 'alarm', 'signalfd', 'signalfd4', 'sigaltstack']);
const memory = new Set(['mmap', 'munmap', 'mremap', 'mprotect', 'brk', 'madvise', 'msync', 'mincore', 'mlock', 'mlock2', 'munlock', 'mlockall', 'munlockall', 'pkey_mprotect', 'pkey_alloc', 'pkey_free', 'memfd_create', 'mseal', 'membarrier']);
const process = new Set(['execve', 'execveat', 'fork', 'vfork', 'clone', 'clone3', 'exit', 'exit_group', 'wait4', 'waitid', 'ptrace', 'process_vm_readv', 'process_vm_writev', 'pidfd_open', 'pidfd_getfd', 'unshare', 'setns', 'prctl', 'setsid', 'setpgid']);
const file = /^(open|close|creat|read|write|pread|pwrite|readv|writev|preadv|pwritev|l?seek|(new)?[fl]?stat|f?truncate|fallocate|unlink|rename|link|symlink|mkdir|rmdir|mknod|f?l?ch(mod|own|dir|root)|f?access|f?(l?set|l?get|l?list|l?remove)xattr|getdents|getcwd|umask|f?utime|dup|pipe|fcntl|flock|f(data)?sync|sync|sendfile|splice|tee|copy_file_range|inotify|fanotify|mount|umount|name_to_handle|memfd_secret|cachestat)/;

/** The class of a call by its name. */
export function callClass(call: string): CallClass {
  if (network.has(call)) return 'network';
  if (signal.has(call) || call.startsWith('rt_')) return 'signal';
  if (memory.has(call)) return 'memory';
  if (process.has(call)) return 'process';
  return file.test(call) ? 'file' : 'other';
}

export const noCalls: SeenCounts = [0, 0, 0, 0, 0, 0, 0];

/** Sum of two counts. */
export function plus(a: SeenCounts, b: SeenCounts): SeenCounts {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6]];
}

/** All calls of a report by verdict. */
export function totalOf(report: SeenReport): SeenCounts {
  return Object.values(report.counts).reduce<SeenCounts>(plus, noCalls);
}

/** One line of `top`: a call of a sandbox, per second since the last look. */
export interface CallRate {
  readonly call: string;
  readonly perSecond: Readonly<Record<SeenVerdict, number>>;
}
export interface SandboxRate {
  readonly sandbox: string;
  readonly total: Readonly<Record<SeenVerdict, number>>;
  /** Busiest first; without those that were not called. */
  readonly calls: readonly CallRate[];
  readonly waiting: number;
  /** Events that were counted, but not told one by one, since the last look. */
  readonly notTold: number;
  readonly why: string;
}

/** What happened between two looks at the same sandboxes. Counters that went back (a new sandbox of that name) begin at 0. */
export function ratesBetween(before: readonly SeenView[], now: readonly SeenView[]): SandboxRate[] {
  return now.map((view) => {
    const former = before.find((one) => one.sandbox === view.sandbox);
    const seconds = Math.max((view.at - (former?.at ?? view.at)) / 1000, 0.001);
    const went = (a: number, b: number): number => (b >= a ? b - a : b);
    const rate = (a: SeenCounts, b: SeenCounts): Record<SeenVerdict, number> => {
      const out = { done: 0, denied: 0, failed: 0, filtered: 0, interrupted: 0, heldDenied: 0, approved: 0 };
      seenVerdicts.forEach((name, i) => (out[name] = former ? went(a[i] ?? 0, b[i] ?? 0) / seconds : 0));
      return out;
    };
    const calls = Object.entries(view.report?.counts ?? {})
      .map(([call, counts]) => ({ call, perSecond: rate(former?.report?.counts[call] ?? noCalls, counts) }))
      .filter(({ perSecond }) => seenVerdicts.some((name) => perSecond[name] > 0))
      .sort((a, b) => sum(b.perSecond) - sum(a.perSecond));
    const total = { done: 0, denied: 0, failed: 0, filtered: 0, interrupted: 0, heldDenied: 0, approved: 0 };
    for (const { perSecond } of calls) for (const name of seenVerdicts) total[name] += perSecond[name];
    const lost = (one: SeenView | undefined): number => (one?.report ? one.report.withheld + one.report.ringFull : 0);
    return { sandbox: view.sandbox, total, calls, waiting: view.waiting, notTold: former ? went(lost(former), lost(view)) : 0, why: view.why };
  });
}

function sum(rates: Readonly<Record<SeenVerdict, number>>): number {
  return seenVerdicts.reduce((total, name) => total + rates[name], 0);
}

/** Heading and cells of `top`: a line for each sandbox, below it its busiest calls. Names of calls are the kernel's; names of sandboxes have small letters only. */
export function topRows(rates: readonly SandboxRate[], callsEach: number): { readonly heading: readonly string[]; readonly rows: readonly (readonly string[])[] } {
  const number = (value: number): string => (value === 0 ? '-' : value >= 100 ? String(Math.round(value)) : value.toFixed(1));
  const whole = (value: number): string => (value === 0 ? '-' : String(value));
  const cells = (one: Readonly<Record<SeenVerdict, number>>): string[] => seenVerdicts.map((name) => number(one[name]));
  const rows = rates.flatMap((one) => [
    [one.sandbox, one.why === '' ? 'all calls' : one.why, ...cells(one.total), whole(one.waiting), whole(one.notTold)],
    ...one.calls.slice(0, callsEach).map(({ call, perSecond }) => ['', call, ...cells(perSecond), '', '']),
  ]);
  return { heading: ['SANDBOX', 'CALLS/S', 'DONE', 'DENIED', 'FAILED', 'FILTERED', 'INTERRUPTED', 'HELD-DENIED', 'APPROVED', 'WAITING', 'NOT-TOLD'], rows };
}
