/** The tables of attacks in tier A: every attempt in a sandbox of that tier, judged by what the world shows; and what must keep working there. */
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { createSandbox, type Sandbox } from '@nemoclaw/openshell';
import { controlList } from '../../attacks/controls.ts';
import { attempts } from '../../attacks/more/index.ts';
import { attacks, standardSpec } from '../../attacks/table.ts';
import { World, type Seen } from '../../attacks/world.ts';
import { programs } from './kept.ts';

interface Entry {
  readonly id: string;
  readonly spec?: string;
  readonly attempt: string;
  readonly won: (seen: Seen) => boolean;
  readonly during?: (world: World) => boolean;
  /** Where the sandbox's end decides: it is looked at after that. */
  readonly ends?: boolean;
}

/** In tier A none of them works: `stops` and `by` of the tables say what else stops them, `byIn.A` where it is the kernel's program. */
const smaller: readonly Entry[] = attacks.map((one) => ({ ...one, ends: one.stops.includes('protect') }));
/** Seconds for an attempt: what hangs has not worked. */
const patience = 40;
/** Everything in the sandbox but the shell that says it: what an attempt left running does not take the next one's time. */
const endRest = 'kill -KILL -1 2>/dev/null';

/** What it takes from the world beside the words that stay the same. */
const constant = new Set(['secret', 'token', 'shared', 'hidden', 'shown', 'beside', 'scratch', 'uid', 'shownSince']);

/** What tier A decides in another way than tier B: places in the workspace, programs, sockets and signals. What else stops an attempt (what is in the view, uid, calls, namespaces, limits, what is found at the end) is the same in both, and the larger table is tried in tier B on the host. */
const otherwise = new Set<string>(['mounts', 'landlock', 'protect', 'lsm']);
const larger: readonly Entry[] = attempts.filter(({ by, byIn }) => (byIn?.A ?? by).some((layer) => otherwise.has(layer)));
/** Its policy names the programs that may run, `timeout` not among them: it is started as it is. */
const asIs = (one: Entry): boolean => /^outlive/.test(one.id) || one.spec?.includes('exec: {') === true;

/** Only what the attempt wrote into its loot says whether it won, so that many can be tried one after another before anybody looks. */
function byLoot({ won, during, ends, spec }: Entry, world: World): boolean {
  if (during !== undefined || ends === true || spec !== undefined) return false;
  let more = false;
  const asked = new Proxy(world, { get: (target, key) => ((more ||= !constant.has(String(key))), Reflect.get(target, key)) });
  const probe = { world: asked, loot: '', get code() { return (more = true), undefined; }, get heard() { return (more = true), ''; } };
  try {
    won(probe);
  } catch {
    return false;
  }
  return !more;
}

describe('the attacks, in tier A', { timeout: 2_400_000 }, () => {
  let world: World;

  before(async () => {
    world = new World(join(programs, 'tries'), 0x7a100000);
    await world.open();
  });
  after(() => world.close());

  const policy = (spec: string | undefined) =>
    loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: attacked }\nspec: { ${[standardSpec, spec, 'requires: [tier-a]'].filter((part) => part !== undefined).join(', ')} }\n`, 'attacked.yaml');
  const made = async (spec?: string): Promise<Sandbox> => {
    const sandbox = await createSandbox(policy(spec), { workspace: world.workspace, agents: [{ name: world.shown.slice('/opt/'.length), source: world.shown }] });
    assert.equal(sandbox.tier, 'A');
    return sandbox;
  };
  const run = async (sandbox: Sandbox, script: string): Promise<{ readonly code: number | undefined; readonly said: string }> => {
    const { code, stdout, stderr } = await (await sandbox.exec(['/bin/sh', '-c', script], { env: world.variables('/workspace') })).output();
    return { code: code ?? undefined, said: stdout + stderr };
  };

  /** All of `list` in one command; gives those that won and, where an attempt ended the command, those that were not tried. */
  async function atOnce(sandbox: Sandbox, list: readonly Entry[], won: string[]): Promise<Entry[]> {
    const folder = join(world.workspace, 'batch');
    mkdirSync(folder);
    list.forEach(({ attempt }, i) => writeFileSync(join(folder, String(i)), attempt));
    for (const path of ['', ...readdirSync(folder)]) chownSync(join(folder, path), 1000, 1000);
    const kept = readdirSync(world.workspace).join(' ');
    await run(sandbox, `cd $W; i=0
while [ $i -lt ${list.length} ]; do
  read began _ </proc/uptime
  (exec timeout -s KILL ${patience} /bin/sh batch/$i) >/dev/null 2>&1 </dev/null
  ${endRest}
  read ended _ </proc/uptime
  echo $((${'$'}{ended%.*} - ${'$'}{began%.*})) >batch/took.$i
  [ -f loot ] && mv -f loot batch/loot.$i
  for e in * .[!.]*; do case " ${kept} " in *" $e "*) ;; *) rm -rf "./$e" 2>/dev/null ;; esac; done
  : >batch/done.$i
  i=$((i+1))
