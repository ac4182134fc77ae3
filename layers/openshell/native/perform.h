/* File operations that openshelld does for an agent: resolved in the agent's view, done as the agent's uid. */
#pragma once
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PATH_BYTES 4096

/* Whose view and whose rights. */
struct view {
  int root; /* O_PATH on the sandbox's root, opened through its init */
  uid_t uid;
  gid_t gid;
};

/* Which folder, and in which mount. */
struct folder_id {
  dev_t dev;
  ino_t ino;
  uint64_t mount;
};

/* One name in one folder, and what it named when it was looked up. */
struct place {
  int parent; /* O_PATH; -1: none */
  bool kept;  /* `parent` belongs to perform_caller.c and stays open for this operation only */
  char name[258]; /* with its trailing slash, if it had one */
  bool special;   /* ".", "..": the kernel refuses every operation on them */
  bool exists;
  dev_t dev;
  ino_t ino;
  bool folder, link;
  struct folder_id in; /* `parent` */
  bool rules_known;   /* `rules_inside` was remembered for this folder */
  uint64_t rules_inside; /* bit set: rules whose root is the folder or above it */
  char path[PATH_BYTES + 260]; /* as the agent sees it, without symbolic links */
};

struct operation {
  const char *syscall;
  bool rename;
  unsigned flags; /* of unlinkat or renameat2 */
  struct place from, to; /* `to` for renames only */
};

/* Whether it is a call that openshelld does. */
bool operation_known(int nr);
/* Reads the arguments once and resolves them. 0, or the errno that the call gets (then nothing is kept). `notify` is asked whether the caller still waits. */
int operation_read(struct operation *op, const struct view *view, const struct seccomp_notif *call, int notify);
/* Looks the names up again: true if they still name the same objects in the same folders. */
bool operation_same(const struct operation *op, const struct view *view);
/* Does it. 0 or errno. */
int operation_do(const struct operation *op, const struct view *view);
void operation_close(struct operation *op);
/* Makes the descriptors the operation's own, so that it can wait. False: no descriptor is free. */
bool operation_keep(struct operation *op);
void operation_let_go(struct place *place);

/* The parts that operation_read is made of (perform_resolve.c). */
int place_resolve(struct place *place, const struct view *view, pid_t tid, int dirfd, const char *path);
int place_look(struct place *place, const struct view *view);
/* What the descriptor is called in its own mount namespace. */
int place_path(int fd, char *out, size_t size);
/* The file-system identity of this thread; a sandbox's own thread keeps the agent's. */
void become_agent(const struct view *view);
void become_root(void);
/* Once, at the start: who we are when we are not an agent. */
void become_prepare(void);
/* What was found out about a folder is remembered until any folder moves or goes, and for a second at most. */
void folder_remember(const struct place *place, const struct view *view, uint64_t rules_inside);
void folders_forget(void);
unsigned folders_moves(void);
/* perform_caller.c: where relative paths begin; errors as errno, ESRCH: the caller is gone. */
int caller_folder(pid_t tid, int dirfd);
int caller_folder_id(pid_t tid, int dirfd, struct folder_id *id);
int folder_id(int fd, const char *name, struct folder_id *id);
/* The folder that `path` led to from `base` a moment ago, into `place`; and to remember it. */
bool kept_parent(struct place *place, const struct view *view, const struct folder_id *base, const char *path);
void keep_parent(struct place *place, const struct view *view, const struct folder_id *base, const char *path);
/* Gives back what this thread remembered. */
void operation_thread_end(void);
