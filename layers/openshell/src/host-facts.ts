/** What the launcher's plan needs to know of this host. */
import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { readProgram, type HostProgram } from './host-programs.ts';
import { usualBindRoots } from './file-rules.ts';
import { gpuDevices, usualGpuDevices } from './gpu-devices.ts';

export interface HostFacts {
  /** Host folders that a sandbox may see read-only; openshelld is given the same list and checks it again. */
  readonly bindRoots: readonly string[];
  /** Folder that holds the node binary, or null: none is shown. */
  readonly nodeFolder: string | null;
  /** Names in / that are links into /usr, e.g. bin, lib64. */
  readonly usrLinks: readonly string[];
  /** e.g. Europe/Berlin; null if unknown. */
  readonly timeZone: string | null;
  /** Character devices that `gpuAccess: full` shows; the launcher is given the same list and checks each again. Absent: none. */
  readonly gpu?: readonly string[];
  /** What openshelld found; absent: not A. */
  readonly tier?: 'A' | 'B' | 'C';
  /** What control groups can limit; absent: all of it. */
  readonly limits?: { readonly memory: boolean; readonly cpu: boolean; readonly freezer?: boolean };
  /** Looks at a program of the host; absent: paths are taken as they are. */
  readonly program?: (path: string) => HostProgram | undefined;
  /** Folders of /etc with settings of programs, readable by everybody, that those programs do not start without. */
  readonly settings?: readonly string[];
  /** Names in /usr/lib. */
  readonly libraries?: readonly string[];
}

function linkTarget(path: string): string | null {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null;
  } catch {
    return null;
  }
}

/** Reads the facts. `nodeBinary`: the node that agents may run, e.g. process.execPath. `gpu`: patterns of devices, `*` within a name. */
export function readHostFacts(options: { readonly bindRoots?: readonly string[]; readonly nodeBinary?: string | null; readonly gpu?: readonly string[] } = {}): HostFacts {
  const nodeFolder = options.nodeBinary == null ? null : dirname(options.nodeBinary);
  const settings = readdirSync('/etc').filter((name) => /^(java-\d+-openjdk|chromium\.d)$/.test(name)).map((name) => `/etc/${name}`);
  const zone = linkTarget('/etc/localtime')?.match(/\/zoneinfo\/([A-Za-z0-9_+\-/]+)$/)?.[1];
  return {
    bindRoots: [...(options.bindRoots ?? usualBindRoots), ...(nodeFolder === null ? [] : [nodeFolder]), ...settings],
    nodeFolder,
    usrLinks: ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].filter((name) => linkTarget(`/${name}`) !== null),
    timeZone: zone ?? null,
    gpu: gpuDevices(options.gpu ?? usualGpuDevices),
    program: readProgram,
    libraries: readdirSync('/usr/lib'),
    settings,
  };
}
