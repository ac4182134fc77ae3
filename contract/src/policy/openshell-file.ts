/** OpenShell's own policy files as a SandboxPolicy: the same, or stricter; what cannot be honoured is an error at its place. */
import type { Source } from './source.ts';
import { Translation, type Translated } from './foreign.ts';
import { checkSource } from './issue.ts';
import { openshellFileSchema, type OpenshellFile } from './openshell-schema.ts';

const below = (path: string, root: string): boolean => path === root || path.startsWith(`${root}/`);
/** Always there, and of the sandbox's own. */
const ownDevices = ['/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom', '/dev/tty', '/dev/shm', '/dev/pts', '/dev/ptmx', '/dev/fd', '/dev/stdin', '/dev/stdout', '/dev/stderr'];
const systemFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const unchangeable = [...systemFolders, '/etc', '/proc', '/sys', '/root', '/opt', '/dev'];
const workdir = '/sandbox';

/** Without doubled and trailing slashes and `.` parts, as their server stores it. */
function plain(path: string): string {
  return `/${path.split('/').filter((part) => part !== '' && part !== '.').join('/')}`;
}

interface Lists {
  readonly readOnly: string[];
  readonly readWrite: string[];
}

function filesystem(t: Translation, given: NonNullable<OpenshellFile['filesystem_policy']>): Lists {
  const out: Lists = { readOnly: [], readWrite: [] };
  const put = (list: 'readOnly' | 'readWrite', path: string, theirs: readonly (string | number)[]): void => {
    t.from(['spec', 'filesystem', list, out[list].length], theirs);
    out[list].push(path);
  };
  const each = (field: 'read_only' | 'read_write'): void =>
    given[field].forEach((raw, i) => {
      const at = ['filesystem_policy', field, i];
      const path = plain(raw);
      if (path === '/') t.refuse(at, `filesystem_policy.${field}: / is the whole file system, which no sandbox is shown.`, 'Name the directories that are meant.');
      if (ownDevices.some((one) => below(path, one))) return;
      if (below(path, '/dev')) return t.note(at, `filesystem_policy.${field}: ${path} is not shown; devices come with resources.gpuAccess.`);
      if (below(path, '/sys') || below(path, '/root') || below(path, '/boot')) return t.note(at, `filesystem_policy.${field}: ${path} is not shown to any sandbox.`);
      const ours = below(path, workdir) ? `/workspace${path.slice(workdir.length)}` : path;
      if (ours !== path) t.note(at, `filesystem_policy.${field}: the working directory ${path} is ${ours} here.`);
      if (field === 'read_only') return put('readOnly', ours, at);
      if (unchangeable.some((folder) => below(ours, folder))) t.refuse(at, `filesystem_policy.read_write names ${path}, which no sandbox may change.`, 'Move it to read_only, or name a directory of the workspace.');
      if (given.read_only.some((other) => plain(other) === path)) return t.note(at, `filesystem_policy: ${path} stands in both lists and is read-only here.`);
      return put('readWrite', ours, at);
    });
  each('read_only');
  each('read_write');
  const listed = [...out.readOnly, ...out.readWrite];
  if (!listed.some((path) => systemFolders.includes(path))) t.refuse(['filesystem_policy'], 'filesystem_policy names no system directory; every sandbox here is shown /usr.', 'Add /usr to read_only if that is acceptable.');
  if (!given.include_workdir && !listed.some((path) => below('/workspace', path))) {
    t.refuse(['filesystem_policy'], 'filesystem_policy names no working directory; every sandbox here has one, and may read it.', 'Say `include_workdir: true`, or list /sandbox.');
  }
  return out;
}

/** The number seen inside, or undefined: one that the host chooses. */
function user(t: Translation, given: NonNullable<OpenshellFile['process']>): number | undefined {
  const number = (field: 'run_as_user' | 'run_as_group'): number | undefined => {
    const text = given[field];
    if (text === undefined || text === 'sandbox') return undefined;
    const id = /^\d{1,5}$/.test(text) ? Number(text) : 0;
    if (id < 1 || id > 65_533) t.refuse(['process', field], `process.${field}: ${JSON.stringify(text)} is not an identity that an agent may have.`, 'Write `sandbox` or a number from 1 to 65533.');
    return id;
  };
  const uid = number('run_as_user'), gid = number('run_as_group');
  if (gid !== undefined && gid !== uid) t.refuse(['process', 'run_as_group'], 'process.run_as_group: the group has the number of the user here.', 'Write the same number in both, or `sandbox`.');
  return uid;
}

/** Reads the parts of an OpenShell file that a sandbox is made from. The network part is checked, and used by `loadNetworkPolicy`. */
export function sandboxFromOpenshell(source: Source): Translated {
  const file = checkSource(openshellFileSchema, source);
  const t = new Translation(source);
  const lists = file.filesystem_policy === undefined ? { readOnly: [], readWrite: [] } : filesystem(t, file.filesystem_policy);
  const writable = file.filesystem_policy?.include_workdir === true && !lists.readOnly.includes('/workspace');
  const uid = file.process === undefined ? undefined : user(t, file.process);
  if (file.process?.run_as_user !== undefined) t.from(['spec', 'process', 'user'], ['process', 'run_as_user']);
  if (file.filesystem_policy === undefined) t.note([], 'No filesystem_policy: /usr is read-only, and so is the workspace.');
  const value = {
    apiVersion: 'openshell.nvidia.com/v1',
    kind: 'SandboxPolicy',
    metadata: { name: 'openshell-policy' },
    spec: {
      // Their filter names what is refused, ours what is allowed.
      isolation: { network: Object.keys(file.network_policies).length === 0 ? 'none' : 'restricted', filesystem: writable ? 'workspace' : 'read-only', syscalls: 'standard' },
      filesystem: lists,
      ...(uid === undefined ? {} : { process: { user: uid } }),
    },
  };
  return t.result(value);
}
