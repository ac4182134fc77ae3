/** First light: the thinnest whole NemoClaw, end to end, with a real agent, judged by the world and not by its own claims. */
import type { Checks } from '../../harness/checks.ts';
import type { Instance } from '../../harness/instance.ts';
import { badInput } from './bad-input.ts';
import { faults } from './faults.ts';
import { holds } from './holds.ts';
import { policy } from './policy.ts';
import { onboarding, tickets } from './tickets.ts';

export async function firstLight(instance: Instance, check: Checks): Promise<void> {
  check.section('onboarding');
  await check.step('onboarding', () => onboarding(instance, check));
  check.section('work through the open tickets');
  await check.step('the tickets', () => tickets(instance, check));
  await check.step('the held actions', () => holds(instance, check));
  await check.step('the changing policies', () => policy(instance, check));
  await check.step('the faults', () => faults(instance, check));
  await check.step('the mistakes', () => badInput(instance, check));
}
