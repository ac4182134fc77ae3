/** The peer: Debian's bubblewrap, with every namespace it has; installed when absent. */
import { existsSync } from 'node:fs';
import { run } from '../harness/instance.ts';

const bwrapPath = '/usr/bin/bwrap';

/** The command line that runs `command` in a new bubblewrap sandbox; `bind` is a host folder shown writable at /tmp/w. */
export function bwrapped(command: readonly string[], bind?: string): string[] {
  return [bwrapPath, '--unshare-all', '--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc', '--tmpfs', '/tmp', ...(bind === undefined ? [] : ['--bind', bind, '/tmp/w']), '--', ...command];
}

/** True if it can be run; says what it does. Without it figures stand alone. */
export async function provideBwrap(say: (text: string) => void): Promise<boolean> {
  if (!existsSync(bwrapPath)) {
    say('installing bubblewrap, to compare with');
    const install = ['install', '-y', '--no-install-recommends', 'bubblewrap'];
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const first = await run('apt-get', install, { env });
    if (first.code !== 0 && (await run('apt-get', ['update'], { env })).code === 0) await run('apt-get', install, { env });
  }
  if (!existsSync(bwrapPath)) return false;
  const [program = '', ...args] = bwrapped(['/bin/true']);
  return (await run(program, args)).code === 0;
}
