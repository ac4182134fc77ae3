/** Where everything is: the fixed paths, or the same tree below NEMOCLAW_ROOT. */

export interface Places {
  /** '' or the private root, e.g. /tmp/x. */
  readonly root: string;
  readonly run: string;
  readonly state: string;
  readonly prefix: string;
  readonly etc: string;
  readonly gatewaySocket: string;
  readonly registerSocket: string;
}

/** Paths for this environment. A relative NEMOCLAW_ROOT is refused by an Error, because services start elsewhere. */
export function placesFrom(env: Readonly<Record<string, string | undefined>>): Places {
  const root = (env['NEMOCLAW_ROOT'] ?? '').replace(/\/+$/, '');
  if (root !== '' && !root.startsWith('/')) throw new Error('NEMOCLAW_ROOT must be an absolute path');
  const run = `${root}/run/nemoclaw`;
  return {
    root,
    run,
    state: `${root}/var/lib/nemoclaw`,
    prefix: `${root}/opt/nemoclaw`,
    etc: `${root}/etc/nemoclaw`,
    gatewaySocket: `${run}/gateway.sock`,
    registerSocket: `${run}/register.sock`,
  };
}
