/** Makes one sandbox, as whoever runs this, and does the work in it: `in-sandbox.ts JOB` prints a Report as JSON. */
import { createSandbox, loadSandboxPolicy, type Sandbox } from '@nemoclaw/openshell';
import { commitCommand, workFolder, works, type Isolation } from './programs.ts';

export interface Job {
  readonly isolation: Isolation;
  /** Folder of the host with `programs` and `project`. */
  readonly workspace: string;
  /** Names of works. */
  readonly works: readonly string[];
}
export interface Ran {
  readonly name: string;
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}
export interface Report {
  /** Of the process that had the sandbox; its openshelld is named after it. */
  readonly pid: number;
  readonly tier: string;
  readonly ran: readonly Ran[];
  readonly commit: Ran;
  /** Writing beside the project. */
  readonly write: Ran;
}

async function timed(sandbox: Sandbox, name: string, argv: readonly string[]): Promise<Ran> {
  const start = performance.now();
  const { code, stdout, stderr } = await (await sandbox.exec(argv)).output();
  return { name, code, stdout, stderr, ms: Math.round(performance.now() - start) };
}

async function report({ isolation, workspace, works: wanted }: Job): Promise<Report> {
  const { network, filesystem, syscalls } = isolation;
  const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: work }\nspec: { isolation: { network: ${network}, filesystem: ${filesystem}, syscalls: ${syscalls} } }\n`, 'work.yaml');
  const sandbox = await createSandbox(policy, { workspace });
  try {
    const ran: Ran[] = [];
    for (const [i, { name, command }] of works.entries()) {
      if (!wanted.includes(name)) continue;
      const folder = `${workFolder(isolation)}/${i}`;
      ran.push(await timed(sandbox, name, ['/bin/sh', '-c', 'mkdir -p "$0" && cd "$0" && exec "$@"', folder, ...command]));
    }
    const write = await timed(sandbox, 'write', ['/bin/sh', '-c', 'echo new > /workspace/new']);
    return { pid: process.pid, tier: sandbox.tier, ran, commit: await timed(sandbox, 'commit', commitCommand), write };
  } finally {
    await sandbox.destroy();
  }
}

console.log(JSON.stringify(await report(JSON.parse(process.argv[2] ?? '{}') as Job)));
