/** Taking more than is granted, and hindering others by waiting. */
import { closeSync, constants, existsSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inWorkspace, said, type Attempt, type Layer } from './attempt.ts';

const together = /maxMemory.*each process/;
const take = (id: string, title: string, what: string, count: number, spec: string, by: readonly Layer[], admitted?: Attempt['admitted']): Attempt => ({ id, title, plain: 'user', by, spec: `resources: { ${spec} }`, attempt: `timeout -s KILL 8 $TRY take ${what} ${count} >$W/loot`, won: said(new RegExp(`^took ${count}$`, 'm')), ...(admitted === undefined ? {} : { admitted }) });

export const resources: readonly Attempt[] = [
  take('descriptors', 'open more files than the policy grants', 'descriptors', 300, 'maxOpenFiles: 256', ['limits']),
  take('threads', 'start more threads than the policy grants', 'threads', 150, 'maxPids: 64', ['limits']),
  take('memory-shared', 'take memory that is shared', 'shared', 300, 'maxMemory: 128Mi', ['limits'], { C: together }),
  take('memory-nameless', 'take memory as a file without a name', 'memfd', 300, 'maxMemory: 128Mi', ['limits'], { C: together }),
  take('memory-family', 'take memory in six processes, each of which has little', 'family', 300, 'maxMemory: 128Mi', ['limits'], { C: together }),
  { id: 'disk', title: 'fill the disk by /tmp', plain: 'user', by: ['limits', 'view', 'kernel'], admitted: { C: together }, spec: 'resources: { maxMemory: 128Mi }', attempt: '$TRY fill_file /tmp/nca-fill-$TOKEN 200 >$W/loot', won: said(/^took 200$/m) },
  { id: 'shared-disk', title: 'fill the memory by /dev/shm', plain: 'user', by: ['limits', 'view', 'kernel'], admitted: { C: together }, spec: 'resources: { maxMemory: 128Mi }', attempt: '$TRY fill_file /dev/shm/nca-fill-$TOKEN 200 >$W/loot', won: said(/^took 200$/m) },
  { id: 'crash-dump', title: 'leave what is in memory as a file when it crashes', plain: 'user', by: ['limits', 'kernel'], attempt: 'cd $W && ulimit -c unlimited && sh -c "kill -SEGV \\$\\$"', won: ({ world }) => readdirSync(world.workspace).some((name) => name.startsWith('core')) },
  { id: 'wall-time', title: 'go on after its time', plain: 'user', by: ['kernel'], spec: 'resources: { timeout: 1s }', attempt: 'sleep 4; echo $TOKEN >$W/late', won: inWorkspace('late') },
  {
    id: 'lease', title: 'keep the owner from opening a file in the workspace (a lease)', plain: 'user', by: ['seccomp'], attempt: '$TRY lease $W/leased',
    during: (world) => blocked(join(world.workspace, 'leased')), won: () => false,
  },
];

/** A file with a lease cannot be opened without waiting. */
function blocked(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAGAIN';
  }
}
