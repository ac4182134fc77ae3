/*
 * What the files of a workspace take on disk, where nothing in the kernel keeps a size for them: counted by a process of its own, which asks the shim to stop the
 * sandbox while it counts, and to leave it stopped while there is too much.
 * Packets (SEQPACKET): meter -> shim one struct meter_report, shim -> meter one byte for each METER_STOP.
 */
#pragma once
#include "cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define METER_ENTRY_BYTES 1024 /* what each name counts beside its blocks, so that empty files end somewhere */

enum meter_kind {
  METER_READY, /* what was there before is counted; anything may start */
  METER_STOP,  /* let nothing in the sandbox run, and answer */
  METER_ROOM,  /* it may run */
  METER_FULL,  /* it stays stopped; told once */
  METER_STUCK, /* what was stopped still writes: end it */
  METER_LOST,  /* it cannot be counted; `why`, and nothing follows */
};

struct meter_report {
  uint32_t kind;
  int64_t used; /* bytes that it grew by */
  char why[120];
};

/* What was counted once must not be counted again under another name. */
struct meter_links {
  uint64_t *all;
  size_t used, room;
};

struct meter_count {
  int64_t bytes;
  const char *why; /* not NULL: not everything could be counted; static storage */
};

/* meter-walk.c: every file below `root` on its file system, by its blocks; a file with several names once. `own`: folders of others that are closed to us are left out, because the agent is us. */
void meter_walk(int root, bool own, struct meter_links *links, struct meter_count *count);
/* False: it is there already. Without memory: true, so that more is counted and never less. */
bool meter_first(struct meter_links *links, uint64_t inode);
void meter_links_free(struct meter_links *links);
/* meter-held.c: the same of files that have no name any more but are open in the group's processes. True: there may be more that cannot be seen (in a queue of a socket, mapped only). */
bool meter_held(const struct cgroup *group, dev_t dev, struct meter_links *links, struct meter_count *count);
/* meter.c: starts it for `folder` (O_PATH). Our end of its socket, or -1 with errno; `limit` bytes more than there is now may be there. The group may be empty as yet. */
int meter_start(int folder, uint64_t limit, const struct cgroup *group, pid_t *child);
