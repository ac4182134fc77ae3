/** Runs the table: without a sandbox, in one, and in one with a layer switched off at a time. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { checkHost, loadSandboxPolicy, NemoError, unenforced, type LayerSwitch, type SandboxPolicy } from '@nemoclaw/contract';
import { launchAlone, planFor, readHostFacts } from '@nemoclaw/openshell';
import type { Checks } from '../harness/checks.ts';
import { switches, without, type Attack, type Switch } from './attack.ts';
import { inLanes, plainly } from './lanes.ts';
import { attacks, standardSpec } from './table.ts';
import type { World } from './world.ts';

/** In nobody's range. */
const firstUid = 0x7a000000;
const settleMs = 30;
const host = readHostFacts({ nodeBinary: process.execPath });

/** How the attack went: true = it worked. The text is what it said. */
interface Outcome {
  readonly won: boolean;
  readonly said: string;
}

const patience = (attack: Attack): number => (attack.id === 'outlive' ? 450 : settleMs);

async function unconfined(world: World, attack: Attack): Promise<Outcome> {
  const uid = attack.plain === 'root' ? 0 : world.uid;
  world.reset(uid);
  const said = await plainly(world, uid, attack.attempt);
  return { won: await world.worked(attack.won, patience(attack), true), said };
}

function policyOf(attack: Attack): SandboxPolicy {
  const spec = attack.spec === undefined ? standardSpec : `${standardSpec}, ${attack.spec}`;
  return loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: attacked }\nspec: { ${spec} }\n`, 'attacked.yaml');
}

async function confined(world: World, attack: Attack, off: readonly (Switch | LayerSwitch)[], expected: boolean): Promise<Outcome> {
  world.reset(0);
  const policy = policyOf(attack);
  const env = Object.entries(world.variables('/workspace')).map(([key, value]) => `${key}=${value}`);
  const plan = without(planFor(policy, host, { hasWorkspace: true, escalations: 'refuse', env, agents: [{ name: world.shown.slice('/opt/'.length), source: world.shown }] }), off);
  const result = await launchAlone(plan, { command: ['/bin/sh', '-c', attack.attempt], workspace: world.workspace, bindRoots: host.bindRoots, stdio: 'pipe', testing: off.length > 0, uid: world.uid });
  if (result.report === undefined) throw new Error(`${attack.id}: the sandbox did not start${off.length > 0 ? ` without ${off.join(', ')}` : ''}: ${result.stderr}`);
  return { won: await world.worked(attack.won, patience(attack), expected), said: result.stdout + result.stderr };
}

/** An attack that works and is admitted: a policy that relies on its failing is refused. */
async function admit(world: World, attack: Attack, sentence: RegExp, check: Checks): Promise<void> {
  const policy = policyOf(attack);
  let refused = false;
  try {
    checkHost(policy, { tier: 'B' });
  } catch (error) {
    refused = error instanceof NemoError && error.code === 'NEMO_E_POLICY_NEEDS';
  }
  const told = unenforced(policy, { tier: 'B' }).filter((line) => sentence.test(line));
  const { won } = await confined(world, attack, [], true);
  check.that(`${attack.id}: ${attack.title} [WORKS, and a policy that relies on it is refused unless it says best-effort]`, won && refused && told.length === 1, { won, refused, told });
}

async function judge(world: World, attack: Attack, check: Checks): Promise<void> {
  const wrong: string[] = [];
  const expect = async (where: string, expected: boolean, off: readonly (Switch | LayerSwitch)[]): Promise<void> => judged(where, expected, await confined(world, attack, off, expected));
  const judged = (where: string, expected: boolean, { won, said }: Outcome): void => {
    if (won !== expected) wrong.push(`${where}: ${won ? 'it WORKED' : 'it did not work'}${said === '' ? '' : ` (${said.trim().slice(0, 300)})`}`);
  };
  const { plain, stops } = attack;
  const plainOutcome = await unconfined(world, attack);
  const lacking = attack.mayLack !== undefined && !plainOutcome.won;
  if (!lacking) judged(`without a sandbox, as ${plain}`, true, plainOutcome);
  await expect('in the sandbox', false, []);
  for (const one of switches) await expect(`without ${one}`, !lacking && stops.length === 1 && stops[0] === one, [one]);
  // Each of them is enough by itself.
  for (const one of stops) await expect(`with ${one} alone`, false, switches.filter((other) => other !== one));
  if (stops.length > 1 && !lacking) await expect(`without ${stops.join(', ')}`, true, [...stops, ...(attack.with ?? [])]);
  const by = stops.length === 1 ? `only ${stops[0]} stops it` : `${stops.join(' and ')} stop it, each alone`;
  check.that(`${attack.id}: ${attack.title} [${lacking ? `this kernel has no ${attack.mayLack}: only refused` : by}]`, wrong.length === 0, wrong.join('\n'));
}

/** All attacks, or those with an id in `only`. Gives the folders it made and removed again. */
export async function kernelLayers(check: Checks, tries: string, only: readonly string[], onInterrupt: (clean: () => void | Promise<void>) => void): Promise<string[]> {
  check.section('attacks on the kernel layers: real without a sandbox, stopped in one, and each layer is needed');
  const chosen = attacks.filter((attack) => only.length === 0 || only.includes(attack.id));
  const made = await inLanes(2, firstUid, tries, chosen, onInterrupt, async (world, attack) => {
    const { id, admitted } = attack;
    await check.step(id, () => (admitted === undefined ? judge(world, attack, check) : admit(world, attack, admitted, check)));
  });
  if (only.length > 0) return made;
  for (const layer of switches) {
    const own = attacks.filter((attack) => attack.mayLack === undefined && attack.stops.length === 1 && attack.stops[0] === layer);
    check.that(`${layer} alone stops ${own.map((attack) => attack.id).join(', ')}`, own.length > 0);
  }
  return made;
}

/** The program of the attempts, built once outside. Throws if there is no compiler. */
export function buildTries(to: string): void {
  const folder = new URL('native', import.meta.url).pathname;
  const sources = readdirSync(folder).filter((name) => name.endsWith('.c')).map((name) => `${folder}/${name}`);
  const built = spawnSync('gcc', ['-O1', '-static', '-Wall', '-Wextra', '-Werror', '-o', to, ...sources], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`the attempts do not build: ${built.stderr}`);
}
