/** Starts the processes beside a benchmark's client. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ProxyPlan, Ready } from './bench-roles.ts';

const roles = fileURLToPath(new URL('bench-roles.ts', import.meta.url));

/** As openshelld starts a worker (cli/src/setup/daemon-config.ts). */
const workerFlags = ['--no-flush-bytecode', '--max-semi-space-size=64', '--heap-growing-percent=300', '--v8-pool-size=1'];

/** One of the roles of bench-roles.ts; resolves when it is ready. It ends when it is disconnected. */
export async function startRole(role: string, plan?: ProxyPlan): Promise<{ child: ChildProcess; ready: Ready }> {
  const child = fork(roles, [role], { execPath: process.execPath, stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: role === 'proxy' ? workerFlags : [] });
  if (plan) child.send(plan);
  const [ready] = (await once(child, 'message')) as [Ready];
  return { child, ready };
}
