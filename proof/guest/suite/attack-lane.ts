/** One host with its attempts of the tables: many of them in one command of one sandbox, each judged by what it left; what looks as if it had worked is tried again by itself. */
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { createSandbox, type Sandbox } from '@nemoclaw/openshell';
import { standardSpec } from '../../attacks/table.ts';
import { World, type Seen } from '../../attacks/world.ts';

export interface Entry {
  readonly id: string;
  readonly spec?: string;
  readonly attempt: string;
  readonly won: (seen: Seen) => boolean;
  readonly during?: (world: World) => boolean;
  /** Where the sandbox's end decides: it is looked at after that. */
  readonly ends: boolean;
  /** A workspace with what a project has. */
  readonly ofProject: boolean;
}

/** Seconds for an attempt: what hangs has not worked. */
const patience = 40;
/** Everything in the sandbox but the shell that says it: what an attempt left running does not take the next one's time. */
const endRest = 'kill -KILL -1 2>/dev/null';

export const policyWith = (spec: string | undefined) =>
  loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: attacked }\nspec: { ${[standardSpec, spec, 'requires: [tier-a]'].filter((part) => part !== undefined).join(', ')} }\n`, 'attacked.yaml');

/** Its policy names the programs that may run, `timeout` not among them: it is started as it is. */
const namesPrograms = (one: Entry): boolean => one.spec?.includes('exec: {') === true;
const outlives = (one: Entry): boolean => one.id.startsWith('outlive');
/** Can be tried with others in one sandbox, one after another. */
export const isPlain = (one: Entry): boolean => one.spec === undefined && !one.ends && !outlives(one);

/** Of what an attempt left, apart from what stays: a file that is looked for is not always there. */
function wonBy(one: Entry, left: Seen): boolean {
  try {
    return one.won(left);
  } catch {
    return false;
  }
}

export class Lane {
  readonly #world: World;
  /** What worked, with what was said; empty is what is wanted. */
  readonly won: string[] = [];
  tried = 0;

  constructor(world: World) {
    this.#world = world;
  }

  async #made(spec?: string): Promise<Sandbox> {
    const sandbox = await createSandbox(policyWith(spec), { workspace: this.#world.workspace, agents: [{ name: this.#world.shown.slice('/opt/'.length), source: this.#world.shown }] });
    assert.equal(sandbox.tier, 'A');
    return sandbox;
  }

  async #run(sandbox: Sandbox, script: string): Promise<{ readonly code: number | undefined; readonly said: string }> {
    const { code, stdout, stderr } = await (await sandbox.exec(['/bin/sh', '-c', script], { env: this.#world.variables('/workspace') })).output();
    return { code: code ?? undefined, said: stdout + stderr };
  }

  /** Else it could be for want of these that nothing works. */
  async #check(sandbox: Sandbox): Promise<void> {
    const { said } = await this.#run(sandbox, `$TRY call 39; cat ${this.#world.shown}/open; echo x >/tmp/x && echo x >$W/x && rm /tmp/x $W/x; echo $TOKEN`);
    assert.match(said, new RegExp(`^= \\d+\\n?as it was ?${this.#world.token}`), said);
  }

  /** All of `list` in one command, in a sandbox of their own. */
  async batch(list: readonly Entry[]): Promise<void> {
    const world = this.#world;
    const suspects: Entry[] = [];
    for (let left = list; left.length > 0; ) {
      world.reset(1000, left[0]?.ofProject);
      const sandbox = await this.#made();
      const during = left.flatMap((one) => (one.during === undefined ? [] : [{ one, during: one.during }]));
      const timer = during.length === 0 ? undefined : setInterval(() => suspects.push(...during.filter((each) => !suspects.includes(each.one) && each.during(world)).map((each) => each.one)), 10);
      try {
        await this.#check(sandbox);
        const ended = await this.#atOnce(sandbox, left, suspects);
        if (ended === left.length) await this.#check(sandbox);
        const next = left[ended];
        // It has ended the command, and perhaps more.
        if (next !== undefined) suspects.push(next);
        this.tried += Math.min(ended + 1, left.length);
        left = left.slice(ended + 1);
      } finally {
        clearInterval(timer);
        await sandbox.destroy();
      }
    }
    for (const one of new Set(suspects)) await this.alone(one, true);
  }

  /** How many were tried to their end; `suspects` gets those that seem to have worked. */
  async #atOnce(sandbox: Sandbox, list: readonly Entry[], suspects: Entry[]): Promise<number> {
    const world = this.#world;
    const folder = join(world.workspace, 'batch');
    mkdirSync(folder);
    list.forEach(({ attempt }, i) => writeFileSync(join(folder, String(i)), attempt));
    for (const path of ['', ...readdirSync(folder)]) chownSync(join(folder, path), 1000, 1000);
    const kept = readdirSync(world.workspace).join(' ');
    await this.#run(sandbox, `cd $W; i=0
