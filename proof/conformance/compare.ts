/** Does every operation of a case in a real sandbox and compares what came of it with what `explain` says. */
import { mkdtempSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Approver, HoldRequest } from '@nemoclaw/contract';
import { createSandbox, explain, NemoError, type ExplainOp, type Explanation } from '@nemoclaw/openshell';
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

/** `owner`: whose workspace it is; `explained`: another policy to explain, to see that a difference is found. Throws what createSandbox throws, a refusal of the policy excepted. */
export async function compare(one: Case, built: Programs, owner: number, explained = one.policy): Promise<Compared> {
  const workspace = mkdtempSync('/tmp/conformance-');
  const laid = await layOut(workspace, owner, built, one.operations);
  const asked = new Set<string>();
  const verdicts = { allow: 0, deny: 0, escalate: 0 };
  try {
    const sandbox = await createSandbox(one.policy, { workspace, approver: denier(asked), holdFor: 60_000 });
    try {
      const command = await sandbox.exec([join(programs, 'operations')]);
      command.stdin.end(laid.lines.map((line) => `${line}\n`).join(''));
      const end = await command.output();
      const codes = end.stdout.trim().split('\n').map(Number);
      if (end.code !== 0 || codes.length !== laid.lines.length) throw new Error(`the operations ended with ${end.code ?? end.signal ?? '?'} after ${codes.length} of ${laid.lines.length}: ${end.stderr}`);
      const disagreements: Disagreement[] = [];
      one.operations.forEach((operation, i) => {
        const code = codes[laid.prepared + i] ?? -1;
        const did: Outcome = { errno: code === 0 ? null : (names.get(code) ?? String(code)), asked: wasAsked(operation, asked) };
        const said = explain(explained, sandbox.tier, operation);
        verdicts[said.verdict] += 1;
        if (!agrees(said, did)) disagreements.push({ spec: one.spec, operation, said, did });
      });
      return { tier: sandbox.tier, operations: one.operations.length, verdicts, disagreements };
    } finally {
      await sandbox.destroy();
    }
  } catch (error) {
    if (error instanceof NemoError && ['NEMO_E_POLICY_NEEDS', 'NEMO_E_PLAN_PATH', 'NEMO_E_PLAN_SYSCALL'].includes(error.code)) return { tier: 'B', operations: 0, verdicts, disagreements: [], refused: error.message };
    throw error;
  } finally {
    await laid.close();
    rmSync(workspace, { recursive: true, force: true });
  }
}
