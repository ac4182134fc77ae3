/* Tries what each hook of tier A decides, one process a try, and prints `name errno`, 0 for what worked. Usage: hooks OUTSIDE-PID FORBIDDEN-FOLDER FREE-FOLDER; before, outside: hooks attribute FILE */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static pid_t outside;
static const char *folder, *freely;

static long at(const char *name, long (*act)(const char *)) {
  char path[400];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return act(path);
}
static long close_it(long fd) { return fd < 0 ? -1 : close((int)fd); }

/* Files, in the folder in question. */
static long do_write(const char *p) { return close_it(open(p, O_WRONLY)); }
static long do_create(const char *p) { return close_it(open(p, O_WRONLY | O_CREAT | O_EXCL, 0600)); }
static long do_mkdir(const char *p) { return mkdir(p, 0700); }
static long do_symlink(const char *p) { return symlink("x", p); }
static long do_fifo(const char *p) { return mkfifo(p, 0600); }
static long do_unlink(const char *p) { return unlink(p); }
static long do_rmdir(const char *p) { return rmdir(p); }
static long do_chmod(const char *p) { return chmod(p, 0640); }
static long do_chown(const char *p) { return chown(p, getuid(), getgid()); }
static long do_times(const char *p) { return utimensat(AT_FDCWD, p, NULL, 0); }
static long do_truncate(const char *p) { return truncate(p, 0); }
static long do_setxattr(const char *p) { return setxattr(p, "user.x", "y", 1, 0); }
static long do_removexattr(const char *p) { return removexattr(p, "user.there"); }
static long do_acl(const char *p) {
  /* Version 2 and the three entries that every list has (uapi/linux/posix_acl_xattr.h). */
  const unsigned char list[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255};
  return setxattr(p, "system.posix_acl_access", list, sizeof list, 0);
}
static long elsewhere(const char *p, int (*act)(const char *, const char *)) {
  char other[400];
  snprintf(other, sizeof other, "%s/to-%s", freely, strrchr(p, '/') + 1);
  return act(p, other);
}
static long do_link(const char *p) { return elsewhere(p, link); }
static long do_rename(const char *p) { return elsewhere(p, rename); }
static int into(const char *p, const char *other) {
  close(open(other, O_WRONLY | O_CREAT, 0600));
  return rename(other, p);
}
static long do_rename_into(const char *p) { return elsewhere(p, into); }

static const struct {
  const char *name, *file;
  long (*act)(const char *);
} files[] = {
  {"write", "f", do_write}, {"create", "new", do_create}, {"mkdir", "made", do_mkdir}, {"symlink", "link", do_symlink}, {"mknod", "pipe", do_fifo}, {"chmod", "f", do_chmod}, {"chown", "f", do_chown}, {"utimes", "f", do_times},
  {"truncate", "f", do_truncate}, {"setxattr", "f", do_setxattr}, {"removexattr", "f", do_removexattr}, {"set_acl", "f", do_acl}, {"link", "f", do_link}, {"rename_into", "into", do_rename_into}, {"rename", "g", do_rename}, {"unlink", "f", do_unlink}, {"rmdir", "d", do_rmdir},
};

