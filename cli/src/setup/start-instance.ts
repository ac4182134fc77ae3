/** What `up` and `onboard` do first: identities, configuration, supervisor, and waiting until the gateway answers. */
import type { StatusView } from '@nemoclaw/contract';
import { note, type CliContext } from '../context.ts';
import { Failure } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { writeDaemonConfig } from './daemon-config.ts';
import { addOperator, ensureIdentities, type Identities } from './identities.ts';
import { findSupervisor, isOutdated, lastLogLines, startSupervisor, stopSupervisor } from './supervisor.ts';

export interface StartResult {
  readonly started: boolean;
  readonly status: StatusView;
}

/** Refuses everybody but root. */
export function needRoot(context: CliContext, what: string): void {
  if (context.world.uid !== 0) throw new Failure('NEMO_E_ROOT', { what: `${what} needs root.`, why: 'Sandboxes are made by a small root process; nothing else runs as root.' });
}

/** Makes the system users and the group, and puts the person who called sudo into it. Says what it did. */
export function prepareIdentities(context: CliContext): Identities {
  const { made, identities } = ensureIdentities(context.places);
  if (made.length > 0) note(context, `Made the system users and groups ${made.join(', ')} (no shell, no home).`);
  const person = context.world.env['SUDO_USER'];
  if (person !== undefined && person !== '' && person !== 'root' && addOperator(person)) {
    note(context, `Added ${person} to the group nemoclaw-operators: ${person} can now use nemoclaw without sudo, after logging in again.`);
  }
  return identities;
}

/** Starts the instance if it does not run (or runs an older copy without a running sandbox), and waits at most `patienceMs` for the gateway. */
export async function startInstance(context: CliContext, identities: Identities, patienceMs = 20_000): Promise<StartResult> {
  const running = findSupervisor(context.places);
  if (running !== undefined && isOutdated(context.places, running)) {
    const sandboxes = await call<StatusView>(context, 'GET', '/v1/status').then(
      (status) => status.sandboxes.filter((s) => s.state === 'running').length,
      () => 0,
    );
    if (sandboxes > 0) note(context, `The running services are of an older copy; ${sandboxes === 1 ? 'a running sandbox keeps' : `${sandboxes} running sandboxes keep`} them. To change over: nemoclaw down && nemoclaw up`);
    else await stopSupervisor(context);
  }
  const started = findSupervisor(context.places) === undefined;
  // written only for the version that will read it
  if (started) writeDaemonConfig(context.places, identities);
  if (started) startSupervisor(context.places);
  let last: unknown;
  for (let waited = 0; waited < patienceMs; waited += 50) {
    try {
      const status = await call<StatusView>(context, 'GET', '/v1/status');
      if (status.services.every((service) => service.up) && status.record.up) return { started, status };
      last = new Error(
        `not up yet: ${
          status.services
            .filter((service) => !service.up)
            .map((service) => service.name)
            .join(', ') || 'record'
        }`,
      );
    } catch (error) {
      last = error;
    }
    if (started && waited > 1000 && findSupervisor(context.places) === undefined) break;
    await context.world.sleep(50);
  }
  const log = lastLogLines(context.places);
  throw new Failure('NEMO_E_SETUP', {
    what: 'NemoClaw did not start.',
    why: `${last instanceof Error ? last.message : String(last)}${log === '' ? '' : `\n${log}`}`,
    fix: `Look at the logs in ${context.places.state}/log, then run \`nemoclaw doctor\`.`,
  });
}
