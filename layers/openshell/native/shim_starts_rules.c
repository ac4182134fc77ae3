/* Files are known by the kernel's own objects: device and inode as they were at launch, and the path that an opened file has now. */
#include "shim_starts_rules.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES_MAX 128
#define PATH_BYTES 4096

static struct rule {
  int index;  /* in the plan */
  int fd;     /* O_PATH on what was there at launch, so that its number stays its own; -1: nothing was */
  dev_t dev;
  ino_t ino;
  char *path, *real; /* as the plan names it, and without links; NULL */
} rules[RULES_MAX];
static int count;

static bool below(const char *path, const char *base) {
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

static int open_at(int root, const char *path) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static void read_rule(struct rule *rule, const char *path, int root) {
  char real[PATH_BYTES];
  struct stat found;
  rule->path = strdup(path);
  for (size_t end = strlen(path); rule->path && end > 1 && rule->path[end - 1] == '/';) rule->path[--end] = 0;
  rule->fd = open_at(root, path);
  if (rule->fd < 0 || fstat(rule->fd, &found) < 0) return;
  rule->dev = found.st_dev;
  rule->ino = found.st_ino;
  if (path_of(rule->fd, real, sizeof real) == 0) rule->real = strdup(real);
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

int starts_rule_of(int fd) {
  static char path[PATH_BYTES + 16], now[PATH_BYTES + 16];
  struct stat found;
  if (fstat(fd, &found) < 0 || path_of(fd, path, sizeof path) < 0) return STARTS_UNKNOWN;
  for (int i = 0; i < count; i++) {
    const struct rule *rule = &rules[i];
    bool same = rule->fd >= 0 && rule->dev == found.st_dev && rule->ino == found.st_ino;
    /* A folder that was moved takes its rule along. */
    bool moved = rule->fd >= 0 && path_of(rule->fd, now, sizeof now) == 0 && below(path, now);
    if (same || moved || below(path, rule->path)) return rule->index;
  }
  return STARTS_NONE;
}

/* \ooo of proc_pid_mountinfo(5), in place. */
static void unescape(char *text) {
  char *out = text;
  for (const char *at = text; *at; at++) {
    if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3]) {
      *out++ = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
      at += 3;
    } else *out++ = *at;
  }
  *out = 0;
}

/* A file of some rule can be reached here: also reading it is asked about, since a loader or a copy needs no more. */
static bool holds_rule(const char *point) {
  for (int i = 0; i < count; i++)
    if (below(rules[i].path, point) || below(point, rules[i].path) || (rules[i].real && (below(rules[i].real, point) || below(point, rules[i].real)))) return true;
  return false;
}

static int mark(int group, int fd, bool opens) {
  char link[40];
  text_format(link, sizeof link, "/proc/self/fd/%d", fd);
  /* An open to start a program raises both events; one of them is enough. */
  return fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_MOUNT, opens ? FAN_OPEN_PERM : FAN_OPEN_EXEC_PERM, AT_FDCWD, link);
}

/* One line of mountinfo. 0 or -1. */
static int mark_line(int group, const struct starts_mounts *mounts, char *line, char *err, size_t size) {
  unsigned long long id;
  char point[PATH_BYTES], options[512], kind[64], *rest = strstr(line, " - ");
  if (sscanf(line, "%llu %*u %*s %*s %4095s %511s", &id, point, options) != 3 || !rest || sscanf(rest, " - %63s", kind) != 1) {
    text_format(err, size, "a line of the sandbox's mounts cannot be read");
    return -1;
  }
  unescape(point);
  bool opens = holds_rule(point), runs = !strstr(options, "noexec");
  if (strcmp(kind, "proc") == 0 || (!opens && !runs)) return 0; /* proc holds no programs, and its links lead to files on other mounts */
  struct statx found;
  int fd = open_at(mounts->root, point), failed = 0;
  /* What another mount covers nobody can name. */
  bool seen = fd >= 0 && statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &found) == 0 && (found.stx_mask & STATX_MNT_ID) && found.stx_mnt_id == id;
  if (fd < 0 && errno != ENOENT && errno != ENOTDIR) failed = 1;
  if (seen) failed = mark(group, fd, opens);
  if (failed) text_format(err, size, "programs on %s cannot be asked about: %s", point, strerror(errno));
  if (fd >= 0) close(fd);
  return failed ? -1 : 0;
}

int starts_mark(int group, const struct starts_mounts *mounts, char *err, size_t size) {
  char path[40], *line = NULL;
  size_t room = 0;
  int failed = 0;
  text_format(path, sizeof path, "/proc/%d/mountinfo", (int)mounts->init);
  FILE *list = fopen(path, "re");
  if (!list) {
    text_format(err, size, "%s: %s", path, strerror(errno));
    return -1;
  }
  while (!failed && getline(&line, &room, list) >= 0) failed = mark_line(group, mounts, line, err, size);
  failed |= ferror(list) ? -1 : 0;
  free(line);
  (void)fclose(list);
  return failed;
}
