/* Files are known by the kernel's own objects: device and inode as they were at launch, and the path that an opened file has now. */
#include "shim_starts_rules.h"
#include "openshelld_text.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RULES_MAX 128
#define PATH_BYTES 4096

static struct starts_rule rules[RULES_MAX];
static int count;

bool starts_below(const char *path, const char *base) {
  size_t n = strlen(base);
  return n == 1 || (strncmp(path, base, n) == 0 && (path[n] == 0 || path[n] == '/'));
}

static int path_of(int fd, char *out, size_t size) {
  char link[40];
  text_format(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, out, size - 1);
  if (n <= 0 || (size_t)n >= size - 1 || out[0] != '/') return -1;
  out[n] = 0;
  return 0;
}

int starts_open_at(int root, const char *path) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static void read_rule(struct starts_rule *rule, const char *path, int root) {
  char real[PATH_BYTES];
  struct statx found;
  rule->path = strdup(path);
  for (size_t end = strlen(path); rule->path && end > 1 && rule->path[end - 1] == '/';) rule->path[--end] = 0;
  rule->fd = starts_open_at(root, path);
  if (rule->fd < 0 || statx(rule->fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_NLINK | STATX_MNT_ID, &found) < 0) return;
  rule->dev = makedev(found.stx_dev_major, found.stx_dev_minor);
  rule->ino = found.stx_ino;
  rule->mount = found.stx_mnt_id;
  rule->folder = S_ISDIR(found.stx_mode);
  /* What hides a place was removed, and has no name of its own. */
  if (found.stx_nlink > 0 && path_of(rule->fd, real, sizeof real) == 0) rule->real = strdup(real);
}

int starts_rules_read(json_t *escalate, int root) {
  size_t i, k;
  json_t *one, *on;
  json_array_foreach(escalate, i, one) {
    const char *path = json_string_value(json_object_get(one, "path"));
    json_array_foreach(json_object_get(one, "on"), k, on) {
      if (!path || !json_is_string(on) || strcmp(json_string_value(on), "exec") != 0) continue;
      if (count == RULES_MAX) return -1;
      rules[count].index = (int)i;
      read_rule(&rules[count++], path, root);
      if (!rules[count - 1].path) return -1;
    }
  }
  return count;
}

const struct starts_rule *starts_rules(int *number) {
  *number = count;
  return rules;
}

int starts_rule_of(int fd) {
  static char path[PATH_BYTES + 16], now[PATH_BYTES + 16];
  struct stat found;
  if (fstat(fd, &found) < 0 || path_of(fd, path, sizeof path) < 0) return STARTS_UNKNOWN;
  for (int i = 0; i < count; i++) {
    const struct starts_rule *rule = &rules[i];
    bool same = rule->fd >= 0 && rule->dev == found.st_dev && rule->ino == found.st_ino;
    /* A folder that was moved takes its rule along. */
    bool moved = rule->folder && path_of(rule->fd, now, sizeof now) == 0 && starts_below(path, now);
    if (same || moved || starts_below(path, rule->path)) return rule->index;
  }
  return STARTS_NONE;
}
