/** `nemoclaw doctor`: what this machine has, what runs, what is enforced, and how to mend the rest. */
import type { DoctorView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { AnsweredFailure, Failure, Quit } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { preflight } from '../setup/preflight.ts';
import { mark } from '../verdict-mark.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const checks = preflight(this.places);
  let host: DoctorView['host'] | null = null;
  try {
    const view = await call<DoctorView>(this, 'GET', '/v1/doctor');
    checks.push(...view.checks);
    host = view.host;
  } catch (error) {
    if (!(error instanceof Failure) && !(error instanceof AnsweredFailure)) throw error;
    const body = error instanceof Failure ? { what: error.details.what, fix: error.details.fix ?? 'Run `nemoclaw up`.' } : error.body;
    checks.push({ name: 'gateway', state: 'failed', text: body.what, fix: body.fix });
  }
  if (flags.json) sayJson(this, { checks, host });
  else {
    for (const check of checks) {
      say(this, `${mark(this, check.state)}  ${check.name}: ${check.text}`);
      if (check.fix !== '') say(this, `      fix: ${check.fix}`);
    }
    if (host) {
      say(this, `\nIsolation: tier ${host.tier}`);
      for (const text of host.enforced) say(this, `${mark(this, 'yes')}  ${text}`);
      for (const text of host.notEnforced) say(this, `${mark(this, 'no')}   ${text}`);
    }
  }
  if (checks.some((check) => check.state === 'failed')) throw new Quit(host ? 1 : 5);
}
