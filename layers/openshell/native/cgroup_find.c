/* Where control groups may be made: v1 mounts, the top of v2 for root, the delegated group of anybody else (Documentation/admin-guide/cgroup-v2.rst, Delegation). */
#include "cgroup.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CALLERS "nemoclaw-callers" /* the leaf for those who were in a group before it got children */

static const struct {
  const char *name;
  unsigned bit;
} known[] = {{"memory", CGROUP_MEMORY}, {"pids", CGROUP_PIDS}, {"cpu", CGROUP_CPU}, {"freezer", CGROUP_FREEZER}};

bool cgroup_has_word(const char *list, const char *word, char separator) {
  size_t length = strlen(word);
  for (const char *p = list; (p = strstr(p, word)) != NULL; p += length) {
    bool starts = p == list || p[-1] == separator;
    if (starts && (p[length] == 0 || p[length] == separator || p[length] == '\n')) return true;
  }
  return false;
}

unsigned cgroup_words(const char *list, char separator) {
  unsigned bits = 0;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (cgroup_has_word(list, known[i].name, separator)) bits |= known[i].bit;
  return bits;
}

int cgroup_write(int dir, const char *file, const char *text) {
  int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  int saved = errno;
  close(fd);
  errno = saved;
  return n < 0 ? -1 : 0;
}

static bool read_text(const char *dir, const char *file, char *out, size_t size) {
  char path[400];
  out[0] = 0;
  if (!text_format(path, sizeof path, "%s/%s", dir, file)) return false;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, out, size - 1);
  out[n > 0 ? n : 0] = 0;
  close(fd);
  return n >= 0;
}

/* systemd marks what it gave away (Delegate=yes), for everybody to see since version 251. */
static bool delegated(const char *dir) {
  char mark[4];
  return (getxattr(dir, "user.delegate", mark, sizeof mark) == 1 && mark[0] == '1') || (getxattr(dir, "trusted.delegate", mark, sizeof mark) == 1 && mark[0] == '1');
}

/* The v2 group that this process is in, without the leaf that an earlier call moved it to. */
static bool own_group(const char *mount, char *out, size_t size) {
  char line[512], *end;
  FILE *list = fopen("/proc/self/cgroup", "re");
  bool found = false;
  while (list && !found && fgets(line, sizeof line, list)) found = strncmp(line, "0::/", 4) == 0;
  if (list) fclose(list);
  if (!found || (end = strchr(line, '\n')) == NULL || strstr(line, "/..")) return false;
  *end = 0;
  size_t length = strlen(line), leaf = sizeof "/" CALLERS - 1;
  if (length >= 3 + leaf && strcmp(line + length - leaf, "/" CALLERS) == 0) line[length - leaf] = 0;
  return text_format(out, size, "%s%s", mount, strcmp(line + 3, "/") == 0 ? "" : line + 3);
}

bool cgroup_all_v2(void) {
  struct statfs fs;
  return statfs("/sys/fs/cgroup", &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Root makes groups at the real top, unless it was given a part of the tree; anybody else only in the group that is theirs. */
static bool find_v2(const char *mount, char *out, size_t size) {
  char type[400], own[200];
  struct stat st;
  bool has_own = own_group(mount, own, sizeof own);
  bool top = text_format(type, sizeof type, "%s/cgroup.type", mount) && stat(type, &st) != 0; /* only the real top has no type */
  if (geteuid() == 0 && top && !(has_own && delegated(own))) return text_format(out, size, "%s", mount);
  return has_own && faccessat(AT_FDCWD, own, W_OK, AT_EACCESS) == 0 && text_format(out, size, "%s", own);
}

/* Fields of /proc/self/mounts: device, directory, type, options. */
int cgroup_trees(struct cgroup_tree *out, int max) {
  FILE *mounts = fopen("/proc/self/mounts", "re");
  if (!mounts) return 0;
  char line[1024], dir[512], type[32], options[512];
  int count = 0;
  bool v2 = false;
  while (count < max && fgets(line, sizeof line, mounts)) {
    if (sscanf(line, "%*s %511s %31s %511s", dir, type, options) != 3 || strlen(dir) >= sizeof out->parent) continue;
    struct cgroup_tree *t = &out[count];
    *t = (struct cgroup_tree){.v2 = strcmp(type, "cgroup2") == 0};
    if (t->v2 && !v2) {
      char list[256];
      if (!find_v2(dir, t->parent, sizeof t->parent)) continue;
      if (read_text(t->parent, "cgroup.controllers", list, sizeof list)) t->controllers = cgroup_words(list, ' ');
      v2 = true;
      count++;
    } else if (strcmp(type, "cgroup") == 0 && (t->controllers = cgroup_words(options, ',')) != 0 && faccessat(AT_FDCWD, dir, W_OK, AT_EACCESS) == 0) {
      count += text_format(t->parent, sizeof t->parent, "%s", dir);
    }
  }
  fclose(mounts);
  return count;
}

/* True: everybody in the group may be moved to a leaf of it, since the group is ours or only we are in it. */
static bool may_move(const char *dir, char *members) {
  if (delegated(dir)) return true;
  for (char *at = members, *end; *at; at = *end ? end + 1 : end) {
    long pid = strtol(at, &end, 10);
    if (end == at || (pid != getpid() && pid != getppid())) return false;
  }
  return true;
}

/* No internal processes: a group with members may not give controllers to children. */
static void make_room(const char *dir) {
  char members[8192], leaf[400], pid[24];
  if (!read_text(dir, "cgroup.procs", members, sizeof members) || !members[0] || !may_move(dir, members)) return;
  if (!text_format(leaf, sizeof leaf, "%s/" CALLERS, dir) || (mkdir(leaf, 0755) < 0 && errno != EEXIST)) return;
  int at = open(leaf, O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (char *line = strtok(members, "\n"); at >= 0 && line; line = strtok(NULL, "\n"))
    if (text_format(pid, sizeof pid, "%s", line)) (void)cgroup_write(at, "cgroup.procs", pid); /* ESRCH: it ended meanwhile */
  if (at >= 0) close(at);
}

void cgroup_open_controllers(const char *dir) {
  char list[256], open_ones[256], path[400], enable[16];
  if (!read_text(dir, "cgroup.controllers", list, sizeof list) || !read_text(dir, "cgroup.subtree_control", open_ones, sizeof open_ones)) return;
  unsigned lacking = cgroup_words(list, ' ') & ~cgroup_words(open_ones, ' ');
  if (lacking == 0 || !text_format(path, sizeof path, "%s/cgroup.subtree_control", dir)) return;
  bool moved = false;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (!(lacking & known[i].bit)) continue;
    snprintf(enable, sizeof enable, "+%s", known[i].name);
    if (cgroup_write(AT_FDCWD, path, enable) == 0 || errno != EBUSY || moved) continue;
    make_room(dir);
    moved = true;
    (void)cgroup_write(AT_FDCWD, path, enable);
  }
}
