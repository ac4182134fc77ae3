/* Forbidden things, tried for real. A try that could change the process it runs in comes last. */
#include "probe.h"
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define TRY(name) static bool name(const struct try_context *c __attribute__((unused)))
#define CANARY "/dev/" CANARY_DIR "/"

/* True when the call failed; what it opened is closed again. */
static bool refused(long result) {
  if (result >= 0) close((int)result);
  return result < 0;
}
static bool opens_not(const char *path, int flags) { return refused(open(path, flags | O_CLOEXEC | O_NOCTTY, 0600)); }
static bool differs(const char *path, uint64_t host) {
  struct stat st;
  return stat(path, &st) == 0 && st.st_ino != host;
}

TRY(view_host) { return access("/root", F_OK) != 0 && access("/etc/shadow", F_OK) != 0; }
TRY(view_write) { return opens_not("/usr/.nemoclaw", O_WRONLY | O_CREAT | O_EXCL) && opens_not("/etc/.nemoclaw", O_WRONLY | O_CREAT | O_EXCL) && opens_not("/.nemoclaw", O_WRONLY | O_CREAT | O_EXCL); }
TRY(mount_namespace) { return differs("/proc/self/ns/mnt", c->host->namespaces.mnt) && differs("/proc/self/ns/ipc", c->host->namespaces.ipc) && differs("/proc/self/ns/uts", c->host->namespaces.uts); }
TRY(landlock_write) { return opens_not(CANARY CANARY_OPEN, O_WRONLY); }
TRY(landlock_create) { return opens_not(CANARY "new", O_WRONLY | O_CREAT | O_EXCL); }
TRY(landlock_truncate) { return landlock_abi() < 3 || truncate(CANARY CANARY_OPEN, 0) != 0; }
TRY(landlock_abstract) {
  extern socklen_t probe_address(struct sockaddr_un *);
  struct sockaddr_un address;
  socklen_t length = probe_address(&address);
  int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = landlock_abi() < 6 || (sock >= 0 && connect(sock, (void *)&address, length) != 0);
  if (sock >= 0) close(sock);
  return ok;
}
TRY(landlock_tcp) {
  if (!c->plan->landlock_tcp || landlock_abi() < 4) return true;
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = sock < 0 || bind(sock, (void *)&any, sizeof any) != 0;
  if (sock >= 0) close(sock);
  return ok;
}
TRY(uid_root_file) { return opens_not(CANARY CANARY_ROOT, O_RDONLY); }
TRY(uid_become_root) { return syscall(SYS_setresuid, -1, 0, -1) != 0 && getuid() != 0; }
TRY(caps_chown) {
  int fd = (int)syscall(SYS_memfd_create, "probe", 1u /* MFD_CLOEXEC */);
  bool ok = fd < 0 || fchown(fd, getuid() + 1, (gid_t)-1) != 0;
  if (fd >= 0) close(fd);
  return ok;
}
TRY(caps_none) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct d[2];
  if (syscall(SYS_capget, &header, d) != 0) return false;
  return (d[0].effective | d[0].permitted | d[0].inheritable | d[1].effective | d[1].permitted | d[1].inheritable) == 0 && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0;
}
TRY(netns_own) { return differs("/proc/self/ns/net", c->host->namespaces.net); }
TRY(netns_alone) {
  struct ifreq buffer[16];
  struct ifconf list = {.ifc_len = sizeof buffer, .ifc_req = buffer};
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool ok = sock < 0 || (ioctl(sock, SIOCGIFCONF, &list) == 0 && list.ifc_len <= (int)sizeof *buffer && (list.ifc_len == 0 || strcmp(buffer[0].ifr_name, "lo") == 0));
  if (sock >= 0) close(sock);
  return ok;
}
TRY(pidns_own) { return differs("/proc/self/ns/pid", c->host->namespaces.pid); }
TRY(signal_host) { return kill(c->host->parent, 0) != 0; }
TRY(seccomp_filter) { return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2; }
TRY(seccomp_keyctl) { return syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* session */, 0) < 0; }
TRY(seccomp_set_uid_bit) {
  int fd = (int)syscall(SYS_memfd_create, "probe", 1u);
  bool ok = fd < 0 || fchmod(fd, 04700) != 0;
  if (fd >= 0) close(fd);
  return ok;
}
TRY(seccomp_io_uring) { return syscall(425, 1, NULL) < 0 && errno != EFAULT; }
TRY(x32) { return syscall(0x40000000 | SYS_getppid) < 0; }
TRY(bpf) { return refused(syscall(SYS_bpf, 0, NULL, 0)); }
TRY(perf) { return refused(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
TRY(packet) { return refused(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) && refused(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)); }
TRY(core_pattern) { return opens_not("/proc/sys/kernel/core_pattern", O_WRONLY); }
TRY(sysrq) { return opens_not("/proc/sysrq-trigger", O_WRONLY); }
TRY(init_memory) { return opens_not("/proc/1/mem", O_RDWR); }
TRY(init_ptrace) { return ptrace(PTRACE_SEIZE, 1, 0, 0) != 0; }
TRY(device) { return mknod("/tmp/.nemoclaw", S_IFBLK | 0600, makedev(8, 0)) != 0; }
TRY(no_new_privileges) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1; }
TRY(core_dumps) {
  struct rlimit limit;
  return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0;
}
TRY(mount_new) { return mount("tmpfs", "/tmp", "tmpfs", 0, NULL) != 0 && umount2("/proc", MNT_DETACH) != 0; }
TRY(seccomp_userns) { return unshare(CLONE_NEWUSER) != 0; }

const struct probe_try probe_tries[] = {
    {"view.host-files", view_host, false},
    {"all.write-outside", view_write, false},
    {"all.own-namespaces", mount_namespace, false},
    {"landlock.write", landlock_write, false},
    {"landlock.create", landlock_create, false},
    {"landlock.truncate", landlock_truncate, false},
    {"landlock.abstract-socket", landlock_abstract, false},
    {"landlock.tcp", landlock_tcp, false},
    {"uid.root-file", uid_root_file, true},
    {"uid.become-root", uid_become_root, false},
    {"caps.chown", caps_chown, false},
    {"caps.none", caps_none, false},
    {"netns.own", netns_own, false},
    {"netns.loopback-only", netns_alone, false},
    {"pidns.own", pidns_own, false},
    {"all.signal-host", signal_host, false},
    {"seccomp.filter", seccomp_filter, false},
    {"seccomp.keyctl", seccomp_keyctl, false},
    {"seccomp.set-uid-bit", seccomp_set_uid_bit, false},
    {"seccomp.io-uring", seccomp_io_uring, false},
    {"all.x32", x32, false},
    {"all.bpf", bpf, false},
    {"all.perf", perf, false},
    {"all.raw-socket", packet, false},
    {"all.core-pattern", core_pattern, false},
    {"all.sysrq", sysrq, false},
    {"all.init-memory", init_memory, false},
    {"all.init-ptrace", init_ptrace, false},
    {"all.device-node", device, false},
    {"all.no-new-privileges", no_new_privileges, false},
    {"all.core-dumps", core_dumps, false},
    {"all.mount", mount_new, false},
    {"seccomp.user-namespace", seccomp_userns, false},
};
const size_t probe_try_count = sizeof probe_tries / sizeof *probe_tries;
_Static_assert(sizeof probe_tries / sizeof *probe_tries <= LAUNCH_PROBES_MAX, "too many tries");
