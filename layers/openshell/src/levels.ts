/** The isolation levels of a policy: what each means, and why there is one. The groups of system calls stand in seccomp-calls.ts. */
import type { filesystemLevels, networkLevels, syscallLevels } from '@nemoclaw/contract';

export interface Level {
  readonly means: string;
  readonly why: string;
}

export const levels: {
  readonly network: Readonly<Record<(typeof networkLevels)[number], Level>>;
  readonly filesystem: Readonly<Record<(typeof filesystemLevels)[number], Level>>;
  readonly syscalls: Readonly<Record<(typeof syscallLevels)[number], Level>>;
} = {
  network: {
    none: { means: 'Loopback only, and TCP not even there; no name has an address.', why: 'For work on files: nothing can leave.' },
    restricted: { means: 'Everything is captured; what the network policy names goes through the proxy, all else is refused.', why: 'The usual level: an agent talks to its model and to named services.' },
    open: { means: 'Everything is captured; every public destination that is reached by its name goes through unless the network policy denies it. Private and loopback addresses stay refused.', why: 'For research on the web. What the sandbox can read can leave; the record says where to.' },
  },
  filesystem: {
    'read-only': { means: 'Nothing persistent is writable but what readWrite names; /tmp and the home are private and end with the sandbox.', why: 'For agents that read and answer.' },
    workspace: { means: 'The workspace is writable too.', why: 'For agents that change a project.' },
    ephemeral: { means: 'The workspace looks writable; changes go to a layer that is thrown away when the sandbox ends.', why: 'To try something out on a project that must stay as it is.' },
  },
  syscalls: {
    minimal: { means: 'What node, python, git, gcc and a shell need.', why: 'The least of the kernel that ordinary programs can do with.' },
    standard: { means: 'And debuggers, System V and POSIX queues, own sandboxes of programs, old asynchronous files.', why: 'What developers expect of a machine.' },
    permissive: { means: 'And placing of memory, file handles, programs without address randomisation.', why: 'For debuggers of the record-and-replay kind, numerical work. More of the kernel is reachable.' },
  },
};
