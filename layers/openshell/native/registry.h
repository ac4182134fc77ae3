/* Registered workspaces: opened once with the identity of the person who registers, kept as descriptors, never opened by name again. Wire: contract/src/register.ts */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct registration {
  char id[24];
  uid_t uid;
  gid_t gid;
  char *path; /* as it was named; shown only */
  int fd;     /* O_PATH directory */
  dev_t dev;
  ino_t ino;
};

/* Listens at $RUN/register.sock. 0, or -1 with `err`. */
int registry_open(char *err, size_t errlen);
void registry_close(void);
/* After SIGCHLD. */
void registry_reap(void);
/* [directory, description] that the supervisor kept. Owns both. */
void registry_adopt(const int *fds, int count);
/* NULL: no such registration. */
const struct registration *registry_find(const char *id);
/* [{id, uid, gid, path}] */
json_t *registry_list(void);
/* Keeps `fd` (owned from now on) and answers {id, path}; NULL when full. `fresh`: it was not known before. */
const struct registration *registry_add(uid_t uid, gid_t gid, const char *path, int fd, bool *fresh);

/* registry_open.c, in a child process: becomes uid/gid/groups, opens `path`, checks it, sends the answer (a packet {"code": "", …} with the descriptor) to `answer`, exits. */
struct registry_peer {
  uid_t uid;
  gid_t gid;
  gid_t groups[64];
  int group_count;
};
_Noreturn void registry_open_as(const struct registry_peer *peer, const char *path, int answer);
