/* File operations that openshelld does for an agent: resolved in the agent's view, done as the agent's uid. */
#pragma once
#include <jansson.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define PATH_BYTES 4096
#define LOCKS_MAX 8

/* A part of the view that is locked inside (read-only, or out of sight), and where openshelld works in it instead. */
struct lock {
  char path[PATH_BYTES]; /* as the agent sees it */
  bool hidden;           /* also from reading */
  int work;              /* detached mount of the same folder or file, writable as it was */
  int show;              /* where hidden: the same, read-only, for descriptors that only read; else -1 */
};

/* Whose view and whose rights. */
struct view {
  int root; /* O_PATH on the sandbox's root, opened through its init */
  int whole; /* where something is hidden: the view before that, in which paths are resolved; else -1 */
  uid_t uid;
  gid_t gid;
  int lock_count;
  struct lock *locks; /* outer before inner */
  bool monitor;       /* what would be asked about is told and let through */
  bool no_tcp;        /* the plan's Landlock rules refuse TCP; openshelld has no such rules of its own */
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
  bool mount; /* something is mounted there */
  dev_t dev;
  ino_t ino;
  unsigned mode; /* type and permissions */
  bool folder, link;
  struct folder_id in; /* `parent` */
  int lock;        /* index of the innermost lock it is in, or -1. `parent` is then in the lock's own mount (place_unlock) */
  size_t prefix;   /* so much of `path` is not in what the kernel calls `parent` */
  bool rules_known;   /* `rules_inside` was remembered for this folder */
  uint64_t rules_inside; /* bit set: rules whose root is the folder or above it */
  char path[PATH_BYTES + 260]; /* as the agent sees it, without symbolic links */
};

enum operation_kind { DO_UNLINK, DO_RENAME, DO_OPEN, DO_MKDIR, DO_MKNOD, DO_SYMLINK, DO_LINK, DO_TRUNCATE, DO_CHMOD, DO_CHOWN, DO_UTIMES, DO_SETXATTR, DO_REMOVEXATTR, DO_CONNECT, DO_EXEC, DO_CALL };

/* Numbers of a call; what a held call keeps of them is these bytes. */
struct operation_numbers {
  enum operation_kind kind;
  unsigned flags; /* of unlinkat, renameat2, open, setxattr */
  unsigned mode;  /* of open, mkdir, mknod (what its umask leaves, once it is known to be done here), chmod */
  int64_t length; /* of truncate */
  uid_t owner;
  gid_t group;
  struct timespec times[2];
  bool times_now; /* no times were given */
  bool making;    /* open: the name is not there */
};

struct operation {
  const char *syscall;
  struct operation_numbers is;
  bool rename; /* kind is DO_RENAME */
  bool forbidden; /* by its arguments alone, whoever would approve it */
  bool follow; /* a symbolic link at the end of the path */
  struct place from, to; /* `to`: new name of a rename or link */
  char text[PATH_BYTES];  /* target of a symbolic link, or name of an attribute */
  char *value;            /* of an attribute */
  size_t value_length;
  int result;             /* descriptor that the caller gets, or -1 */
  uint64_t *made;         /* device and inode of the file that it is about to make, kept where they outlive openshelld; or NULL */
};

/* What rules may speak of: one bit for each word of EscalateOp (contract/src/plan.ts). */
enum { ON_DELETE = 1, ON_RENAME = 2, ON_WRITE = 4, ON_CREATE = 8, ON_READ = 16, ON_EXEC = 32, ON_CONNECT = 64, ON_CALL = 128, ON_START = 256 };

/* Whether it is a call that openshelld does. */
bool operation_known(int nr);
/* Deletions and renames are done by openshelld wherever they are; the kernel lets no agent do them in such a sandbox. */
static inline bool operation_removes(const struct operation *op) { return op->is.kind == DO_UNLINK || op->is.kind == DO_RENAME; }
/* Whether `to` is a name that the operation makes or takes. */
static inline bool operation_has_two(const struct operation *op) { return op->is.kind == DO_RENAME || op->is.kind == DO_LINK; }
/* ON_ bits of what it does to `from`, or, of a link, to `to`. */
unsigned operation_does(const struct operation *op);

#define OPERATION_CONTINUE (-1) /* the kernel decides: nothing locked is concerned */
/*
 * Reads the arguments once and resolves them. 0, or the errno that the call gets, or OPERATION_CONTINUE (then nothing is kept).
 * `notify` is asked whether the caller still waits; ESRCH: it does not. `always`: the kernel must not do it, wherever it is. `made`: what an earlier try has made, or NULL.
 */
