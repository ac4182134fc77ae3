/** Attacks on the way out, byte by byte: a denied canary hears nothing, an allowed one hears only what was decided. */
import type { Checks } from '../../harness/checks.ts';
import type { Instance } from '../../harness/instance.ts';
import { openWorld } from './desk.ts';
import { differential } from './differential.ts';
import { dnsCases } from './dns.ts';
import { doorCases } from './doors.ts';
import { httpCases, worksWithoutTheProxy } from './http.ts';
import { fuzz } from './fuzz.ts';
import { fromInside } from './inside.ts';
import { protocolAttacks } from './protocols/index.ts';
import { rebinding } from './rebinding.ts';
import { smuggling } from './smuggling.ts';
import { targets } from './targets.ts';
import { tlsCases } from './tls.ts';
import { waiting } from './waiting.ts';

/** `made`: told the instance that a part of it starts and destroys. */
export async function networkAttacks(check: Checks, made: (instance: Instance) => void): Promise<void> {
  const world = await openWorld();
  try {
    check.section('the way out: one request that is two');
    await worksWithoutTheProxy(check, world, smuggling);
    await httpCases(check, world, smuggling);
    check.section('the way out: another host, path, method or header');
    await worksWithoutTheProxy(check, world, targets);
    await httpCases(check, world, targets);
    check.section('the way out: handshakes');
    await tlsCases(check, world);
    check.section('the way out: names');
    await dnsCases(check, world);
    check.section('the way out: places at the doors of the proxy, and names that lead inside');
    await doorCases(check, world);
  } finally {
    await world.close();
  }
  await waiting(check);
  await protocolAttacks(check);
  await rebinding(check);
  check.section('parsers of the way out');
  fuzz(check);
  await differential(check);
  await fromInside(check, made);
}
