/* Opens a workspace with the identity of the person who registers it; runs in a child process that exits afterwards. */
#include "channel.h"
#include "openshelld_config.h"
#include "openshelld_text.h"
#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char *const system_roots[] = {"/",     "/bin",  "/boot", "/dev",     "/etc",      "/home",     "/lib",      "/lib32",   "/lib64",  "/media", "/mnt",      "/opt",
                                           "/proc", "/root", "/run",  "/run/user", "/sbin",     "/srv",      "/sys",      "/tmp",     "/usr",    "/var",   "/var/lib",  "/var/log",
                                           "/var/tmp", "/var/cache", "/var/spool", "/usr/bin", "/usr/lib", "/usr/local", "/usr/share", "/usr/sbin"};
/* proc, sysfs, cgroup v1 and v2, devpts, securityfs, debugfs, tracefs, bpf, nsfs: never a workspace. */
static const long kernel_file_systems[] = {0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x1cd1, 0x73636673, 0x64626720, 0x74726163, 0xcafe4a11, 0x6e736673};

static _Noreturn void answer_with(int answer, const char *code, int error, int fd) {
  json_t *message = json_pack("{s:s,s:s}", "code", code, "error", error ? strerror(error) : "");
  char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
  if (text) (void)packet_send(answer, text, strlen(text), &fd, fd >= 0 ? 1 : 0);
  _exit(0);
}

/* True if one of `a` and `b` is the other or lies below it. */
static bool overlap(const char *a, const char *b) {
  size_t la = strlen(a), lb = strlen(b), n = la < lb ? la : lb;
  return strncmp(a, b, n) == 0 && (la == lb || (la < lb ? b : a)[n] == '/');
}

/* Nothing in these is anybody's project. */
static const char *const whole_roots[] = {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/include", "/usr/lib", "/usr/libexec", "/usr/sbin", "/usr/share"};

static bool is_same(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

/* True if the folder is one that a name in `list` or of ours stands for, or lies in it. By what the folders are, so that another mount of them is found too. */
static bool is_inside(int fd) {
  const char *const ours[] = {config.run, config.state, config.prefix, config.lib};
  const size_t wholes = sizeof whole_roots / sizeof *whole_roots, count = wholes + sizeof ours / sizeof *ours;
  struct stat roots[sizeof whole_roots / sizeof *whole_roots + sizeof ours / sizeof *ours], here, before = {0};
  bool known[sizeof roots / sizeof *roots], found = false;
  for (size_t i = 0; i < count; i++) known[i] = stat(i < wholes ? whole_roots[i] : ours[i - wholes], &roots[i]) == 0;
  int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int depth = 0; !found; depth++) {
    if (at < 0 || depth == 4096 || fstat(at, &here) < 0) found = true; /* what cannot be judged is refused */
    for (size_t i = 0; !found && i < count; i++) found = known[i] && is_same(&here, &roots[i]);
    if (found || (depth > 0 && is_same(&here, &before))) break; /* the top is its own parent */
    before = here;
    int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    close(at);
    at = up;
  }
  if (at >= 0) close(at);
  return found;
}

/* True if one of our own folders lies in this one. */
static bool is_above_ours(const struct stat *folder) {
  const char *const ours[] = {config.run, config.state, config.prefix, config.lib};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
    char path[4200];
    struct stat here;
    if (!text_format(path, sizeof path, "%s", ours[i])) return true;
    for (char *slash; (slash = strrchr(path, '/')) != NULL && slash != path; *slash = 0)
      if (stat(path, &here) == 0 && is_same(&here, folder)) return true;
  }
  return false;
}

static bool is_system(int fd, const struct stat *folder) {
  struct stat other;
  struct statfs fs;
  char link[40], path[4200];
  for (size_t i = 0; i < sizeof system_roots / sizeof *system_roots; i++)
    if (stat(system_roots[i], &other) == 0 && is_same(&other, folder)) return true;
  if (is_inside(fd) || is_above_ours(folder)) return true;
  if (fstatfs(fd, &fs) < 0) return true;
  for (size_t i = 0; i < sizeof kernel_file_systems / sizeof *kernel_file_systems; i++)
    if (fs.f_type == kernel_file_systems[i]) return true;
  text_format(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0 || path[0] != '/') return true;
  path[n] = 0;
  return overlap(path, config.run) || overlap(path, config.state) || overlap(path, config.prefix) || overlap(path, config.lib);
}

_Noreturn void registry_open_as(const struct registry_peer *peer, const char *path, int answer) {
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS};
  struct stat folder;
  alarm(5); /* a dead network mount must not leave us here */
  if (setgroups((size_t)peer->group_count, peer->groups) < 0 || setresgid(peer->gid, peer->gid, peer->gid) < 0 || setresuid(peer->uid, peer->uid, peer->uid) < 0) answer_with(answer, "open", errno, -1);
  int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (fd < 0 || fstat(fd, &folder) < 0) answer_with(answer, "open", errno, -1);
  if (is_system(fd, &folder)) answer_with(answer, "system", 0, -1);
  if (peer->uid != 0 && folder.st_uid != peer->uid && syscall(SYS_faccessat2, fd, "", W_OK | X_OK, AT_EMPTY_PATH | AT_EACCESS) < 0) answer_with(answer, "not-yours", 0, -1);
  answer_with(answer, "", 0, fd);
}
