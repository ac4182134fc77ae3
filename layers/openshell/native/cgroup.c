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

/* Where a controller lives on this host: a v1 mount, or the v2 tree. */
struct hierarchy {
  char mount[200];
  char controllers[64]; /* space separated, of those we use; "unified" for a v2 tree */
};

static const char *const wanted[] = {"memory", "pids", "cpu", "freezer"};

static bool has_word(const char *list, const char *word, char separator) {
  size_t length = strlen(word);
  for (const char *p = list; (p = strstr(p, word)) != NULL; p += length) {
    bool starts = p == list || p[-1] == separator;
    if (starts && (p[length] == 0 || p[length] == separator || p[length] == '\n')) return true;
  }
  return false;
}

static int write_text(int dir, const char *file, const char *text) {
  int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  int saved = errno;
  close(fd);
  errno = saved;
  return n < 0 ? -1 : 0;
}

static void read_text(const char *dir, const char *file, char *out, size_t size) {
  char path[320];
  out[0] = 0;
  if (!text_format(path, sizeof path, "%s/%s", dir, file)) return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = read(fd, out, size - 1);
  out[n > 0 ? n : 0] = 0;
  close(fd);
}

/* Reads /proc/self/mounts: fields are device, directory, type, options. */
static int find_hierarchies(struct hierarchy *out, int max) {
  FILE *mounts = fopen("/proc/self/mounts", "re");
  if (!mounts) return 0;
  char line[1024], dir[512], type[32], options[512];
  int count = 0;
  while (count < max && fgets(line, sizeof line, mounts)) {
    if (sscanf(line, "%*s %511s %31s %511s", dir, type, options) != 3 || strlen(dir) >= sizeof out->mount) continue;
    struct hierarchy *h = &out[count];
    snprintf(h->mount, sizeof h->mount, "%.199s", dir);
    h->controllers[0] = 0;
    if (strcmp(type, "cgroup2") == 0) {
      snprintf(h->controllers, sizeof h->controllers, "unified");
      count++;
    } else if (strcmp(type, "cgroup") == 0) {
      for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (has_word(options, wanted[i], ',')) {
          size_t used = strlen(h->controllers);
          snprintf(h->controllers + used, sizeof h->controllers - used, "%s%s", used ? " " : "", wanted[i]);
        }
      if (h->controllers[0]) count++;
    }
  }
  fclose(mounts);
  return count;
}

void cgroup_facts(struct cgroup_facts *facts) {
  struct hierarchy all[CGROUP_MAX];
  int count = find_hierarchies(all, CGROUP_MAX);
  memset(facts, 0, sizeof *facts);
  for (int i = 0; i < count; i++) {
    char list[256];
    snprintf(list, sizeof list, "%s", all[i].controllers);
    if (strcmp(list, "unified") == 0) {
      facts->v2 = facts->freezer = true;
      read_text(all[i].mount, "cgroup.controllers", list, sizeof list);
    }
    facts->memory |= has_word(list, "memory", ' ');
    facts->pids |= has_word(list, "pids", ' ');
    facts->cpu |= has_word(list, "cpu", ' ');
    facts->freezer |= has_word(list, "freezer", ' ');
  }
}

void cgroup_close(struct cgroup *group) {
  for (int i = 0; i < group->count; i++) {
    if (group->place[i].dir >= 0) close(group->place[i].dir);
    if (group->place[i].procs >= 0) close(group->place[i].procs);
  }
  group->count = 0;
}