int operation_read(struct operation *op, const struct view *view, const struct seccomp_notif *call, int notify, bool always, uint64_t *made);
/* A call that the kernel does itself after approval: its numbers cannot change while it waits. */
void operation_of_call(struct operation *op, const struct seccomp_notif *call, const char *name, int args);
/* Looks the names up again: true if they still name the same objects in the same folders. */
bool operation_same(const struct operation *op, const struct view *view);
/* The name to be made is there, and is what an earlier try of this very operation has made. */
bool operation_made(const struct operation *op, const struct view *view);
/* Does it. 0 or errno. `again`: it may have been done already. */
int operation_do(struct operation *op, const struct view *view, bool again);
void operation_close(struct operation *op);
/* Makes the descriptors the operation's own, so that it can wait. False: no descriptor is free. */
bool operation_keep(struct operation *op);
void operation_let_go(struct place *place);

/* perform_read.c: the arguments. 0 or errno. `follow`: how the last name of the path is meant. */
struct operation_paths {
  int dirs[2];
  uint64_t paths[2];
  int count;
  bool empty_is_dir; /* AT_EMPTY_PATH, or no path: the descriptor itself */
};
int operation_decode(struct operation *op, const struct seccomp_notif *call, struct operation_paths *out);
/* perform_connect.c: of a connect; `to.parent` is the socket, `from` the file of a Unix socket. connect_do may wait. */
int connect_read(struct operation *op, const struct view *view, const struct seccomp_notif *call, int notify, bool always);
int connect_do(const struct operation *op);
/* A string of the agent: 0, EFAULT, or ENAMETOOLONG. */
int read_text(pid_t tid, uint64_t address, char *out);

/* The parts that operation_read is made of (perform_resolve.c). */
int place_resolve(struct place *place, const struct view *view, pid_t tid, int dirfd, const char *path);
int place_look(struct place *place, const struct view *view);
/* Follows a symbolic link at the end, as open(2) does. ENOENT: it leads to nothing (place->exists is false, the name is where it would be made). */
int place_follow(struct place *place, const struct view *view);
/* What the descriptor is called in its own mount namespace. */
int place_path(int fd, char *out, size_t size);
/* perform_locks.c. The locks of a plan, with the twins in the order of its steps; takes over all of them. False: they do not fit. */
bool locks_take(struct view *view, json_t *locks, const int *twins, int count);
/* A view of its own for another thread. */
bool view_copy(struct view *out, const struct view *in);
void view_close(struct view *view);
/* Finds the lock, and moves the place into the lock's own mount. 0 or errno. */
void place_find_lock(struct place *place, const struct view *view);
int place_unlock(struct place *place, const struct view *view, bool reading);
/* O_PATH on what was shown, or -1 with ESTALE: it is something else by now. */
int place_object(const struct place *place);
/* The file-system identity of this thread; a sandbox's own thread keeps the agent's. */
void become_agent(const struct view *view);
void become_root(void);
/* Once, before anything else: whose identity the process has. */
void become_prepare(void);
/* What was found out about a folder is remembered until any folder moves or goes, and for a second at most. */
void folder_remember(const struct place *place, const struct view *view, uint64_t rules_inside);
void folders_forget(void);
unsigned folders_moves(void);
/* perform_caller.c: where relative paths begin; errors as errno, ESRCH: the caller is gone. */
int caller_folder(pid_t tid, int dirfd);
int caller_folder_id(pid_t tid, int dirfd, struct folder_id *id);
/* O_PATH on any descriptor of the caller; -1 with errno. */
int caller_descriptor(pid_t tid, int fd);
/* A number of /proc/TID/status, which follows `name` ("\nTgid:"), in `base`; -1: it is not known. */
long caller_status(pid_t tid, const char *name, int base);
unsigned caller_umask(pid_t tid);
int folder_id(int fd, const char *name, struct folder_id *id);
/* The folder that `path` led to from `base` a moment ago, into `place`; and to remember it. */
bool kept_parent(struct place *place, const struct view *view, const struct folder_id *base, const char *path);
void keep_parent(struct place *place, const struct view *view, const struct folder_id *base, const char *path);
/* Between two operations: closes what was forgotten during the last. */
void kept_sweep(void);
/* Gives back what this thread remembered. */
void operation_thread_end(void);
