/** Files: by other names, other calls, other people's descriptors; programs that run as their owner; devices and attributes. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { gotSecret, heardToken, inScratch, inShown, inWorkspace, read, type Attempt } from './attempt.ts';

const ways: readonly Attempt[] = [
  { id: 'proc-self-root', title: 'read a hidden file through /proc/self/root', plain: 'user', by: ['view'], attempt: 'cat /proc/self/root$HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'proc-thread-root', title: 'the same through a thread of its own', plain: 'user', by: ['view'], attempt: 'cat /proc/thread-self/root$HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'proc-first-root', title: 'the same through the root of process 1', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['view', 'uid', 'caps', 'pidns', 'landlock'], attempt: 'cat /proc/1/root$HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'proc-first-cwd', title: 'the same from the folder that process 1 is in', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['view', 'uid', 'caps', 'pidns', 'landlock'], attempt: 'cd /proc/1/cwd && cat ../../../..$HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'neighbour-root', title: 'the same through the root of a host process of the same uid', plain: 'user', by: ['pidns', 'landlock'], attempt: 'cat /proc/$NEIGHBOUR/root$HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'path-descriptor', title: 'find a hidden file with O_PATH and open it by the descriptor', plain: 'user', by: ['view'], attempt: '$TRY by_path_descriptor $HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'openat2', title: 'open a hidden file by openat2', plain: 'user', by: ['view', 'seccomp'], attempt: '$TRY by_openat2 $HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'openat2-denied', title: 'open a denied file by openat2', plain: 'user', by: ['mounts', 'seccomp'], attempt: '$TRY by_openat2 $W/keys/secret >$W/loot', won: gotSecret },
  { id: 'inherited-folder', title: 'go up from every descriptor that was inherited', plain: 'user', by: ['view'], attempt: '$TRY by_inherited $HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'long-path', title: 'go to a hidden file by a path of 4,000 bytes', plain: 'user', by: ['view'], attempt: 'p=$(printf "%0900d" 0 | sed "s/0/.\\//g"); cat "/$p$p$HIDDEN/secret" >$W/loot', won: gotSecret },
  { id: 'mapped', title: 'map a hidden file', plain: 'user', by: ['view'], attempt: '$TRY mapped $HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'denied-exchange', title: 'exchange the folder above a denied one with another in one step (RENAME_EXCHANGE), then read', plain: 'user', by: ['mounts'], attempt: 'mkdir $W/mine; $TRY exchange $W/vault $W/mine $W/mine/deep/secret >$W/loot', won: gotSecret },
  { id: 'denied-exchange-itself', title: 'exchange the denied folder itself', plain: 'user', by: ['mounts'], attempt: 'mkdir $W/mine; $TRY exchange $W/keys $W/mine $W/mine/secret >$W/loot', won: gotSecret },
  { id: 'denied-descriptor', title: 'read a denied file from a descriptor of the folder above', plain: 'user', by: ['mounts'], attempt: '$TRY from_folder $W keys/secret >$W/loot', won: gotSecret },
  { id: 'denied-sent', title: 'read it from a descriptor that was sent through a socket', plain: 'user', by: ['mounts'], attempt: '$TRY sent $W keys/secret >$W/loot', won: gotSecret },
  { id: 'denied-proc-cwd', title: 'read it through /proc/self/cwd', plain: 'user', by: ['mounts'], attempt: 'cd $W && cat /proc/self/cwd/./keys//secret >$W/loot', won: gotSecret },
  { id: 'denied-folder-link', title: 'read it through a link to the folder above', plain: 'user', by: ['mounts'], attempt: 'ln -s vault $W/way; cat $W/way/deep/secret >$W/loot', won: gotSecret },
  { id: 'denied-archive', title: 'put the denied folder into an archive', plain: 'user', by: ['mounts'], attempt: 'cd $W && tar -cf - keys | grep -a . >$W/loot', won: gotSecret },
  { id: 'denied-copy', title: 'copy the whole workspace and look into the copy', plain: 'user', by: ['mounts'], attempt: 'cp -r $W/vault $W/copy; cat $W/copy/deep/secret >$W/loot', won: gotSecret },
  { id: 'denied-mapped', title: 'map a denied file', plain: 'user', by: ['mounts'], attempt: '$TRY mapped $W/keys/secret >$W/loot', won: gotSecret },
  { id: 'denied-removed', title: 'remove the denied folder', plain: 'user', by: ['mounts'], attempt: 'rm -rf $W/keys; rmdir $W/keys', won: ({ world }) => read(join(world.workspace, 'keys/secret')) === '' },
  { id: 'denied-shadowed', title: 'put a folder of its own where the denied one was, for others to find', plain: 'user', by: ['mounts'], attempt: 'mv $W/keys $W/was; mkdir $W/keys; echo $TOKEN >$W/keys/secret', won: inWorkspace('keys/secret') },
  { id: 'fixed-reopened', title: 'open a read-only file again for writing by its descriptor', plain: 'user', by: ['mounts'], attempt: '$TRY reopen $W/fixed/file $TOKEN', won: inWorkspace('fixed/file') },
  { id: 'fixed-mapped', title: 'write a read-only file by a shared mapping', plain: 'user', by: ['mounts'], attempt: '$TRY map_write $W/fixed/file $TOKEN', won: inWorkspace('fixed/file') },
  { id: 'fixed-linked', title: 'write a read-only file by a hard link', plain: 'user', by: ['mounts'], attempt: 'ln $W/fixed/file $W/hard; echo $TOKEN >>$W/hard', won: inWorkspace('fixed/file') },
  { id: 'fixed-cut', title: 'cut a read-only file', plain: 'user', by: ['mounts'], attempt: '$TRY cut $W/fixed/file', won: ({ world }) => read(join(world.workspace, 'fixed/file')) === '' },
  { id: 'fixed-removed', title: 'delete a read-only file', plain: 'user', by: ['mounts'], attempt: 'rm -f $W/fixed/file', won: ({ world }) => read(join(world.workspace, 'fixed/file')) === '' },
  { id: 'fixed-over', title: 'rename another file over a read-only one', plain: 'user', by: ['mounts'], attempt: 'echo $TOKEN >$W/other; mv -f $W/other $W/fixed/file', won: inWorkspace('fixed/file') },
  { id: 'fixed-mode', title: 'change the mode of a read-only file', plain: 'user', by: ['mounts'], attempt: 'chmod 0741 $W/fixed/file', won: ({ world }) => (statSync(join(world.workspace, 'fixed/file')).mode & 0o777) === 0o741 },
  { id: 'shown-linked', title: 'write a file that is shown read-only by a hard link in the workspace', plain: 'user', by: ['view', 'landlock', 'kernel'], attempt: 'ln $SHOWN/open $W/hard && echo $TOKEN >>$W/hard', won: inShown('open') },
  { id: 'shown-reopened', title: 'open it again for writing by its descriptor', plain: 'user', by: ['view', 'landlock'], attempt: '$TRY reopen $SHOWN/open $TOKEN', won: inShown('open') },
  { id: 'shown-mapped', title: 'write it by a shared mapping', plain: 'user', by: ['view', 'landlock'], attempt: '$TRY map_write $SHOWN/open $TOKEN', won: inShown('open') },
  { id: 'shown-more', title: 'make a rule set that allows all, then write into a host program\'s pipe', plain: 'user', by: ['landlock'], attempt: '$TRY allow_all $SHOWN/pipe $TOKEN', won: heardToken },
  { id: 'shown-access-list', title: 'give everybody an access list on a file of the host', plain: 'root', by: ['view', 'uid', 'caps'], attempt: '$TRY access_list $SHOWN/root-only', won: ({ world }) => (statSync(join(world.shown, 'root-only')).mode & 0o777) !== 0o600 },
  { id: 'shown-owner', title: 'take a file of the host', plain: 'root', by: ['view', 'uid', 'caps'], attempt: 'chown 7:7 $SHOWN/open', won: ({ world }) => statSync(join(world.shown, 'open')).uid === 7 },
  { id: 'scratch-unix', title: "make a socket in the host's /tmp", plain: 'user', by: ['view'], attempt: 'python3 -c "import socket,os; socket.socket(socket.AF_UNIX).bind(os.environ[\'SCRATCH\']+\'/sock\')"', won: ({ world }) => statSync(join(world.scratch, 'sock'), { throwIfNoEntry: false }) !== undefined },
  { id: 'scratch-copy', title: 'write outside by copy_file_range and sparse copies', plain: 'user', by: ['view'], attempt: 'echo $TOKEN >$W/from; cp --sparse=always --reflink=auto $W/from $SCRATCH/copied', won: inScratch('copied') },
];

const setIds = ['open', 'old-open', 'creat', 'tmpfile', 'mknod', 'openat2', 'fchmod', 'fchmod-wide', 'fchmodat', 'fchmodat2', 'by-proc'].map((how): Attempt => ({
  id: `set-id-${how}`, title: `leave a set-uid or set-gid program by ${how}`, plain: 'user', by: ['seccomp'], ...(how === 'fchmodat2' ? { mayLack: 'fchmodat2' } : {}), attempt: `$TRY set_id ${how} $W/left`,
  won: ({ world }) => ((statSync(join(world.workspace, 'left'), { throwIfNoEntry: false })?.mode ?? 0) & 0o6000) !== 0,
}));

const attributes: readonly Attempt[] = [
  { id: 'file-capability', title: 'leave a program with capabilities of its own', plain: 'root', by: ['uid', 'caps'], attempt: '$TRY set_id capability $W/left && getfattr -n security.capability $W/left >$W/loot 2>&1 || python3 -c "import os; print(os.getxattr(os.environ[\'W\']+\'/left\',\'security.capability\'))" >$W/loot', won: ({ loot }) => /\\x02|0sAQAAAv|0x0100000/.test(loot) },
  { id: 'overlay-attribute', title: 'mark a folder as an overlay marks what it hides', plain: 'root', by: ['uid', 'caps'], attempt: 'mkdir $W/layer; $TRY named_attribute $W/layer trusted.overlay.opaque && echo marked >$W/loot', won: ({ loot }) => loot.includes('marked') },
  { id: 'memory-device', title: 'make a device that is the memory of the machine', plain: 'root', by: ['seccomp', 'uid', 'caps', 'landlock'], attempt: '$TRY node $W/left c 1 1', won: ({ world }) => statSync(join(world.workspace, 'left'), { throwIfNoEntry: false })?.isCharacterDevice() === true },
  { id: 'whiteout', title: 'make a device 0:0 (an overlay takes it for a deletion)', plain: 'user', by: ['seccomp', 'landlock'], attempt: '$TRY node $W/left c 0 0', won: ({ world }) => statSync(join(world.workspace, 'left'), { throwIfNoEntry: false })?.isCharacterDevice() === true },
  { id: 'set-id-used', title: 'become root by a set-uid program of the host', plain: 'user', by: ['nnp', 'view', 'uid'], attempt: '$SHOWN/become become >$W/loot', won: ({ loot }) => loot.includes('uid 0') },
];

export const files: readonly Attempt[] = [...ways, ...setIds, ...attributes];
