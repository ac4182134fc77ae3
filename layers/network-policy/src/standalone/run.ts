/** `network-policy run`: one command whose whole network passes the policy. */
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { couldChange } from './follow.ts';
import { freeze } from './freeze.ts';
import { capture } from './captured-command.ts';
import { holdCredentials } from './held-credentials.ts';
import type { HeldCredentials } from './held-credentials.ts';
import { javaTrustStore } from './java-trust-store.ts';
import { makeRunFolder } from './run-folder.ts';
import { readSeeing } from './policy.ts';
import { withPrograms } from './seen-programs.ts';
import type { SeenPrograms } from './seen-programs.ts';
import { announce, serveCaptured, sinkOf } from './serve.ts';
import { systemClock, systemIds } from './system.ts';
import { terminalApprover } from './terminal-approver.ts';
import { javaStore, systemBundles, trustVariables } from './trust.ts';
import { userOf } from './user.ts';
import { readWords } from './words.ts';
import type { Words } from './words.ts';

const passedOn = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
// The terminal sends these to the command as well; ours is to wait for its end.
const left = ['SIGINT', 'SIGQUIT'] as const;

/** The exit code: the command's, or 128 + signal; 126, 127 where it could not be started. Throws NemoError before anything runs. */
export const run = (args: readonly string[]): Promise<number> => withPrograms((programs) => runSeen(readWords('run', args), programs));

async function runSeen(words: Words, programs: SeenPrograms): Promise<number> {
  const alone = await readSeeing(words, programs.see);
  const user = words.user === undefined ? undefined : userOf(words.user);
  const held = await holdCredentials(words.credentials, systemClock, systemIds);
  const followed = words.follow || !couldChange(words.policy, user?.uid ?? process.getuid?.() ?? 0);
  announce(alone, words);
  const audit = sinkOf(words, held);
  const files = makeRunFolder();
  try {
    const { binds, env } = dress(files, alone.root.certPem);
    const hidden = [...held.files, ...(words.tlsKey === undefined ? [] : [resolve(words.tlsKey)])].map((file) => ['/dev/null', file] as const);
    const captured = await capture(['run', ...[...binds, ...hidden].flatMap(([from, over]) => ['--bind', from, over]), ...(user ? ['--user', String(user.uid), String(user.gid)] : []), '--', ...words.command], { ...withoutTaken(held), ...env, ...(user?.home === undefined ? {} : { HOME: user.home, USER: user.name, LOGNAME: user.name }), ...held.variables });
    const { child } = captured;
    const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
    const ignore = (): void => undefined;
    for (const signal of passedOn) process.on(signal, forward);
    for (const signal of left) process.on(signal, ignore);
    try {
      programs.within(captured.network, `/proc/${child.pid ?? 0}/ns/mnt`);
      const served = await serveCaptured(alone, words, held, captured, terminalApprover(() => freeze(child.pid ?? 0)), audit, followed, programs);
      captured.go();
      const [code, signal] = await ended;
      await served.close();
      return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
    } finally {
      captured.close();
      for (const signal of passedOn) process.off(signal, forward);
      for (const signal of left) process.off(signal, ignore);
    }
  } finally {
    rmSync(files, { recursive: true, force: true });
  }
}

/** Our variables but those that secrets were read from. */
function withoutTaken({ taken }: HeldCredentials): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !taken.includes(name)));
}

/** Files that the command sees in place of the system's, and its variables: our authority is trusted, and names are asked of us. */
function dress(files: string, rootPem: string): { readonly binds: readonly (readonly [string, string])[]; readonly env: Readonly<Record<string, string>> } {
  const put = (name: string, text: string | Buffer): string => {
    const path = join(files, name);
    writeFileSync(path, text);
    chmodSync(path, 0o644);
    return path;
  };
  chmodSync(files, 0o755);
  const system = systemBundles.find((path) => existsSync(path));
  const own = put('root.pem', rootPem);
  const all = `${system === undefined ? '' : readFileSync(system, 'utf8')}\n${rootPem}`;
  const bundle = put('bundle.pem', all);
  const java = put('java.jks', javaTrustStore(all, systemClock.now()));
  const resolver = put('resolv.conf', 'nameserver 127.0.0.1\noptions edns0 timeout:2 attempts:2\n');
  const binds: (readonly [string, string])[] = [...systemBundles.filter((path) => existsSync(path)).map((path) => [bundle, path] as const), [resolver, '/etc/resolv.conf']];
  if (existsSync(javaStore)) binds.push([java, javaStore]);
  // Services of the host that would answer for names behind our back.
  const order = '/etc/nsswitch.conf';
  if (existsSync(order)) binds.push([put('nsswitch.conf', readFileSync(order, 'utf8').replace(/^hosts:.*$/m, 'hosts: files dns')), order]);
  for (const socket of ['/run/nscd/socket', '/run/systemd/resolve/io.systemd.Resolve']) if (existsSync(socket)) binds.push(['/dev/null', socket]);
  return { binds, env: trustVariables(bundle, own, java, process.env) };
}