/* The rest. */
static long do_packet(void) { return close_it(socket(AF_PACKET, SOCK_RAW, 0)); }
static long do_alg(void) { return close_it(socket(38, SOCK_SEQPACKET, 0)); }
static long do_vsock(void) { return close_it(socket(40, SOCK_STREAM, 0)); }
static long do_key_socket(void) { return close_it(socket(15, SOCK_RAW, 2)); }
/* A socket of another network, as one that was passed in. */
static int foreign(void) {
  if (unshare(CLONE_NEWNET) < 0) _exit(200);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) _exit(201);
  return fd;
}
static const struct sockaddr_in somewhere = {.sin_family = AF_INET, .sin_port = 0x901f, .sin_addr.s_addr = 0x0100007f};
static long do_bind(void) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  return bind(foreign(), (struct sockaddr *)&any, sizeof any);
}
static long do_connect(void) { return connect(foreign(), (const struct sockaddr *)&somewhere, sizeof somewhere); }
static long do_sendmsg(void) { return sendto(foreign(), "x", 1, 0, (const struct sockaddr *)&somewhere, sizeof somewhere); }
static long do_ptrace(void) { return ptrace(PTRACE_SEIZE, outside, 0, 0); }
static long do_signal(void) { return kill(outside, 0); }
static long do_mount(void) { return mount("x", "/tmp", "tmpfs", 0, ""); }
static long do_umount(void) { return umount2("/dev/shm", MNT_DETACH); }
static long do_remount(void) { return mount("", "/tmp", "", MS_REMOUNT, "size=1m"); }
static long do_move_mount(void) {
  int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/tmp", 1 /* OPEN_TREE_CLONE */);
  return fd < 0 ? -1 : syscall(SYS_move_mount, fd, "", AT_FDCWD, "/tmp", 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
}
static long do_chroot(void) { return chroot("/tmp"); }
static long do_userns(void) { return unshare(CLONE_NEWUSER); }
static long do_bpf(void) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
  return close_it(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}
static long do_perf(void) {
  struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK};
  return close_it(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}
static long do_module(void) {
  static char nothing[4096];
  return syscall(SYS_init_module, nothing, sizeof nothing, "");
}
static long do_module_file(void) { return syscall(SYS_finit_module, open("/proc/self/exe", O_RDONLY), "", 0); }
static long do_key(void) { return syscall(SYS_add_key, "user", "x", "y", 1, -3); }
static long do_device(void) {
  char path[400];
  snprintf(path, sizeof path, "%s/device", freely);
  return mknod(path, S_IFCHR | 0600, makedev(1, 3));
}
/* Of this program, into a file in memory. */
static int memory(void) {
  int fd = memfd_create("x", 0), from = open("/proc/self/exe", O_RDONLY);
  char bytes[65536];
  for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
    if (write(fd, bytes, (size_t)n) != n) _exit(202);
  return fd;
}
static long do_exec_memory(void) {
  char *argv[] = {"x", NULL}, *env[] = {NULL};
  return syscall(SYS_execveat, memory(), "", argv, env, AT_EMPTY_PATH);
}
static long do_map_memory(void) { return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, memory(), 0) == MAP_FAILED ? -1 : 0; }
static long do_protect_memory(void) {
  void *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, memory(), 0);
  return mprotect(map, 4096, PROT_READ | PROT_EXEC);
}
static const struct {
  const char *name;
  long (*act)(void);
} others[] = {
  {"packet", do_packet}, {"alg", do_alg}, {"vsock", do_vsock}, {"key_socket", do_key_socket}, {"bind", do_bind}, {"connect", do_connect}, {"sendmsg", do_sendmsg}, {"ptrace", do_ptrace}, {"signal", do_signal}, {"mount", do_mount}, {"umount", do_umount},
  {"remount", do_remount}, {"move_mount", do_move_mount}, {"chroot", do_chroot}, {"userns", do_userns}, {"bpf", do_bpf}, {"perf", do_perf}, {"module", do_module}, {"module_file", do_module_file}, {"key", do_key}, {"device", do_device}, {"exec_memory", do_exec_memory},
  {"map_memory", do_map_memory}, {"protect_memory", do_protect_memory},
};

/* The same kinds within the sandbox. */
static long own_signal(void) {
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  return kill(child, SIGKILL);
}
static long own_ptrace(void) {
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  long result = ptrace(PTRACE_SEIZE, child, 0, 0);
  int error = errno;
  kill(child, SIGKILL);
  errno = error;
  return result;
}
static long own_bind(void) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  return bind(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *)&any, sizeof any);
}
static long own_sendmsg(void) { return sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (const struct sockaddr *)&somewhere, sizeof somewhere); }
static const struct {
  const char *name;
  long (*act)(void);
} within[] = {{"own_signal", own_signal}, {"own_ptrace", own_ptrace}, {"own_bind", own_bind}, {"own_sendmsg", own_sendmsg}};

static void tell(const char *name, long result) {
  printf("%s %d\n", name, result < 0 ? errno : 0);
  fflush(stdout);
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "attribute") == 0) return setxattr(argv[2], "user.there", "x", 1, 0) != 0;
  if (argc < 4) {
    if (argc == 1) tell("exec_memory", 0); /* started from memory */
    return fprintf(stderr, "usage: hooks OUTSIDE-PID FORBIDDEN-FOLDER FREE-FOLDER\n"), 2;
  }
  outside = (pid_t)atoi(argv[1]);
  freely = argv[3];
  for (int pass = 0; pass < 2; pass++) {
    folder = argv[2 + pass];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
      char name[60];
      snprintf(name, sizeof name, "%s%s", pass ? "free_" : "", files[i].name);
      if (fork() == 0) tell(name, at(files[i].file, files[i].act));
      wait(NULL);
    }
  }
  for (size_t i = 0; outside > 0 && i < sizeof others / sizeof *others; i++) {
    if (fork() == 0) {
      /* What has been mounted over ends with the try. */
      if (unshare(CLONE_NEWNS) < 0) tell("unshare", -1);
      tell(others[i].name, others[i].act());
    }
    wait(NULL);
  }
  for (size_t i = 0; outside > 0 && i < sizeof within / sizeof *within; i++) {
    if (fork() == 0) tell(within[i].name, within[i].act());
    wait(NULL);
  }
  return 0;
}