while [ $i -lt ${list.length} ]; do
  read began _ </proc/uptime
  (exec timeout -s KILL ${patience} /bin/sh batch/$i) >/dev/null 2>&1 </dev/null
  code=$?
  ${endRest}
  read ended _ </proc/uptime
  new=
  for e in * .[!.]*; do case " ${kept} * .[!.]* " in *" $e "*) ;; *) [ "$new" ] || mkdir batch/left.$i; new=1; mv -f "./$e" batch/left.$i/ 2>/dev/null || rm -rf "./$e" 2>/dev/null ;; esac; done
  for e in /tmp/* /dev/shm/*; do [ -e "$e" ] && { rm -rf /tmp/* /dev/shm/* 2>/dev/null; break; }; done
  echo $code $((${'$'}{ended%.*} - ${'$'}{began%.*})) >batch/done.$i
  i=$((i+1))
done`);
    const after = await world.look(100);
    let tried = 0;
    for (; tried < list.length && existsSync(join(folder, `done.${tried}`)); tried += 1) {
      const one = list[tried];
      if (one === undefined) break;
      const [code = 0, took = 0] = readFileSync(join(folder, `done.${tried}`), 'utf8').split(' ').map(Number);
      if (took >= 10) console.log(`# ${one.id}: ${took} s`);
      const left = join(folder, `left.${tried}`), loot = join(left, 'loot');
      const there = new Proxy(world, { get: (target, key) => (key === 'workspace' ? left : Reflect.get(target, key)) });
      const seen: Seen = { world: there, code, heard: after.heard, loot: existsSync(loot) ? readFileSync(loot, 'utf8') : '' };
      if (wonBy(one, seen) || one.won({ ...after, code, loot: '' })) suspects.push(one);
    }
    rmSync(folder, { recursive: true, force: true });
    return tried;
  }

  async #watched(sandbox: Sandbox, one: Entry, end: () => Promise<void>): Promise<void> {
    const world = this.#world;
    let seen = false;
    const { during } = one;
    const timer = during === undefined ? undefined : setInterval(() => (seen ||= during(world)), 10);
    try {
      const began = performance.now();
      // In a script of its own, so that it ends when the attempt kills all that it can.
      const asIs = namesPrograms(one) || outlives(one);
      const { code, said } = await this.#run(sandbox, asIs ? one.attempt : `(exec timeout -s KILL ${patience} /bin/sh -c '${one.attempt.replaceAll("'", `'\\''`)}'); code=$?; ${endRest}; exit $code`);
      await end();
      if (performance.now() - began > 10_000) console.log(`# ${one.id}: ${Math.round((performance.now() - began) / 1000)} s`);
      if (one.won({ ...(await world.look(outlives(one) ? 1000 : 20)), code }) || seen) this.won.push(`${one.id}: ${said.slice(0, 300)}`);
    } finally {
      clearInterval(timer);
    }
  }

  /** In a sandbox of its own, and looked at after that one's end. `again`: it has been counted. */
  async alone(one: Entry, again = false): Promise<void> {
    this.#world.reset(1000, one.ofProject);
    const sandbox = await this.#made(one.spec);
    try {
      // Until a sandbox ends its processes may live on; what they did by then says nothing.
      await this.#watched(sandbox, one, () => sandbox.destroy().then(() => (outlives(one) ? this.#tidy(new Set()) : undefined)));
    } finally {
      await sandbox.destroy();
    }
    if (!again) this.tried += 1;
  }

  /** All under one policy that names programs: one after another in one sandbox. */
  async inTurn(list: readonly Entry[]): Promise<void> {
    this.#world.reset(1000, list[0]?.ofProject);
    const kept = new Set(readdirSync(this.#world.workspace));
    const sandbox = await this.#made(list[0]?.spec);
    try {
      for (const one of list) {
        await this.#watched(sandbox, one, async () => undefined);
        this.#tidy(kept);
        this.tried += 1;
      }
    } finally {
      await sandbox.destroy();
    }
  }

  /** Several in one sandbox, looked at after its end. */
  async toTheEnd(list: readonly Entry[]): Promise<void> {
    this.#world.reset(1000, list[0]?.ofProject);
    const sandbox = await this.#made();
    try {
      for (const one of list) await this.#run(sandbox, one.attempt);
    } finally {
      await sandbox.destroy();
    }
    const seen = await this.#world.look(20);
    for (const one of list) if (one.won(seen)) this.won.push(one.id);
    this.tried += list.length;
  }

  /** Takes away what an attempt left; what the policy speaks of has mounts on it and stays. */
  #tidy(kept: ReadonlySet<string>): void {
    const { workspace } = this.#world;
    for (const name of readdirSync(workspace)) if (!kept.has(name)) rmSync(join(workspace, name), { recursive: true, force: true });
  }
}