static int open_place(struct cgroup *group, const char *path, const char *controller) {
  struct cgroup_place *place = &group->place[group->count];
  place->dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (place->dir < 0) return -1;
  place->procs = openat(place->dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  if (place->procs < 0) {
    close(place->dir);
    return -1;
  }
  snprintf(place->path, sizeof place->path, "%s", path);
  snprintf(place->controller, sizeof place->controller, "%.15s", controller);
  group->count++;
  return 0;
}

static int set_limits(int dir, const char *controllers, const struct cgroup_limits *limits, char *err, size_t errlen) {
  bool v2 = strcmp(controllers, "unified") == 0;
  char text[64];
  const char *file = NULL;
  if (limits->memory_bytes > 0 && (v2 || has_word(controllers, "memory", ' '))) {
    file = v2 ? "memory.max" : "memory.limit_in_bytes";
    snprintf(text, sizeof text, "%lld", limits->memory_bytes);
    if (!v2) (void)write_text(dir, "memory.memsw.limit_in_bytes", text); /* when raised: it may not be the lower of the two */
    if (write_text(dir, file, text) < 0 && !(v2 && errno == ENOENT)) goto failed;
    /* No escape into swap; absent where the kernel does not account it. */
    if (v2) (void)write_text(dir, "memory.swap.max", "0");
    else (void)write_text(dir, "memory.memsw.limit_in_bytes", text);
  }
  if (limits->pids > 0 && (v2 || has_word(controllers, "pids", ' '))) {
    file = "pids.max";
    snprintf(text, sizeof text, "%ld", limits->pids);
    if (write_text(dir, file, text) < 0 && !(v2 && errno == ENOENT)) goto failed;
  }
  if (limits->cpus > 0 && (v2 || has_word(controllers, "cpu", ' '))) {
    long quota = (long)(limits->cpus * 100000);
    file = v2 ? "cpu.max" : "cpu.cfs_quota_us";
    if (quota < 1000) quota = 1000;
    snprintf(text, sizeof text, v2 ? "%ld 100000" : "%ld", quota);
    if (write_text(dir, file, text) < 0 && errno != ENOENT) goto failed;
  }
  return 0;
failed:
  snprintf(err, errlen, "cgroup: %s %s: %s", file, text, strerror(errno));
  return -1;
}

int cgroup_limit(const struct cgroup *group, const struct cgroup_limits *limits, char *err, size_t errlen) {
  for (int i = 0; i < group->count; i++)
    if (set_limits(group->place[i].dir, group->place[i].controller, limits, err, errlen) < 0) return -1;
  return 0;
}

int cgroup_create(struct cgroup *group, const char *instance, const char *name, const struct cgroup_limits *limits, char *err, size_t errlen) {
  struct hierarchy all[CGROUP_MAX];
  int count = find_hierarchies(all, CGROUP_MAX);
  memset(group, 0, sizeof *group);
  for (int i = 0; i < count; i++) {
    char parent[320], path[400];
    if (!text_format(parent, sizeof parent, "%s/nemoclaw-%s", all[i].mount, instance) || !text_format(path, sizeof group->place[0].path, "%s/%s", parent, name)) {
      snprintf(err, errlen, "cgroup: name too long");
      goto failed;
    }
    bool unified = strcmp(all[i].controllers, "unified") == 0;
    int root = open(all[i].mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (mkdir(parent, 0755) < 0 && errno != EEXIST) {
      snprintf(err, errlen, "cgroup: mkdir %s: %s", parent, strerror(errno));
      if (root >= 0) close(root);
      goto failed;
    }
    if (unified && root >= 0)
      for (size_t w = 0; w < 3; w++) {
        char enable[24], own[330];
        snprintf(enable, sizeof enable, "+%s", wanted[w]);
        (void)write_text(root, "cgroup.subtree_control", enable);
        if (text_format(own, sizeof own, "%s/cgroup.subtree_control", parent)) (void)write_text(AT_FDCWD, own, enable);
      }
    if (root >= 0) close(root);
    if ((mkdir(path, 0755) < 0 && errno != EEXIST) || open_place(group, path, all[i].controllers) < 0) {
      snprintf(err, errlen, "cgroup: %s: %s", path, strerror(errno));
      (void)rmdir(path);
      goto failed;
    }
    if (set_limits(group->place[group->count - 1].dir, all[i].controllers, limits, err, errlen) < 0) goto failed;
  }
  return 0;
failed:
  cgroup_remove(group, 0);
  return -1;
}

int cgroup_open(struct cgroup *group, const char *instance, const char *name) {
  struct hierarchy all[CGROUP_MAX];
  int count = find_hierarchies(all, CGROUP_MAX);
  memset(group, 0, sizeof *group);
  for (int i = 0; i < count; i++) {
    char path[400];
    if (text_format(path, sizeof group->place[0].path, "%s/nemoclaw-%s/%s", all[i].mount, instance, name)) (void)open_place(group, path, all[i].controllers);
  }
  return group->count;
}

int cgroup_join(const struct cgroup *group) {
  for (int i = 0; i < group->count; i++)
    if (write(group->place[i].procs, "0", 1) != 1) return -1;
  return 0;
}

int cgroup_freeze(const struct cgroup *group, bool frozen) {
  /* v2 first: it freezes in place and its frozen members can still be killed. */
  for (int i = 0; i < group->count; i++)
    if (strcmp(group->place[i].controller, "unified") == 0 && write_text(group->place[i].dir, "cgroup.freeze", frozen ? "1" : "0") == 0) return 0;
  for (int i = 0; i < group->count; i++)
    if (has_word(group->place[i].controller, "freezer", ' ')) return write_text(group->place[i].dir, "freezer.state", frozen ? "FROZEN" : "THAWED");
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
    if (strcmp(group->place[i].controller, "unified") == 0) (void)write_text(group->place[i].dir, "cgroup.kill", "1");
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
  struct hierarchy all[CGROUP_MAX];
  int count = find_hierarchies(all, CGROUP_MAX);
  for (int i = 0; i < count; i++) {
    char path[320];
    if (text_format(path, sizeof path, "%s/nemoclaw-%s", all[i].mount, instance)) (void)rmdir(path);
  }
}
