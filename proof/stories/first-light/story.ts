/** First light: the thinnest whole NemoClaw, end to end, with a real agent, judged by the world and not by its own claims. */
import type { Checks } from '../../harness/checks.ts';
import type { Instance } from '../../harness/instance.ts';
import { badInput } from './bad-input.ts';
import { faults } from './faults.ts';
import { holds } from './holds.ts';
import { stoppedAndStarted } from './life.ts';
import { policy } from './policy.ts';
import { onboarding, tickets } from './tickets.ts';
import { followed, resized } from './watched.ts';

export async function firstLight(instance: Instance, check: Checks): Promise<void> {
  check.section('onboarding');
  await check.step('onboarding', () => onboarding(instance, check));
  check.section('work through the open tickets');
  await check.step('the tickets', () => tickets(instance, check));
  check.section('watched at a terminal');
  await check.step('the log', () => followed(instance, check));
  await check.step('the window', () => resized(instance, check));
  check.section('stopped and started again');
  await check.step('stop and start', () => stoppedAndStarted(instance, check));
  await check.step('the held actions', () => holds(instance, check));
  await check.step('the changing policies', () => policy(instance, check));
  await check.step('the faults', () => faults(instance, check));
  await check.step('the mistakes', () => badInput(instance, check));
}
