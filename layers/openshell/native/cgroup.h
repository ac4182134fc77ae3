/* Control groups of one sandbox: created before it, joined before exec, frozen, killed and removed with it (v1 per controller, v2 where mounted). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define CGROUP_MAX 8
enum { CGROUP_MEMORY = 1, CGROUP_PIDS = 2, CGROUP_CPU = 4, CGROUP_FREEZER = 8 };

struct cgroup_limits {
  long long memory_bytes; /* 0: none */
  double cpus;            /* 0: none */
  long pids;              /* 0: none */
  bool alone;             /* only trees that can limit something: nobody will freeze these groups, nor look for them */
};

/* What this caller can enforce on this host, found by making a group; filled by cgroup_facts(). */
struct cgroup_facts {
  bool v2, memory, pids, cpu, freezer;
};

/* Where groups of ours are made, in one tree of the host. */
struct cgroup_tree {
  char parent[200]; /* a folder that we may write to */
  unsigned controllers; /* v1: those of the mount. v2: those that a group below `parent` can have */
  bool v2;
};

struct cgroup_place {
  char path[256]; /* absolute directory */
  unsigned controllers; /* of CGROUP_*, v1 only */
  bool v2;
  int dir;   /* O_PATH descriptor of the directory */
  int procs; /* write end of cgroup.procs: write "0" to join */
};

struct cgroup {
  struct cgroup_place place[CGROUP_MAX];
  int count;
  unsigned limited; /* CGROUP_*: the limits that hold */
};

/* cgroup_find.c: the trees that this process may use; v2 is its own delegated group or, for root, the top. Changes nothing. */
int cgroup_trees(struct cgroup_tree *out, int max);
/* cgroup_find.c: lets children of `dir`, a v2 group, have the controllers that we use; processes in the way are moved to a leaf if they are ours to move. */
void cgroup_open_controllers(const char *dir);

/* Tries once in the life of a process. */
void cgroup_facts(struct cgroup_facts *facts);
/* True where all controllers are in v2: a group is then entered by clone3(), so it has to be there before. */
bool cgroup_all_v2(void);
/* Makes nemoclaw-<instance>/<name>, or nemoclaw-<instance> itself where `name` is NULL, in every usable tree and sets the limits. 0 or -1 with `err` filled and nothing left behind; a memory or CPU limit that cannot be set is an error. */
int cgroup_create(struct cgroup *group, const char *instance, const char *name, const struct cgroup_limits *limits, char *err, size_t errlen);
/* Other limits for groups that exist; 0 leaves one as it is. 0 or -1 with `err`: what came before the failure stays changed. */
int cgroup_limit(struct cgroup *group, const struct cgroup_limits *limits, char *err, size_t errlen);
/* Opens in each group the file into which a process of one thread writes "0" to join. Returns how many, or -1 with errno and none open. */
int cgroup_doors(const struct cgroup *group, int *fds, int room);
/* Finds the groups again by name, without making or changing any. Returns how many there are. */
int cgroup_open(struct cgroup *group, const char *instance, const char *name);
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

/* For the parts of this file only. */
bool cgroup_has_word(const char *list, const char *word, char separator);
int cgroup_write(int dir, const char *file, const char *text); /* 0 or -1 with errno */
unsigned cgroup_words(const char *list, char separator); /* CGROUP_* of a list of names */
