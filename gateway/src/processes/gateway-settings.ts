/** Settings of the gateway process from the environment that openshelld gives it. */
import { readFileSync } from 'node:fs';
import { demoPorts } from '@nemoclaw/contract';
import type { PeerRules } from '../api/peers.ts';
import type { Settings } from '../settings.ts';

type Environment = Readonly<Record<string, string | undefined>>;

function numbers(text: string | undefined): number[] {
  return (text ?? '').split(/[,:]/).filter((part) => /^\d+$/.test(part)).map(Number);
}

export function settingsFrom(env: Environment, version: string): Settings {
  const run = env['NEMOCLAW_RUN'] ?? '/run/nemoclaw';
  const state = env['NEMOCLAW_STATE'] ?? '/var/lib/nemoclaw';
  const lib = env['NEMOCLAW_LIB'] ?? `${env['NEMOCLAW_PREFIX'] ?? '/opt/nemoclaw'}/lib`;
  const demo = env['NEMOCLAW_DEMO_DIR'];
  return {
    run,
    state,
    agentsDir: env['NEMOCLAW_AGENTS'] ?? `${state}/agents`,
    blueprintDirs: [env['NEMOCLAW_BLUEPRINTS'] ?? `${lib}/blueprints`, `${state}/blueprints`],
    anchorDirs: [`${state}/anchors`, ...(demo === undefined ? [] : [demo])],
    ...ingressFrom(env['NEMOCLAW_INGRESS']),
    demoEndpoint: env['NEMOCLAW_DEMO_ENDPOINT'] ?? (demo === undefined ? '' : `http://127.0.0.1:${demoPorts.model}/v1`),
    version,
    channels: new Set(['terminal']),
    sinks: new Set(['security-events']),
  };
}

/** `address:port`, an IPv6 address in brackets. */
function ingressFrom(text: string | undefined): Pick<Settings, 'ingress'> {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text ?? '');
  return match === null ? {} : { ingress: { host: match[1] ?? match[2] ?? '', port: Number(match[3]) } };
}

/** Who is refused. Without a range of agents nobody could be told from one, so everything above the login range is refused. */
export function peerRulesFrom(env: Environment): PeerRules {
  const [first, count] = numbers(env['NEMOCLAW_AGENT_UIDS']);
  return {
    services: new Set(numbers(env['NEMOCLAW_SERVICE_UIDS'])),
    agents: first !== undefined && count !== undefined ? [first, first + count - 1] : [65_536, 0xffff_ffff],
  };
}

export function operatorsGroup(env: Environment): number | undefined {
  return numbers(env['NEMOCLAW_OPERATORS_GID'])[0];
}

/** Members of the operators' group, read each time: who is added counts at once. At least one, the administrator. */
export function countPeople(gid: number | undefined, groupFile = '/etc/group'): number {
  if (gid === undefined) return 1;
  try {
    for (const line of readFileSync(groupFile, 'utf8').split('\n')) {
      const [, , number, members] = line.split(':');
      if (Number(number) === gid && number !== '') return Math.max(1, (members ?? '').split(',').filter((name) => name !== '').length);
    }
  } catch {
    return 1;
  }
  return 1;
}
