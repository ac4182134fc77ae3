/** Debian packages of the clients: installed where they are missing; a client whose package cannot be had is said not to be tested. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** A file that is there when the package is -> packages. */
const wanted: Readonly<Record<string, { readonly file: string; readonly packages: readonly string[] }>> = {
  curl: { file: '/usr/bin/curl', packages: ['curl'] },
  git: { file: '/usr/bin/git', packages: ['git'] },
  npm: { file: '/usr/bin/npm', packages: ['npm'] },
  pip: { file: '/usr/lib/python3/dist-packages/pip', packages: ['python3-pip'] },
  requests: { file: '/usr/lib/python3/dist-packages/requests', packages: ['python3-requests'] },
  httpx: { file: '/usr/lib/python3/dist-packages/httpx', packages: ['python3-httpx'] },
  grpc: { file: '/usr/lib/python3/dist-packages/grpc', packages: ['python3-grpcio'] },
  go: { file: '/usr/bin/go', packages: ['golang-go'] },
  // Taken where it is; it is too large to be fetched for this.
  java: { file: '/usr/bin/javac', packages: [] },
  psql: { file: '/usr/bin/psql', packages: ['postgresql-client'] },
  redis: { file: '/usr/bin/redis-cli', packages: ['redis-tools'] },
  chromium: { file: '/usr/bin/chromium', packages: ['chromium'] },
};
export type Client = keyof typeof wanted & string;

function apt(args: readonly string[]): boolean {
  // Servers that come along must not start: on Debian a mere installation would.
  const done = spawnSync('apt-get', args, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }, encoding: 'utf8', timeout: 600_000 });
  return done.status === 0;
}

/** Installs what is missing; returns the clients that can be tested. */
export function haveClients(): ReadonlySet<string> {
  const missing = Object.entries(wanted).filter(([, { file }]) => !existsSync(file));
  if (missing.length > 0) {
    console.log(`installing ${missing.flatMap(([, { packages }]) => packages).join(' ')}`);
    const install = (packages: readonly string[]): boolean => apt(['install', '-y', '-q', '--no-install-recommends', ...packages]);
    const all = missing.flatMap(([, { packages }]) => packages);
    if (!install(all) && !(apt(['update', '-q']) && install(all))) for (const [, { packages }] of missing) install(packages);
  }
  const there = Object.entries(wanted).filter(([, { file }]) => existsSync(file)).map(([name]) => name);
  for (const name of Object.keys(wanted)) if (!there.includes(name)) console.log(`CLIENT NOT TESTED: ${name} (it is not installed here)`);
  return new Set(there);
}
