/** Does every operation of a case in a real sandbox and compares what came of it with what `explain` says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Approver, HoldRequest, SandboxPolicy } from '@nemoclaw/contract';
import { createSandbox, explain, launchAlone, NemoError, planFor, readHostFacts, type ExplainOp, type Explanation } from '@nemoclaw/openshell';
import { programs, type Case, type Operation } from './generate.ts';
import { layOut, type Programs } from './layout.ts';

export interface Outcome {
  /** Name of the errno, null for success. */
  readonly errno: string | null;
  /** A person was asked. */
  readonly asked: boolean;
}

export interface Disagreement {
  readonly spec: string;
  readonly operation: Operation;
  readonly said: Explanation;
  readonly did: Outcome;
}

export interface Compared {
  readonly tier: 'A' | 'B' | 'C';
  readonly operations: number;
  /** How many `explain` allows, denies, escalates. */
  readonly verdicts: Readonly<Record<'allow' | 'deny' | 'escalate', number>>;
  readonly disagreements: readonly Disagreement[];
  /** Why this policy starts nothing here; a refusal is no disagreement. */
  readonly refused?: string;
}

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** Which questions an operation can lead to. */
const questions: Readonly<Record<ExplainOp, readonly string[]>> = {
  read: ['read'], write: ['write'], create: ['create', 'write'], mkdir: ['create'], delete: ['delete'], rename: ['rename', 'delete', 'create'], link: ['create'], truncate: ['write'], chmod: ['write'], exec: ['exec'], connect: ['connect'],
};

/** The question may show either name of an operation on two. */
function wasAsked({ op, path, toPath }: Operation, asked: ReadonlySet<string>): boolean {
  return questions[op].some((question) => asked.has(`${question} ${path}`) || asked.has(`${question} ${toPath ?? path}`));
}

/** Notes what was asked about and denies it. */
function denier(asked: Set<string>): Approver {
  return {
    ask: async (request: HoldRequest) => {
      const { resource } = request.request;
      if (resource.kind === 'file') asked.add(`${resource.op} ${resource.path}`);
      return { verdict: 'deny', approvalId: request.holdId, by: 'conformance', reason: 'every question is denied' };
    },
    consumeGrant: async () => false,
    pending: () => undefined,
  };
}

/** Agreement: an allowed operation succeeds unasked, a denied one fails unasked with the errno that was said, an escalated one is asked about and, denied, fails with EPERM. */
function agrees(said: Explanation, did: Outcome): boolean {
  if (said.verdict === 'escalate') return did.asked && did.errno === said.errno;
  if (did.asked) return false;
  if (said.verdict === 'allow') return did.errno === null;
  return did.errno !== null && [said.errno, ...(said.otherErrnos ?? [])].includes(did.errno);
}

/** Where a case is done: gives what the program of the operations printed. `asked` takes what a person was asked about. */
export interface Ground {
  /** Whose workspace it is, and whose files are in it. */
  readonly owner: number;
  run(policy: SandboxPolicy, workspace: string, command: string, input: string, asked: Set<string>): Promise<{ readonly tier: 'A' | 'B' | 'C'; readonly output: string }>;
}

/** The best tier of this machine: with openshelld, every question asked and denied. */
export const withDaemon: Ground = {
  owner: process.getuid?.() ?? 0,
  async run(policy, workspace, command, input, asked) {
    const sandbox = await createSandbox(policy, { workspace, approver: denier(asked) });
    try {
      const running = await sandbox.exec([command]);
      running.stdin.end(input);
      const end = await running.output();
      if (end.code !== 0) throw new Error(`the operations ended with ${end.code ?? end.signal ?? '?'}: ${end.stderr}`);
      return { tier: sandbox.tier, output: end.stdout };
    } finally {
      await sandbox.destroy();
    }
  },
};

/** Tier C, tried by root: a plain user starts the launcher. Nobody can be asked. */
export function asPlainUser(uid: number): Ground {
  return {
    owner: uid,
    async run(policy, workspace, command, input) {
      // Without a delegated control group there is nothing that limits memory and time on a CPU.
      const host = { ...readHostFacts({ nodeBinary: process.execPath }), limits: { memory: false, cpu: false } };
      const plan = planFor(policy, host, { hasWorkspace: true, escalations: 'refuse' });
      const end = await launchAlone(plan, { command: [command], workspace, bindRoots: host.bindRoots, stdio: 'pipe', input, as: { uid, gid: uid } });
      if (end.code !== 0) throw new Error(`the operations ended with ${end.code}: ${end.stderr}`);
      return { tier: 'C', output: end.stdout };
    },
  };
}

/** One case. `explained`: another policy to explain, to see that a difference is found. Throws what the ground throws, a refusal of the policy excepted. */
export async function compare(one: Case, built: Programs, ground: Ground, explained = one.policy): Promise<Compared> {
  const workspace = mkdtempSync('/tmp/conformance-');
  const laid = await layOut(workspace, ground.owner, built, one.operations);
  const asked = new Set<string>();
  const verdicts = { allow: 0, deny: 0, escalate: 0 };
  try {
    const { tier, output } = await ground.run(one.policy, workspace, join(programs, 'operations'), laid.lines.map((line) => `${line}\n`).join(''), asked);
    const codes = output.trim().split('\n').map(Number);
    if (codes.length !== laid.lines.length) throw new Error(`${codes.length} of ${laid.lines.length} operations were done`);
    const disagreements: Disagreement[] = [];
    one.operations.forEach((operation, i) => {
      const code = codes[laid.prepared + i] ?? -1;
      const did: Outcome = { errno: code === 0 ? null : (names.get(code) ?? String(code)), asked: wasAsked(operation, asked) };
      const said = explain(explained, tier, operation);
      verdicts[said.verdict] += 1;
      if (!agrees(said, did)) disagreements.push({ spec: one.spec, operation, said, did });
    });
    return { tier, operations: one.operations.length, verdicts, disagreements };
  } catch (error) {
    if (error instanceof NemoError && ['NEMO_E_POLICY_NEEDS', 'NEMO_E_PLAN_PATH', 'NEMO_E_PLAN_SYSCALL'].includes(error.code)) return { tier: 'B', operations: 0, verdicts, disagreements: [], refused: error.message };
    throw error;
  } finally {
    await laid.close();
    rmSync(workspace, { recursive: true, force: true });
  }
}
