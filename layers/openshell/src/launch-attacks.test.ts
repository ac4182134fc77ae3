import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

/** One line per attack: its name, then `stopped` or `WORKED`. Each runs in a process of its own. Arguments: secret file, TCP port, pid and socket of the host, then names (none: all). */
const source = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
static char **arg;
#define HOST_FILE arg[1]
#define HOST_PORT atoi(arg[2])
#define HOST_PID atoi(arg[3])
#define HOST_SOCKET arg[4]
static int tcp(const char *ip, int port, int flags) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, ip, &a.sin_addr);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  return flags ? sendto(s, "x", 1, flags, (void *)&a, sizeof a) > 0 : connect(s, (void *)&a, sizeof a) == 0;
}
static int named(int type, const char *path) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strncpy(a.sun_path, path, sizeof a.sun_path - 1);
  return connect(socket(AF_UNIX, type, 0), (void *)&a, sizeof a) == 0;
}
static int opens(const char *p, int flags) { return open(p, flags, 0600) >= 0; }
#define A(name, expression) static int name(void) { return expression; }
A(read_secret, opens(HOST_FILE, O_RDONLY))
A(read_by_link, (symlink(HOST_FILE, "link"), opens("link", O_RDONLY)))
A(write_by_link, (symlink(HOST_FILE, "link2"), opens("link2", O_WRONLY | O_APPEND)))
A(truncate_outside, truncate(HOST_FILE, 0) == 0)
A(proc_root, opens("/proc/1/root/etc", O_RDONLY) || opens("/proc/1/cwd", O_RDONLY))
A(host_environ, ({ char p[40]; snprintf(p, 40, "/proc/%d/environ", HOST_PID); opens(p, O_RDONLY); }))
A(host_memory, ({ char p[40]; snprintf(p, 40, "/proc/%d/mem", HOST_PID); opens(p, O_RDWR); }))
A(chmod_outside, chmod("/usr/bin/env", 0777) == 0 || chmod("/etc/passwd", 0777) == 0)
A(xattr_outside, setxattr("/usr/bin/env", "user.x", "y", 1, 0) == 0)
A(handle_open, ({ char h[64] = {8, 0, 0, 0, 1, 0, 0, 0, 2}; syscall(304, AT_FDCWD, h, O_RDONLY) >= 0; }))
A(block_device, mknod("dev", S_IFBLK | 0666, makedev(254, 0)) == 0 || mknod("chr", S_IFCHR | 0666, makedev(1, 1)) == 0)
A(setuid_file, ({ int f = open("suid", O_CREAT | O_WRONLY, 0755); close(f); chmod("suid", 04755) == 0 || syscall(SYS_fchmodat, AT_FDCWD, "suid", 06755) == 0 || open("suid2", O_CREAT | O_WRONLY, 04755) >= 0; }))
A(kernel_memory, opens("/proc/kcore", O_RDONLY) || opens("/dev/mem", O_RDONLY) || opens("/dev/kmsg", O_RDONLY) || opens("/dev/kvm", O_RDWR))
A(core_pattern, opens("/proc/sys/kernel/core_pattern", O_WRONLY))
A(any_sysctl, opens("/proc/sys/kernel/hostname", O_WRONLY) || opens("/proc/sys/vm/overcommit_memory", O_WRONLY))
A(cgroup_release, opens("/sys/fs/cgroup/release_agent", O_WRONLY) || mount("cgroup", "/tmp", "cgroup", 0, "memory") == 0)
A(remount_rw, mount(0, "/usr", 0, MS_REMOUNT | MS_BIND, 0) == 0)
A(bind_over, mount("/tmp", "/etc", 0, MS_BIND, 0) == 0)
A(drop_readonly, ({ struct { unsigned long s, c, p, u; } m = {0, 1, 0, 0}; syscall(442, AT_FDCWD, "/usr", 0, &m, sizeof m) == 0; }))
A(new_mount_api, syscall(430, "tmpfs", 0) >= 0 || syscall(428, AT_FDCWD, "/", 1) >= 0)
A(user_namespace, unshare(CLONE_NEWUSER) == 0 || syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) > 0)
A(clone3_namespace, ({ unsigned long a[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD}; long p = syscall(435, a, sizeof a); if (p == 0) _exit(0); p > 0; }))
A(enter_namespace, ({ int f = open("/proc/1/ns/mnt", O_RDONLY); f >= 0 && setns(f, 0) == 0; }))
A(ptrace_init, ptrace(PTRACE_ATTACH, 1, 0, 0) == 0)
A(signal_host, kill(HOST_PID, 0) == 0 || kill(HOST_PID, SIGSTOP) == 0)
A(pidfd_of_init, ({ int p = syscall(434, 1, 0); p >= 0 && syscall(438, p, 3, 0) >= 0; }))
A(init_limits, ({ struct rlimit l = {3, 3}; prlimit(1, RLIMIT_NOFILE, &l, 0) == 0; }))
A(io_uring, syscall(425, 8, (char[200]){0}) >= 0)
A(bpf_map, ({ unsigned a[16] = {1, 4, 4, 1}; syscall(321, 0, a, sizeof a) >= 0; }))
A(perf, ({ char a[128] = {1, 0, 0, 0, 128}; syscall(298, a, 0, -1, -1, 0) >= 0; }))
A(keyring, syscall(248, "user", "k", "v", 1, -3) >= 0 || syscall(250, 0, -3, 1) >= 0)
A(modules, syscall(175, "", 0, "") == 0 || syscall(246, 0, 0, 0, 0) == 0)
A(ports, syscall(172, 3) == 0 || syscall(173, 0, 1, 1) == 0)
A(ldt, syscall(154, 0, (char[16]){0}, 16) >= 0)
A(x32, syscall(0x40000000 | 39) > 0)
A(compat, ({ long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); r > 0; }))
A(host_name, sethostname("x", 1) == 0)
A(clock, ({ struct timeval t = {0, 0}; settimeofday(&t, 0) == 0; }))
A(no_randomisation, syscall(135, 0x0040000) >= 0)
A(realtime, ({ int p = 1; syscall(144, 0, 1, &p) == 0; }))
A(priority, setpriority(PRIO_PROCESS, 0, -20) == 0)
A(oom_immunity, ({ int f = open("/proc/self/oom_score_adj", O_WRONLY); f >= 0 && write(f, "-1000", 5) == 5; }))
A(packet_socket, socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_INET, SOCK_RAW, 1) >= 0)
A(odd_sockets, socket(38, SOCK_SEQPACKET, 0) >= 0 || socket(40, SOCK_STREAM, 0) >= 0 || socket(30, SOCK_SEQPACKET, 0) >= 0 || socket(44, SOCK_RAW, 0) >= 0 || socket(AF_INET, SOCK_STREAM, 132) >= 0 || socket(AF_INET, SOCK_STREAM, 262) >= 0)
A(direct_tcp, tcp("93.184.216.34", 80, 0))
A(fast_open, tcp("93.184.216.34", 80, MSG_FASTOPEN))
A(host_loopback, tcp("127.0.0.1", HOST_PORT, 0))
A(host_unix, named(SOCK_STREAM, HOST_SOCKET))
A(blind_listener, ({ struct sock_filter f[] = {{0x06, 0, 0, 0x7fc00000}}; struct sock_fprog p = {1, f}; prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); syscall(317, 1, 8, &p) >= 0; }))
A(type_into_terminal, ioctl(0, 0x5412, "x") == 0)
A(inherited, ({ int n = 0; for (int i = 3; i < 256; i++) n += fcntl(i, F_GETFD) >= 0; n > 0; }))
A(parent_by_dotdot, opens("../../../../../../root", O_RDONLY) || opens("/..", O_RDONLY) == 0)
static struct { const char *name; int (*run)(void); } all[] = {
#define R(n) {#n, n},
R(read_secret) R(read_by_link) R(write_by_link) R(truncate_outside) R(proc_root) R(host_environ) R(host_memory) R(chmod_outside) R(xattr_outside) R(handle_open) R(block_device) R(setuid_file)
R(kernel_memory) R(core_pattern) R(any_sysctl) R(cgroup_release) R(remount_rw) R(bind_over) R(drop_readonly) R(new_mount_api) R(user_namespace) R(clone3_namespace) R(enter_namespace) R(ptrace_init)
R(signal_host) R(pidfd_of_init) R(init_limits) R(io_uring) R(bpf_map) R(perf) R(keyring) R(modules) R(ports) R(ldt) R(x32) R(compat) R(host_name) R(clock) R(no_randomisation) R(realtime) R(priority)
R(oom_immunity) R(packet_socket) R(odd_sockets) R(direct_tcp) R(fast_open) R(host_loopback) R(host_unix) R(blind_listener) R(type_into_terminal) R(inherited) R(parent_by_dotdot)
};
int main(int argc, char **argv) {
  arg = argv;
  if (argc < 5) return 2;
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
    int wanted = argc == 5;
    for (int k = 5; k < argc; k++) wanted |= strcmp(argv[k], all[i].name) == 0;
    if (!wanted) continue;
    pid_t p = fork();
    if (p == 0) { alarm(5); _exit(all[i].run() ? 1 : 0); }
    int st;
    waitpid(p, &st, 0);
    printf("%s %s\n", all[i].name, WIFEXITED(st) && WEXITSTATUS(st) == 1 ? "WORKED" : "stopped");
  }
}
`;

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
let outside = '';
const trials: Trial[] = [];

before(() => {
  buildNative('openshell-launch');
  outside = mkdtempSync(join(tmpdir(), 'openshell-outside-'));
  writeFileSync(join(outside, 'secret'), 'secret', { mode: 0o666 });
  writeFileSync(join(outside, 'attacks.c'), source);
  execFileSync('gcc', ['-O1', '-w', '-static', '-o', join(outside, 'attacks'), join(outside, 'attacks.c')]);
});
after(() => {
  trials.forEach((t) => t.remove());
  rmSync(outside, { recursive: true, force: true });
});

async function attack(t: Trial, target: number, ...names: readonly string[]): Promise<Map<string, string>> {
  const local = createServer((s) => s.on('error', () => undefined).end('host')).listen(0, '127.0.0.1');
  const named = createServer((s) => s.on('error', () => undefined).end('host')).listen(join(outside, 'host.sock'));
  await Promise.all([local, named].map((s) => new Promise((done) => (s.listening ? done(0) : s.once('listening', done)))));
  const address = local.address();
  assert.ok(address !== null && typeof address === 'object');
  execFileSync('cp', [join(outside, 'attacks'), t.workspace]);
  try {
    const result = await t.run(['./attacks', join(outside, 'secret'), String(address.port), String(target), join(outside, 'host.sock'), ...names]);
    assert.equal(result.code, 0, result.stderr);
    return new Map(result.stdout.trim().split('\n').map((line) => line.split(' ') as [string, string]));
  } finally {
    local.close();
    named.close();
  }
}

test('no attack of the list works, at either level, with or without network, with or without a number of its own', root, async () => {
  for (const spec of [workspaceSpec, 'isolation: { network: none, filesystem: workspace, syscalls: minimal }', `${workspaceSpec}, process: { user: 1000 }`]) {
    const t = trial(spec);
    trials.push(t);
    const results = await attack(t, process.pid);
    assert.ok(results.size >= 50);
    assert.deepEqual([...results].filter(([, outcome]) => outcome !== 'stopped'), []);
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
    for (const name of ['suid', 'suid2']) assert.ok(!existsSync(join(t.workspace, name)) || (statSync(join(t.workspace, name)).mode & 0o6000) === 0);
  }
});

test('the attacks are real: with one layer off, its own work', root, async () => {
  const expected: readonly (readonly [Parameters<typeof trial>[1], readonly string[]])[] = [
    [{ off: ['seccomp'] }, ['setuid_file', 'user_namespace', 'keyring']],
    [{ off: ['view', 'landlock', 'uid'] }, ['read_secret', 'truncate_outside', 'read_by_link']],
    [{ off: ['netns'] }, ['host_loopback']],
  ];
  for (const [more, names] of expected) {
    const t = trial(workspaceSpec, more);
    trials.push(t);
    const results = await attack(t, process.pid, ...names); // only these: without its own network the list would reach the host's
    for (const name of names) assert.equal(results.get(name), 'WORKED', `${more?.off?.join('+') ?? ''}: ${name}`);
    writeFileSync(join(outside, 'secret'), 'secret');
  }
});

test('nor does any against a plain user’s own processes and files, from a sandbox that this user made', root, async () => {
  const as = { uid: 65533, gid: 65533 };
  const victim = spawn('/bin/sleep', ['1000'], { ...as, stdio: 'ignore' });
  chmodSync(outside, 0o755);
  chownSync(join(outside, 'secret'), as.uid, as.gid);
  try {
    for (const spec of [workspaceSpec, `${workspaceSpec}, process: { user: 1000 }`]) {
      const t = trial(spec, { as });
      trials.push(t);
      const results = await attack(t, victim.pid ?? 0);
      assert.ok(results.size >= 50);
      assert.deepEqual([...results].filter(([, outcome]) => outcome !== 'stopped'), []);
      assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
    }
    const open = trial(workspaceSpec, { as, off: ['view', 'landlock'] });
    trials.push(open);
    assert.equal((await attack(open, victim.pid ?? 0, 'read_secret')).get('read_secret'), 'WORKED', 'the file is this user’s');
  } finally {
    victim.kill('SIGKILL');
  }
});
