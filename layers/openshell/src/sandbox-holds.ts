/** Held system calls of one sandbox: each is put to the approver, and its answer goes back to openshelld. */
import { createHash } from 'node:crypto';
import { safeLine, unlabelled, whereOf, type Approver, type Clock, type Decision, type HoldRequest, type LedgerEvent, type Resource, type RuleRef, type SandboxPolicy, type SyscallHold } from '@nemoclaw/contract';
import { rootOf } from './plan-paths.ts';

const verbs: Readonly<Record<SyscallHold['op'], string>> = { delete: 'delete', rename: 'rename', write: 'change', create: 'create', read: 'read', exec: 'run', connect: 'connect to', call: 'make the system call' };

/** Verb and object in one line; what the agent chose is escaped. */
function holdSentence(hold: SyscallHold): string {
  const to = hold.toPath === null ? '' : hold.op === 'rename' ? ` to ${hold.toPath}` : ` from ${hold.toPath}`;
  const how = / \([a-z ]+\)$/.exec(hold.syscall)?.[0] ?? '';
  return safeLine(hold.op === 'call' ? `${verbs.call} ${hold.syscall} ${hold.path}` : `${verbs[hold.op]} ${hold.path}${to}${how}`);
}

/** The rule that made it wait, by the policy's own words; `index` and `path` are the plan's. */
function ruleOf(policy: SandboxPolicy, hold: SyscallHold, path: string | undefined): RuleRef {
  const { filesystem, process, syscalls } = policy.spec;
  const place = (id: string, at: readonly (string | number)[]): RuleRef => {
    const where = whereOf(policy, ['spec', ...at]);
    return { id, ...(where ? { file: where.file, line: where.line } : {}) };
  };
  // Opening a program's file in any way is asked about by the rule on starting it.
  const opens = hold.op === 'read' || hold.op === 'write';
  const file = filesystem.escalate.findIndex((rule) => rootOf(rule.path) === path && rule.on.some((op) => op === hold.op || (op === 'exec' && opens)));
  if (file >= 0) return place(`filesystem.escalate[${file}]`, ['filesystem', 'escalate', file]);
  const exec = hold.op === 'exec' || opens ? process.exec.escalate.findIndex((pattern) => rootOf(pattern) === path) : -1;
  if (exec >= 0) return place(`process.exec.escalate[${exec}]`, ['process', 'exec', 'escalate', exec]);
  const call = hold.op === 'call' ? syscalls.escalate.indexOf(hold.syscall.split(' ')[0] ?? '') : -1;
  if (call >= 0) return place(`syscalls.escalate[${call}]`, ['syscalls', 'escalate', call]);
  return { id: 'escalate' };
}

/** The question for an approver. Its `key` is the same for the same operation on the same object. */
export function holdRequest(hold: SyscallHold, policy: SandboxPolicy, rulePath: string | undefined, clock: Clock): HoldRequest {
  const resource: Resource = hold.op === 'call' ? { kind: 'call', name: hold.syscall, args: hold.path } : { kind: 'file', path: hold.path, op: hold.op, dev: hold.dev, ino: hold.ino, ...(hold.toPath === null ? {} : { toPath: hold.toPath }) };
  const rule = ruleOf(policy, hold, rulePath);
  const decision: Decision = { verdict: 'escalate', action: '', rules: [rule], reason: `${rule.id} asks a person.`, hint: 'It waits for an answer.', intent: unlabelled, policyVersion: 1, decidedBy: 'table', micros: 0 };
  return {
    holdId: hold.holdId,
    sandbox: hold.sandbox,
    kind: 'syscall',
    request: { sandbox: hold.sandbox, role: '', task: '', source: 'syscall', action: '', resource, params: new Map(), labels: unlabelled, provenance: new Map(), history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() } },
    decision,
    key: createHash('sha256').update(JSON.stringify([hold.sandbox, hold.op, hold.syscall, hold.path, hold.toPath, hold.dev, hold.ino])).digest('hex'),
    summary: `${safeLine(hold.exe)} (pid ${hold.pid}) wants to ${holdSentence(hold)}`,
    detail: JSON.stringify({ syscall: hold.syscall, path: hold.path, toPath: hold.toPath, object: { device: hold.dev, inode: hold.ino }, process: { pid: hold.pid, program: hold.exe } }, null, 2),
    patienceMs: Math.max(0, hold.deadline - clock.monotonic()),
  };
}

export interface HoldPorts {
  readonly approver: Approver;
  readonly clock: Clock;
  answer(holdId: string, verdict: 'allow' | 'deny'): Promise<unknown>;
  emit(event: LedgerEvent): void;
}

export class Holds {
  readonly #ports: HoldPorts;
  readonly #waiting = new Map<string, AbortController>();

  constructor(ports: HoldPorts) {
    this.#ports = ports;
  }

  /** Asks, and answers the call; whatever goes wrong is a denial. Never rejects. */
  async hold(hold: SyscallHold, policy: SandboxPolicy, rulePath: string | undefined): Promise<void> {
    const { approver, clock } = this.#ports;
    const withdrawn = new AbortController();
    this.#waiting.set(hold.holdId, withdrawn);
    let verdict: 'allow' | 'deny' = 'deny';
    let by = 'nobody';
    let why = '';
    try {
      const outcome = await approver.ask(holdRequest(hold, policy, rulePath, clock), withdrawn.signal);
      if (outcome.verdict === 'allow') verdict = 'allow';
      if ('by' in outcome) by = outcome.by;
      why = outcome.verdict === 'waiting' ? 'nobody has answered' : 'reason' in outcome ? outcome.reason : '';
    } catch (error) {
      why = error instanceof Error ? error.message : String(error);
    }
    if (!this.#waiting.delete(hold.holdId)) return; // it ended meanwhile
    this.#ports.emit({
      time: clock.now(), class: 'fileActivity', activity: 99, severity: 3, sandbox: hold.sandbox, layer: 'approval', verdict: verdict === 'allow' ? 'approved' : 'rejected', correlation: hold.holdId,
      message: `${safeLine(by)} ${verdict === 'allow' ? 'allowed' : 'denied'}: ${holdSentence(hold)}${why === '' ? '' : ` (${safeLine(why)})`}`,
    });
    await this.#ports.answer(hold.holdId, verdict).catch(() => undefined); // it ended in the same moment
  }

  /** Answered, timed out, or the agent is gone: nobody needs to be asked any more. */
  ended(holdId: string): void {
    const withdrawn = this.#waiting.get(holdId);
    this.#waiting.delete(holdId);
    withdrawn?.abort();
  }

  endAll(): void {
    for (const holdId of [...this.#waiting.keys()]) this.ended(holdId);
  }
}
