/** Judges the larger table: once without a sandbox, once in B, once in B without the layers that an entry names, once in C as a plain user. */
import { checkHost, layerSwitches, loadSandboxPolicy, NemoError, unenforced, type PolicyHostFacts, type SandboxPolicy } from '@nemoclaw/contract';
import { launchAlone, planFor, readHostFacts, type AloneOptions, type HostFacts } from '@nemoclaw/openshell';
import { policyFactsOf, readLaunchFacts } from '../../../layers/openshell/src/launch-facts.ts';
import type { Checks } from '../../harness/checks.ts';
import { switches, without, type Switch } from '../attack.ts';
import { inLanes, plainly } from '../lanes.ts';
import { standardSpec } from '../table.ts';
import type { World } from '../world.ts';
import type { Attempt, Layer, Tier } from './attempt.ts';
import { attempts } from './index.ts';

/** In nobody's range. */
const firstUid = 0x7a100000;
const host = readHostFacts({ nodeBinary: process.execPath });
const settleMs = 20;
/** What a plain user has here; the same for all. */
const rootless = policyFactsOf(readLaunchFacts({ uid: firstUid, gid: firstUid }));

export interface Outcome {
  readonly won: boolean;
  readonly said: string;
}

export function policyOf(attempt: Attempt, more = ''): SandboxPolicy {
  const spec = [standardSpec, attempt.spec, more].filter((part) => part !== undefined && part !== '').join(', ');
  return loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: attacked }\nspec: { ${spec} }\n`, 'attacked.yaml');
}

/** Runs it and watches, for long where it is `expected` to work. `run` resolves to the exit code, as a shell reports it, and what was said. */
export async function watch(world: World, attempt: Attempt, expected: boolean, run: () => Promise<{ readonly code: number | undefined; readonly said: string }>): Promise<Outcome> {
  let seen = false;
  const { during } = attempt;
  const timer = during === undefined ? undefined : setInterval(() => (seen ||= during(world)), 10);
  try {
    const { code, said } = await run();
    const outlives = attempt.id.startsWith('outlive');
    return { won: await world.worked((all) => attempt.won({ ...all, code }) || seen, outlives ? 450 : settleMs, expected), said: `${said.trim().slice(0, 300)}` };
  } finally {
    clearInterval(timer);
  }
}

async function unconfined(world: World, attempt: Attempt): Promise<Outcome> {
  const uid = attempt.plain === 'root' ? 0 : world.uid;
  world.reset(uid, true);
  return watch(world, attempt, true, async () => ({ code: undefined, said: await plainly(world, uid, attempt.attempt) }));
}

const isSwitch = (layer: Layer): layer is Switch => ([...switches, ...layerSwitches] as readonly string[]).includes(layer);

async function confined(world: World, attempt: Attempt, tier: 'B' | 'C', expected: boolean, off: readonly Layer[] = []): Promise<Outcome> {
  const here: HostFacts = tier === 'C' ? { ...host, limits: rootless.limits } : host;
  const who: Partial<AloneOptions> = tier === 'C' ? { as: { uid: world.uid, gid: world.uid } } : { uid: world.uid };
  world.reset(tier === 'C' ? world.uid : 0, true);
  return watch(world, attempt, expected, async () => {
    const env = Object.entries(world.variables('/workspace')).map(([key, value]) => `${key}=${value}`);
    const plan = without(planFor(policyOf(attempt), here, { hasWorkspace: true, escalations: 'refuse', env, agents: [{ name: world.shown.slice('/opt/'.length), source: world.shown }] }), off.filter(isSwitch));
    const result = await launchAlone(plan, { command: ['/bin/sh', '-c', attempt.attempt], workspace: world.workspace, bindRoots: host.bindRoots, stdio: 'pipe', testing: off.length > 0, ...who });
    if (result.report === undefined) throw new Error(`${attempt.id}: the sandbox did not start in tier ${tier}${off.length > 0 ? ` without ${off.join(', ')}` : ''}: ${result.stderr}`);
    return { code: result.code, said: result.stdout + result.stderr };
  });
}

/** What a policy is told in this tier; throws if it is told nothing of the kind, or is not refused. */
function checkAdmitted(attempt: Attempt, sentence: RegExp, facts: PolicyHostFacts): string | undefined {
  const policy = policyOf(attempt);
  try {
    checkHost(policy, facts);
    return 'the policy is not refused';
  } catch (error) {
    if (!(error instanceof NemoError) || error.code !== 'NEMO_E_POLICY_NEEDS') throw error;
  }
  return unenforced(policy, facts).some((line) => sentence.test(line)) ? undefined : 'nobody is told';
}

const describe = (layers: readonly Layer[]): string => layers.join(', ');

async function judge(world: World, attempt: Attempt, check: Checks): Promise<void> {
  const wrong: string[] = [];
  const judged = (where: string, expected: boolean, { won, said }: Outcome): void => {
    if (won !== expected) wrong.push(`${where}: ${won ? 'it WORKED' : 'it did not work'}${said === '' ? '' : ` (${said})`}`);
  };
  let lacking = attempt.plain === 'never';
  if (!lacking) {
    const plain = await unconfined(world, attempt);
    lacking = attempt.mayLack !== undefined && !plain.won;
    if (!lacking) judged(`without a sandbox, as ${attempt.plain}`, true, plain);
  }
  judged('in tier B', false, await confined(world, attempt, 'B', false));
  if (!lacking && attempt.by.every(isSwitch)) judged(`in tier B without ${describe(attempt.by)}`, true, await confined(world, attempt, 'B', true, attempt.by));
  const admitted = attempt.admitted?.C;
  // Where a plain user has a control group of their own, the limit holds.
  const works = admitted !== undefined && !rootless.limits.memory;
  judged('in tier C', works, await confined(world, attempt, 'C', works));
  if (works) {
    const told = checkAdmitted(attempt, admitted, rootless);
    if (told !== undefined) wrong.push(told);
  }
  const words = lacking ? (attempt.plain === 'never' ? 'only refused' : `not to be had here without a sandbox (${attempt.mayLack ?? ''}): only refused`) : `stopped by ${describe(attempt.by)}`;
  check.that(`${attempt.id}: ${attempt.title} [${words}${works ? '; in C it WORKS, and a policy that relies on it is refused' : ''}]`, wrong.length === 0, wrong.join('\n'));
}

/** All of the larger table, or those with an id in `only`; several worlds side by side. Gives the folders it made and removed again. */
export async function larger(check: Checks, tries: string, only: readonly string[], onInterrupt: (clean: () => void | Promise<void>) => void): Promise<string[]> {
  check.section('the larger table: without a sandbox, in B, in B without the layers named, in C as a plain user');
  const chosen = attempts.filter((attempt) => only.length === 0 || only.includes(attempt.id));
  return inLanes(3, firstUid, tries, chosen, onInterrupt, (world, attempt) => check.step(attempt.id, () => judge(world, attempt, check)));
}

export type { Tier };
