/* Marks of the kernel's questions: on mounts, as few as the rules allow; and on files that were looked at, so that they are not asked about again. */
#include "shim_starts_mounts.h"
#include "openshelld_text.h"
#include "shim_starts_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTS_MAX 1024
#define PATH_BYTES 4096

#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x200
#endif

static struct mount {
  unsigned long long id;
  unsigned major, minor; /* of the file system */
  char *root, *point;    /* which part of it, and where */
  bool proc, runs, read_only;
  int fd; /* O_PATH; -1: another mount covers it, and nobody can name it */
} mounts[MOUNTS_MAX];
static int count;
/* Mounts on which no name can change from inside. */
static uint64_t still[MOUNTS_MAX];
static int still_count;

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

/* One line of mountinfo. 0 or -1. */
static int read_mount(int sandbox_root, const char *line, char *err, size_t size) {
  char root[PATH_BYTES], point[PATH_BYTES], options[512], kind[64];
  const char *rest = strstr(line, " - ");
  struct mount *m = &mounts[count];
  if (count == MOUNTS_MAX || sscanf(line, "%llu %*u %u:%u %4095s %4095s %511s", &m->id, &m->major, &m->minor, root, point, options) != 6 || !rest || sscanf(rest, " - %63s", kind) != 1) {
    text_format(err, size, "a line of the sandbox's mounts cannot be read");
    return -1;
  }
  unescape(root);
  unescape(point);
  m->root = strdup(root);
  m->point = strdup(point);
  m->proc = strcmp(kind, "proc") == 0;
  m->runs = !strstr(options, "noexec");
  m->read_only = strncmp(options, "ro", 2) == 0 && (options[2] == ',' || !options[2]);
  m->fd = starts_open_at(sandbox_root, point);
  count++;
  if (!m->root || !m->point || (m->fd < 0 && errno != ENOENT && errno != ENOTDIR)) {
    text_format(err, size, "programs on %s cannot be asked about: %s", point, strerror(errno));
    return -1;
  }
  struct statx found;
  if (m->fd >= 0 && (statx(m->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &found) < 0 || !(found.stx_mask & STATX_MNT_ID) || found.stx_mnt_id != m->id)) {
    close(m->fd);
    m->fd = -1;
  }
  return 0;
}

static int read_mounts(const struct starts_mounts *in, char *err, size_t size) {
  char path[40], *line = NULL;
  size_t room = 0;
  int failed = 0;
  text_format(path, sizeof path, "/proc/%d/mountinfo", (int)in->init);
  FILE *list = fopen(path, "re");
  if (!list) {
    text_format(err, size, "%s: %s", path, strerror(errno));
    return -1;
  }
  while (!failed && getline(&line, &room, list) >= 0) failed = read_mount(in->root, line, err, size);
  failed |= ferror(list) ? -1 : 0;
  free(line);
  (void)fclose(list);
  return failed;
}

/* Whoever goes by this name comes to another mount, further down. */
static bool leaves(const struct mount *m, const char *path) {
  for (int i = 0; i < count; i++)
    if (mounts[i].fd >= 0 && strlen(mounts[i].point) > strlen(m->point) && starts_below(mounts[i].point, m->point) && starts_below(path, mounts[i].point)) return true;
  return false;
}

/* The place of a rule, as the plan names it or without links, can be reached here. A single file may have a second name beside the mount that is over it; a folder has none. */
static bool reaches(const struct mount *m, const struct starts_rule *rule, const char *path) {
  return path && (starts_below(m->point, path) || (starts_below(path, m->point) && !(rule->folder && leaves(m, path))));
}

/* Also reading is asked about, since a loader or a copy needs no more. */
static bool asks_opens(const struct mount *m) {
  int number;
  const struct starts_rule *rules = starts_rules(&number);
  for (int i = 0; i < number; i++)
    if (reaches(m, &rules[i], rules[i].path) || reaches(m, &rules[i], rules[i].real)) return true;
  return false;
}

/* Elsewhere in the same file system a named file may have a second name; only starts are asked about there. */
static bool asks_starts(const struct mount *m) {
  int number;
  const struct starts_rule *rules = starts_rules(&number);
  for (int i = 0; m->runs && i < number; i++) {
    const struct mount *of = NULL;
    if (rules[i].fd < 0 || rules[i].folder) continue;
    for (int k = 0; k < count && !of; k++)
      if (mounts[k].id == rules[i].mount) of = &mounts[k];
    if (!of || (of->major == m->major && of->minor == m->minor)) return true;
  }
  return false;
}

/* Nobody inside can rename, link or replace anything here: it cannot be written to, and no other mount shows any of it. */
static bool is_still(const struct mount *m) {
  for (int i = 0; m->read_only && i < count; i++) {
    const struct mount *other = &mounts[i];
    if (other != m && other->major == m->major && other->minor == m->minor && (starts_below(other->root, m->root) || starts_below(m->root, other->root))) return false;
  }
  return m->read_only;
}

static int mark(int group, const struct mount *m, char *err, size_t size) {
  char link[40];
  bool opens = asks_opens(m);
  if (m->fd < 0 || m->proc || (!opens && !asks_starts(m))) return 0; /* proc holds no programs, and its links lead to files on other mounts */
  text_format(link, sizeof link, "/proc/self/fd/%d", m->fd);
  /* An open to start a program raises both events; one of them is enough. */
  int failed = fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_MOUNT, opens ? FAN_OPEN_PERM : FAN_OPEN_EXEC_PERM, AT_FDCWD, link);
  if (failed) text_format(err, size, "programs on %s cannot be asked about: %s", m->point, strerror(errno));
  else if (is_still(m)) still[still_count++] = m->id;
  return failed;
}

int starts_mark(int group, const struct starts_mounts *in, char *err, size_t size) {
  int failed = read_mounts(in, err, size);
  for (int i = 0; i < count && !failed; i++) failed = mark(group, &mounts[i], err, size);
  while (count > 0) {
    struct mount *m = &mounts[--count];
    if (m->fd >= 0) close(m->fd);
    free(m->root);
    free(m->point);
  }
  return failed;
}

/* Some rule goes by names: in its folder may lie a second name of any file. */
static bool any_folder(void) {
  int number;
  const struct starts_rule *rules = starts_rules(&number);
  for (int i = 0; i < number; i++)
    if (rules[i].folder || rules[i].fd < 0) return true;
  return false;
}

bool starts_let_be(int group, int fd) {
  struct statx found;
  int i = 0;
  if (still_count == 0 || statx(fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_MNT_ID, &found) < 0 || !(found.stx_mask & STATX_MNT_ID) || (found.stx_nlink != 1 && any_folder())) return false;
  while (i < still_count && still[i] != found.stx_mnt_id) i++;
  /* The kernel may drop such a mark whenever it likes (Linux 5.19; elsewhere all is asked about). */
  return i < still_count && fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_EVICTABLE, FAN_OPEN_PERM | FAN_OPEN_EXEC_PERM, fd, NULL) == 0;
}

void starts_ask_again(int group) {
  if (fanotify_mark(group, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL) < 0) abort(); /* the keeper then ends the sandbox */
}
