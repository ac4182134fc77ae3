/* Files that have lost their last name and still take room, because a process of the sandbox has them. */
#include "meter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct held {
  dev_t dev;
  struct meter_links *links;
  struct meter_count *count;
  bool hidden;
};

/* A socket in whose queue descriptors wait: nobody can look at those. */
static bool queue_has_files(int task, const char *fd) {
  char name[64], text[1024];
  snprintf(name, sizeof name, "fdinfo/%.20s", fd);
  int file = openat(task, name, O_RDONLY | O_CLOEXEC);
  ssize_t n = file >= 0 ? read(file, text, sizeof text - 1) : -1;
  if (file >= 0) close(file);
  if (n < 0) return errno != ENOENT;
  text[n] = '\0';
  const char *at = strstr(text, "scm_fds:");
  return at != NULL && strtoul(at + 8, NULL, 10) > 0;
}

static void look_at_file(struct held *h, const struct stat *st) {
  if ((S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) && st->st_nlink == 0 && st->st_dev == h->dev && meter_first(h->links, st->st_ino)) h->count->bytes += (int64_t)st->st_blocks * 512;
}

static void look_at_task(struct held *h, int task) {
  /* The kernel keeps what it runs also when it has unmapped all of it, and the folder it stands in, which stays as large as it ever was. */
  static const char *const places[] = {"exe", "cwd", "root"};
  struct stat st;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    if (fstatat(task, places[i], &st, 0) == 0) look_at_file(h, &st);
    else h->hidden |= errno != ENOENT && errno != ESRCH;
  }
  int fds = openat(task, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fds >= 0 ? fdopendir(fds) : NULL;
  if (dir == NULL) {
    if (fds >= 0) close(fds);
    h->hidden |= errno != ENOENT && errno != ESRCH;
    return;
  }
  for (struct dirent *one; (one = readdir(dir)) != NULL;) {
    if (!isdigit((unsigned char)one->d_name[0]) || fstatat(dirfd(dir), one->d_name, &st, 0) != 0) continue;
    if (S_ISSOCK(st.st_mode)) h->hidden |= queue_has_files(task, one->d_name);
    else look_at_file(h, &st);
  }
  closedir(dir);
}

/* Mapped, though nobody has it open: how large it is, cannot be seen by everybody. False: nothing was to be seen, as of a thread that has ended. */
static bool look_at_maps(struct held *h, int task) {
  int fd = openat(task, "maps", O_RDONLY | O_CLOEXEC);
  FILE *maps = fd >= 0 ? fdopen(fd, "re") : NULL;
  char *line = NULL;
  size_t room = 0;
  bool some = false;
  if (maps == NULL) {
    if (fd >= 0) close(fd);
    h->hidden |= errno != ENOENT && errno != ESRCH;
    return false;
  }
  while (getline(&line, &room, maps) > 0) {
    some = true;
    unsigned major, minor;
    unsigned long inode;
    if (strstr(line, " (deleted)\n") == NULL || sscanf(line, "%*s %*s %*s %x:%x %lu", &major, &minor, &inode) != 3) continue;
    if (makedev(major, minor) == h->dev && meter_first(h->links, inode)) h->hidden = true;
  }
  free(line);
  fclose(maps);
  return some;
}

static bool look_at_process(int pid, void *arg) {
  struct held *h = arg;
  char path[40];
  snprintf(path, sizeof path, "/proc/%d", pid);
  int process = pid > 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int tasks = process >= 0 ? openat(process, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  DIR *dir = tasks >= 0 ? fdopendir(tasks) : NULL;
  if (dir == NULL) {
    if (tasks >= 0) close(tasks);
    if (process >= 0) close(process);
    h->hidden |= pid > 0 && errno != ENOENT && errno != ESRCH;
    return false;
  }
  bool mapped = false;
  /* Each thread: it may have a table of descriptors of its own. What is mapped, all that live have together; the first may have ended. */
  for (struct dirent *one; (one = readdir(dir)) != NULL;) {
    int task = isdigit((unsigned char)one->d_name[0]) ? openat(dirfd(dir), one->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (task < 0) continue;
    look_at_task(h, task);
    if (!mapped) mapped = look_at_maps(h, task);
    close(task);
  }
  closedir(dir);
  close(process);
  return false;
}

bool meter_held(const struct cgroup *group, dev_t dev, struct meter_links *links, struct meter_count *count) {
  struct held h = {.dev = dev, .links = links, .count = count};
  (void)cgroup_each(group, look_at_process, &h);
  return h.hidden;
}
