/* Whether the host has something of a name that a sandbox does not show: asked of no file system that may keep the one who asks waiting. */
#include "seen_hidden.h"
#include "openshelld_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOUNTS 256
#define PATH HIDDEN_PATH
#define KNOWN_MS 1000

static struct {
  int count;
  bool whole; /* every mount is in the table */
  int64_t until;
  struct mount {
    char path[PATH];
    bool local;
  } mount[MOUNTS];
} table;

/* Answers from this machine's own memory and disks. All others (nfs, cifs, fuse, 9p, autofs …) wait for a server or a program. */
static bool answers_itself(const char *type) {
  static const char *const types[] = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "vfat", "iso9660", "squashfs", "erofs", "overlay", "tmpfs", "ramfs", "devtmpfs", "devpts", "proc", "sysfs", "cgroup", "cgroup2", "bpf", "tracefs", "debugfs", "securityfs", "mqueue", "hugetlbfs", "configfs", "nsfs"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(type, types[i]) == 0) return true;
  return false;
}

/* proc_pid_mountinfo(5): the fifth word is where, the one after " - " of what type. */
static void read_table(void) {
  char line[4096], type[64];
  FILE *file = fopen("/proc/self/mountinfo", "re");
  table.count = 0;
  table.whole = file != NULL;
  table.until = boottime_ms() + KNOWN_MS;
  while (file && fgets(line, sizeof line, file)) {
    const char *dash = strstr(line, " - ");
    struct mount *mount = &table.mount[table.count];
    if (table.count == MOUNTS || !dash || sscanf(line, "%*s %*s %*s %*s %511s", mount->path) != 1 || sscanf(dash, " - %63s", type) != 1 || strchr(mount->path, '\\')) table.whole = false;
    else {
      mount->local = answers_itself(type);
      table.count++;
    }
  }
  if (file) fclose(file);
}

bool plain_path(const char *path, char out[HIDDEN_PATH]) {
  size_t used = 0;
  while (*path) {
    while (*path == '/') path++;
    size_t n = strcspn(path, "/");
    if (n == 2 && path[0] == '.' && path[1] == '.') {
      while (used > 0 && out[--used] != '/') continue;
    } else if (n > 0 && !(n == 1 && path[0] == '.')) {
      if (used + n + 2 > PATH) return false;
      out[used++] = '/';
      memcpy(out + used, path, n);
      used += n;
    }
    path += n;
  }
  if (used == 0) out[used++] = '/';
  out[used] = 0;
  return true;
}

static bool below(const char *path, const char *base) {
  size_t n = strlen(base);
  return n == 1 || (strncmp(path, base, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

bool host_may_have(const char *given) {
  char path[PATH];
  const char *root = "/";
  struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS};
  if (boottime_ms() >= table.until) read_table();
  if (!table.whole || !plain_path(given, path)) return true;
  /* A link since FHS 3.0, to another mount: programs ask there for services that most hosts have not. */
  if (below(path, "/var/run")) memmove(path, path + strlen("/var"), strlen(path) - strlen("/var") + 1);
  for (int i = 0; i < table.count; i++) {
    if (!below(path, table.mount[i].path)) continue;
    if (!table.mount[i].local) return true;
    if (strlen(table.mount[i].path) >= strlen(root)) root = table.mount[i].path;
  }
  int base = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  const char *rest = path + strlen(root);
  while (*rest == '/') rest++;
  int fd = base < 0 ? -1 : (int)syscall(SYS_openat2, base, *rest ? rest : ".", &how, sizeof how);
  /* EXDEV: a link leads to another mount, which is not asked. */
  bool there = fd >= 0 || (base >= 0 && errno == EXDEV);
  if (fd >= 0) close(fd);
  if (base >= 0) close(base);
  return there;
}
