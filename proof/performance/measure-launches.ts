/** `sandbox.launch.alone` and `sandbox.launch`: /bin/true from start to exit, in a new sandbox without a daemon and in a running one. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { launcherPath, planFor, readHostFacts } from '@nemoclaw/openshell';
import { nowMs } from './api.ts';
import { bwrapped } from './bubblewrap.ts';
import { figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { blueprintFiles } from './policies.ts';
import { timeStarts } from './programs.ts';

/** The launcher's command line for the usual policy, with the plan on descriptor 3. */
function alone(folder: string): { readonly plan: string; readonly command: string[] } {
  const policy = loadSandboxPolicy(blueprintFiles({ plain: 1, secure: 2 }, false)['sandbox.yaml'] ?? '', 'sandbox.yaml');
  const host = readHostFacts({ nodeBinary: process.execPath });
  const plan = join(folder, 'plan.json');
  writeFileSync(plan, JSON.stringify(planFor(policy, host, { hasWorkspace: false, escalations: 'refuse' })));
  return { plan, command: [launcherPath, '--plan-fd', '3', '--report-fd', '4', ...host.bindRoots.flatMap((root) => ['--bind-root', root]), '--', '/bin/true'] };
}

async function run(bench: Bench): Promise<Figures> {
  const { plan, command } = alone(bench.programs.folder);
  const world = await bench.world();
  const rounds = bench.by(5, 20, 50);
  const times = { alone: [] as number[], running: [] as number[], bwrap: [] as number[], plain: [] as number[] };
  await world.within('bench', async (name) => {
    for (let round = 0; round < rounds; round += 1) {
      times.alone.push(...(await timeStarts(bench.programs, 10, command, { input: plan })));
      if (bench.hasBwrap) times.bwrap.push(...(await timeStarts(bench.programs, 10, bwrapped(['/bin/true']))));
      times.plain.push(...(await timeStarts(bench.programs, 10, ['/bin/true'])));
      for (let i = 0; i < 10; i += 1) {
        const exec = await world.api.open(name);
        const start = nowMs();
        times.running.push((await exec.run(['/bin/true'])) - start);
      }
    }
  });
  const peers = { ...(bench.hasBwrap && { bwrap: times.bwrap }), plain: times.plain };
  return { 'sandbox.launch.alone': figure(times.alone, 'ms', peers), 'sandbox.launch': figure(times.running, 'ms', peers) };
}

export const launches: Group = { names: ['sandbox.launch.alone', 'sandbox.launch'], run };
