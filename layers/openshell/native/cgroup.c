/* Control groups of one sandbox; v1 controllers where they are mounted, v2 for what it has. */
#include "cgroup.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void cgroup_close(struct cgroup *group) {
  for (int i = 0; i < group->count; i++) {
    if (group->place[i].dir >= 0) close(group->place[i].dir);
    if (group->place[i].procs >= 0) close(group->place[i].procs);
  }
  group->count = 0;
}

static int open_place(struct cgroup *group, const char *path, const struct cgroup_tree *tree) {
  struct cgroup_place *place = &group->place[group->count];
  place->dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (place->dir < 0) return -1;
  place->procs = openat(place->dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  if (place->procs < 0) {
    close(place->dir);
    return -1;
  }
  snprintf(place->path, sizeof place->path, "%s", path);
  place->controllers = tree->v2 ? 0 : tree->controllers;
  place->v2 = tree->v2;
  group->count++;
  return 0;
}

/* Writes one limit where this place has the file for it. */
static int set_limit(struct cgroup *group, const struct cgroup_place *place, unsigned controller, const char *file, const char *text, char *err, size_t errlen) {
  if (!place->v2 && !(place->controllers & controller)) return 0;
  if (cgroup_write(place->dir, file, text) == 0) {
    group->limited |= controller;
    return 0;
  }
  if (errno == ENOENT) return 0; /* this tree has not the controller: another may */
  snprintf(err, errlen, "cgroup: %s %s: %s", file, text, strerror(errno));
  return -1;
}

static int set_limits(struct cgroup *group, const struct cgroup_place *place, const struct cgroup_limits *limits, char *err, size_t errlen) {
  char text[64];
  if (limits->memory_bytes > 0) {
    snprintf(text, sizeof text, "%lld", limits->memory_bytes);
    if (!place->v2 && (place->controllers & CGROUP_MEMORY)) (void)cgroup_write(place->dir, "memory.memsw.limit_in_bytes", text); /* when raised: it may not be the lower of the two */
    if (set_limit(group, place, CGROUP_MEMORY, place->v2 ? "memory.max" : "memory.limit_in_bytes", text, err, errlen) < 0) return -1;
    /* No escape into swap; absent where the kernel does not account it. Out of memory ends the sandbox whole, not a part that the rest waits for. */
    if (place->v2) {
      (void)cgroup_write(place->dir, "memory.swap.max", "0");
      (void)cgroup_write(place->dir, "memory.oom.group", "1");
    } else if (place->controllers & CGROUP_MEMORY) {
      (void)cgroup_write(place->dir, "memory.memsw.limit_in_bytes", text);
    }
  }
  if (limits->pids > 0) {
    snprintf(text, sizeof text, "%ld", limits->pids);
    if (set_limit(group, place, CGROUP_PIDS, "pids.max", text, err, errlen) < 0) return -1;
  }
  if (limits->cpus > 0) {
    long quota = (long)(limits->cpus * 100000);
    snprintf(text, sizeof text, place->v2 ? "%ld 100000" : "%ld", quota < 1000 ? 1000 : quota);
    if (set_limit(group, place, CGROUP_CPU, place->v2 ? "cpu.max" : "cpu.cfs_quota_us", text, err, errlen) < 0) return -1;
  }
  return 0;
}

int cgroup_limit(struct cgroup *group, const struct cgroup_limits *limits, char *err, size_t errlen) {
  for (int i = 0; i < group->count; i++)
    if (set_limits(group, &group->place[i], limits, err, errlen) < 0) return -1;
  return 0;
}

/* One tree's group. 1: not ours to use after all (the folder is shut), 0: made, -1: an error. */
static int make_place(struct cgroup *group, const struct cgroup_tree *tree, const char *instance, const char *name, char *err, size_t errlen) {
  char parent[320], path[400];
  if (!text_format(parent, sizeof parent, "%s/nemoclaw-%s", tree->parent, instance) || !text_format(path, sizeof group->place[0].path, "%s%s%s", parent, name != NULL ? "/" : "", name != NULL ? name : "")) {
    snprintf(err, errlen, "cgroup: name too long");
    return -1;
  }
  if (tree->v2) cgroup_open_controllers(tree->parent);
  if (mkdir(parent, 0755) < 0 && errno != EEXIST) {
    if (errno == EACCES || errno == EPERM || errno == EROFS) return 1;
    snprintf(err, errlen, "cgroup: mkdir %s: %s", parent, strerror(errno));
    return -1;
  }
  if (tree->v2 && name != NULL) cgroup_open_controllers(parent);
  if ((name != NULL && mkdir(path, 0755) < 0 && errno != EEXIST) || open_place(group, path, tree) < 0) {
    snprintf(err, errlen, "cgroup: %s: %s", path, strerror(errno));
    (void)rmdir(path);
    return -1;
  }
  return 0;
}

static int create(struct cgroup *group, const char *instance, const char *name, const struct cgroup_limits *limits, char *err, size_t errlen) {
  struct cgroup_tree all[CGROUP_MAX];
  int count = cgroup_trees(all, CGROUP_MAX);
  memset(group, 0, sizeof *group);
  for (int i = 0; i < count; i++) {
    if (limits->alone && !(all[i].controllers & (CGROUP_MEMORY | CGROUP_PIDS | CGROUP_CPU))) continue;
    int made = make_place(group, &all[i], instance, name, err, errlen);
    if (made < 0 || (made == 0 && set_limits(group, &group->place[group->count - 1], limits, err, errlen) < 0)) {
      cgroup_remove(group, 0);
      return -1;
    }
  }
  return 0;
}

int cgroup_create(struct cgroup *group, const char *instance, const char *name, const struct cgroup_limits *limits, char *err, size_t errlen) {
  if (create(group, instance, name, limits, err, errlen) < 0) return -1;
  const char *lacking = limits->memory_bytes > 0 && !(group->limited & CGROUP_MEMORY) ? "memory" : limits->cpus > 0 && !(group->limited & CGROUP_CPU) ? "cpu" : NULL;
  if (lacking == NULL) return 0; /* processes are counted by RLIMIT_NPROC as well, which is always there */
  snprintf(err, errlen, "cgroup: no %s controller that this process may use", lacking);
  cgroup_remove(group, 0);
  return -1;
}

void cgroup_facts(struct cgroup_facts *facts) {
  static struct cgroup_facts found;
  static bool tried;
  if (!tried) {
    struct cgroup group;
    struct cgroup_limits limits = {.memory_bytes = 1 << 30, .cpus = 1, .pids = 64};
    char err[256], instance[32];
    snprintf(instance, sizeof instance, "facts-%d", (int)getpid());
    tried = true;
    if (create(&group, instance, "try", &limits, err, sizeof err) == 0) {
      for (int i = 0; i < group.count; i++) found.v2 |= group.place[i].v2;
      found.memory = group.limited & CGROUP_MEMORY;
      found.pids = group.limited & CGROUP_PIDS;
      found.cpu = group.limited & CGROUP_CPU;
      found.freezer = cgroup_freeze(&group, false) == 0;
      cgroup_remove(&group, 100);
    }
    cgroup_remove_instance(instance);
  }
  *facts = found;
}

int cgroup_doors(const struct cgroup *group, int *fds, int room) {
  int count = 0;
  for (; count < group->count && count < room; count++) {
    fds[count] = openat(group->place[count].dir, group->place[count].v2 ? "cgroup.procs" : "tasks", O_WRONLY | O_CLOEXEC);
    if (fds[count] >= 0) continue;
    int saved = errno;
    while (count > 0) close(fds[--count]);
    errno = saved;
    return -1;
  }
  return count;
}

int cgroup_open(struct cgroup *group, const char *instance, const char *name) {
  struct cgroup_tree all[CGROUP_MAX];
  int count = cgroup_trees(all, CGROUP_MAX);
  memset(group, 0, sizeof *group);
  for (int i = 0; i < count; i++) {
    char path[400];
    if (text_format(path, sizeof group->place[0].path, "%s/nemoclaw-%s/%s", all[i].parent, instance, name)) (void)open_place(group, path, &all[i]);
  }
  return group->count;
}

int cgroup_freeze(const struct cgroup *group, bool frozen) {
  /* v2 first: it freezes in place and its frozen members can still be killed. */
  for (int i = 0; i < group->count; i++)
    if (group->place[i].v2 && cgroup_write(group->place[i].dir, "cgroup.freeze", frozen ? "1" : "0") == 0) return 0;
  for (int i = 0; i < group->count; i++)
    if (group->place[i].controllers & CGROUP_FREEZER) return cgroup_write(group->place[i].dir, "freezer.state", frozen ? "FROZEN" : "THAWED");
  errno = ENOTSUP;
  return -1;
}

bool cgroup_each(const struct cgroup *group, bool (*each)(int pid, void *arg), void *arg) {
  if (group->count == 0) return false;
  int fd = openat(group->place[0].dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
  FILE *list = fd < 0 ? NULL : fdopen(fd, "re");
  if (!list) {
    if (fd >= 0) close(fd);
    return false;
  }
  int pid;
  bool found = false;
  while (!found && fscanf(list, "%d", &pid) == 1) found = each(pid, arg);
  fclose(list);
  return found;
}

static bool kill_one(int pid, void *arg) {
  int *seen = arg;
  /* 0 would be our own process group: a member outside our pid namespace. */
  if (pid > 1 && kill(pid, SIGKILL) == 0) (*seen)++;
  return false;
}

int cgroup_kill(const struct cgroup *group) {
  int seen = 0;
  for (int i = 0; i < group->count; i++)
    if (group->place[i].v2) (void)cgroup_write(group->place[i].dir, "cgroup.kill", "1");
  cgroup_each(group, kill_one, &seen);
  (void)cgroup_freeze(group, false);
  return seen;
}

int cgroup_remove(struct cgroup *group, int wait_ms) {
  int result = 0, saved = 0;
  for (int i = 0; i < group->count; i++) {
    int waited = 0;
    while (rmdir(group->place[i].path) < 0 && errno != ENOENT) {
      saved = errno;
      if (saved != EBUSY || waited >= wait_ms) {
        result = -1;
        break;
      }
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
      waited++;
    }
  }
  cgroup_close(group);
  errno = saved;
  return result;
}

void cgroup_remove_instance(const char *instance) {
  struct cgroup_tree all[CGROUP_MAX];
  int count = cgroup_trees(all, CGROUP_MAX);
  for (int i = 0; i < count; i++) {
    char path[320];
    if (text_format(path, sizeof path, "%s/nemoclaw-%s", all[i].parent, instance)) (void)rmdir(path);
  }
}
