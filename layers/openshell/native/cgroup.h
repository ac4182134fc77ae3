/* Control groups of one sandbox: created before it, joined before exec, frozen, killed and removed with it (v1 per controller, v2 where mounted). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define CGROUP_MAX 8

struct cgroup_limits {
  long long memory_bytes; /* 0: none */
  double cpus;            /* 0: none */
  long pids;              /* 0: none */
};

/* What this host can enforce; filled by cgroup_facts(). */
struct cgroup_facts {
  bool v2, memory, pids, cpu, freezer;
};

struct cgroup_place {
  char path[256]; /* absolute directory */
  char controller[16];
  int dir;   /* O_PATH descriptor of the directory */
  int procs; /* write end of cgroup.procs: write "0" to join */
};

struct cgroup {
  struct cgroup_place place[CGROUP_MAX];
  int count;
};

void cgroup_facts(struct cgroup_facts *facts);
/* Makes nemoclaw-<instance>/<name> in every usable hierarchy and sets the limits. 0 or -1 with `err` filled and nothing left behind. */
int cgroup_create(struct cgroup *group, const char *instance, const char *name, const struct cgroup_limits *limits, char *err, size_t errlen);
/* Other limits for groups that exist; 0 leaves one as it is. 0 or -1 with `err`: what came before the failure stays changed. */
int cgroup_limit(const struct cgroup *group, const struct cgroup_limits *limits, char *err, size_t errlen);
/* Finds the groups again by name, without making or changing any. Returns how many there are. */
int cgroup_open(struct cgroup *group, const char *instance, const char *name);
/* Moves the calling process in. Async-signal-safe. 0 or -1 with errno. */
int cgroup_join(const struct cgroup *group);
int cgroup_freeze(const struct cgroup *group, bool frozen);
/* SIGKILL to every member, thawing them first. Returns members seen. */
int cgroup_kill(const struct cgroup *group);
/* Removes the groups once empty (waits up to `wait_ms`) and closes the descriptors. 0 or -1 with errno. */
int cgroup_remove(struct cgroup *group, int wait_ms);
/* Removes nemoclaw-<instance> itself if nothing is left in it. */
void cgroup_remove_instance(const char *instance);
/* Calls `each` for every member's host pid; stops when it returns true. */
bool cgroup_each(const struct cgroup *group, bool (*each)(int pid, void *arg), void *arg);
void cgroup_close(struct cgroup *group);
