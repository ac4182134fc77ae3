/** kill -9 of everybody in turn, each time while a deletion waits for a person. */
import { existsSync, readFileSync } from 'node:fs';
import type { Checks } from '../harness/checks.ts';
import { until } from '../harness/instance.ts';
import { Scene } from './scene.ts';

const parentOf = (pid: number): number => Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

/** openshelld, the gateway and one process of the agent die; the sandbox lives on, shut, and what waits comes to its end. */
export async function deaths(check: Checks): Promise<void> {
  const scene = await Scene.open(check);
  const { instance } = scene;
  try {
    check.section('kill -9 of openshelld');
    let waiting = await scene.waiting('helper');
    await instance.killDaemon();
    check.that('the deletion still waits', existsSync(waiting.file) && waiting.answer() === undefined);
    await scene.stayedShut('openshelld');
    await scene.answer(waiting, 'allow');
    await scene.ended('openshelld', waiting, 'done');

    check.section('kill -9 of the gateway');
    waiting = await scene.waiting('gateway');
    const old = await scene.gateway();
    process.kill(old.pid, 'SIGKILL');
    await instance.service('gateway', old.pid);
    check.that('the deletion still waits', existsSync(waiting.file) && waiting.answer() === undefined);
    await scene.stayedShut('gateway');
    await until('the question', async () => ((await scene.answer(waiting, 'deny').catch(() => undefined)) === undefined ? undefined : true));
    await scene.ended('gateway', waiting, 'Operation not permitted');

    check.section('kill -9 of openshelld and the gateway together, again and again');
    waiting = await scene.waiting('both');
    for (let i = 0; i < 3; i += 1) {
      const gateway = await scene.gateway();
      const reset = instance.killDaemon().catch(() => undefined);
      process.kill(gateway.pid, 'SIGKILL');
      await instance.service('gateway', gateway.pid);
      void reset;
      await until('openshelld', () => (instance.daemonPid > 0 ? true : undefined));
    }
    await scene.stayedShut('both');
    await until('the question', async () => ((await scene.answer(waiting, 'deny').catch(() => undefined)) === undefined ? undefined : true));
    await scene.ended('both', waiting, 'Operation not permitted');

    check.section('kill -9 of the agent that waits');
    waiting = await scene.waiting('agent');
    process.kill(waiting.hold.pid, 'SIGKILL');
    const gateway = await scene.gateway();
    const gone = await gateway.saw('hold.ended', (m) => m.holdId === waiting.hold.holdId);
    check.that('its question is withdrawn, its file is there', gone.outcome === 'agent-gone' && existsSync(waiting.file), gone);
    const late = await scene.answer(waiting, 'allow').then(() => 'taken', (error: { code?: string }) => error.code);
    check.that('an approval that comes late is refused, and does nothing', late === 'no-hold' && existsSync(waiting.file), late);
    await scene.stayedShut('agent');
  } finally {
    await scene.destroy();
  }
}

/** Whoever is above the agent dies: then the agent dies too, with all it started, and what waited was not done. */
export async function parents(check: Checks): Promise<void> {
  for (const victim of ['init', 'shim', 'supervisor'] as const) {
    check.section(`kill -9 of the parent: ${victim}`);
    const scene = await Scene.open(check);
    const { instance, made } = scene;
    try {
      const waiting = await scene.waiting('parent');
      const before = scene.processes();
      const daemon = instance.daemonPid;
      process.kill(victim === 'init' ? made.init : victim === 'shim' ? parentOf(made.init) : instance.supervisorPid, 'SIGKILL');
      const left = await until('the end', () => (before.some((pid) => existsSync(`/proc/${pid}`)) ? undefined : true)).catch(() => false);
      check.that(`all ${before.length} processes of the sandbox end`, left === true && before.length >= 3, scene.processes());
      check.that('what waited was not done', existsSync(waiting.file) && waiting.answer() === undefined, waiting.answer());
      if (victim === 'supervisor') {
        const ended = await until('openshelld', () => (existsSync(`/proc/${daemon}`) ? undefined : true)).catch(() => false);
        check.that('openshelld ends with it', ended === true);
      } else {
        const gateway = await scene.gateway();
        await gateway.saw('sandbox.gone', (m) => m.sandbox === 'agent');
        const again = await gateway.call('create', 'agent', instance.plan('isolation: { filesystem: workspace }'), scene.registration, 'worker:1').then(() => '', (error: Error) => error.message);
        check.that('another sandbox takes its place', again === '', again);
      }
    } finally {
      await scene.destroy();
    }
  }
}