done`);
    const missed: Entry[] = [];
    list.forEach((one, i) => {
      const took = join(folder, `took.${i}`);
      if (existsSync(took) && Number(readFileSync(took, 'utf8')) >= 10) console.log(`# ${one.id}: ${readFileSync(took, 'utf8').trim()} s`);
      const loot = join(folder, `loot.${i}`);
      if (!existsSync(join(folder, `done.${i}`))) missed.push(one);
      else if (existsSync(loot) && one.won({ world, code: undefined, loot: readFileSync(loot, 'utf8'), heard: '' })) won.push(`${one.id}: ${readFileSync(loot, 'utf8').slice(0, 300)}`);
    });
    rmSync(folder, { recursive: true, force: true });
    return missed;
  }

  async function alone(sandbox: Sandbox, one: Entry, won: string[], end: () => Promise<void>): Promise<void> {
    let seen = false;
    const { during } = one;
    const timer = during === undefined ? undefined : setInterval(() => (seen ||= during(world)), 10);
    try {
      const began = performance.now();
      // In a script of its own, so that it ends when the attempt kills all that it can.
      const { code, said } = await run(sandbox, asIs(one) ? one.attempt : `(exec timeout -s KILL ${patience} /bin/sh -c '${one.attempt.replaceAll("'", `'\\''`)}'); code=$?; ${endRest}; exit $code`);
      await end();
      if (performance.now() - began > 10_000) console.log(`# ${one.id}: ${Math.round((performance.now() - began) / 1000)} s`);
      if (one.won({ ...(await world.look(/^outlive/.test(one.id) ? 1000 : 20)), code }) || seen) won.push(`${one.id}: ${said.slice(0, 300)}`);
    } finally {
      clearInterval(timer);
    }
  }

  /** Takes away what an attempt left; what the policy speaks of has mounts on it and stays. */
  function tidy(kept: ReadonlySet<string>): void {
    for (const name of readdirSync(world.workspace)) if (!kept.has(name)) rmSync(join(world.workspace, name), { recursive: true, force: true });
  }

  /** One sandbox for all, another one for those that are looked at after its end, for those of each policy that names programs, and for each with limits or that wants to outlive it. */
  async function judge(list: readonly Entry[], ofProject: boolean): Promise<string[]> {
    const won: string[] = [];
    const own = (one: Entry): boolean => one.spec !== undefined || one.ends === true || /^outlive/.test(one.id);
    world.reset(1000, ofProject);
    const kept = new Set(readdirSync(world.workspace));
    let sandbox = await made();
    try {
      // Else it could be for want of these that nothing works.
      const there = await run(sandbox, `$TRY call 39; cat ${world.shown}/open; echo $TOKEN`);
      assert.match(there.said, new RegExp(`^= \\d+\\n?as it was ?${world.token}`), there.said);
      const fast = list.filter((one) => !own(one) && byLoot(one, world));
      const missed = await atOnce(sandbox, fast, won);
      for (const one of [...list.filter((other) => !own(other) && !fast.includes(other)), ...missed]) {
        await alone(sandbox, one, won, async () => undefined);
        tidy(kept);
        if (!world.neighbourLives) world.reset(1000, ofProject);
      }
    } finally {
      await sandbox.destroy();
    }
    const rest = list.filter(own);
    const together = (one: Entry): boolean => asIs(one) && one.spec !== undefined && one.ends !== true;
    for (const one of rest.filter((other) => !together(other) && other.ends !== true)) {
      world.reset(1000, ofProject);
      sandbox = await made(one.spec);
      try {
        // Until a sandbox ends its processes may live on; what they did by then says nothing.
        await alone(sandbox, one, won, () => sandbox.destroy().then(() => (/^outlive/.test(one.id) ? tidy(kept) : undefined)));
      } finally {
        await sandbox.destroy();
      }
    }
    world.reset(1000, ofProject);
    sandbox = await made();
    const ending = rest.filter((one) => one.ends === true);
    try {
      for (const one of ending) await run(sandbox, one.attempt);
    } finally {
      await sandbox.destroy();
    }
    for (const one of ending) if (one.won(await world.look(20))) won.push(one.id);
    for (const spec of new Set(rest.filter(together).map((one) => one.spec))) {
      world.reset(1000, ofProject);
      sandbox = await made(spec);
      try {
        for (const one of rest.filter((other) => together(other) && other.spec === spec)) {
          await alone(sandbox, one, won, async () => undefined);
          tidy(kept);
        }
      } finally {
        await sandbox.destroy();
      }
    }
    for (const one of won) console.log(`# WORKED: ${one}`);
    return won;
  }

  test('none of the smaller table works', async (t) => {
    assert.deepEqual(await judge(smaller, false), []);
    t.diagnostic(`${smaller.length} tried`);
  });

  test('none of the larger table that tier A decides otherwise works', async (t) => {
    assert.deepEqual(await judge(larger, true), []);
    t.diagnostic(`${larger.length} of ${attempts.length} tried`);
    assert.ok(larger.length > 70);
  });

  test('what must work works', async () => {
    const folder = mkdtempSync('/tmp/controls-');
    mkdirSync(join(folder, 'vault'));
    for (const path of ['', 'vault']) chownSync(join(folder, path), 1000, 1000);
    const sandbox = await createSandbox(policy(undefined), { workspace: folder });
    const wrong: string[] = [];
    try {
      for (const { title, command, code, out, left } of controlList) {
        const end = await (await sandbox.exec(command)).output();
        const file = left && join(folder, left[0]);
        const good = out.test(end.stdout.trim()) && (code === 137 ? end.signal === 'SIGKILL' || end.code === 137 : end.code === (code ?? 0)) && (left === undefined || (file !== undefined && existsSync(file) && left[1].test(readFileSync(file, 'utf8'))));
        if (!good) wrong.push(`${title}: ${end.code ?? end.signal} ${end.stdout}${end.stderr}`);
      }
      assert.deepEqual(wrong, []);
    } finally {
      await sandbox.destroy();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
