/* The sandboxes that are seen: what belongs to each uid, how often it was told of, its counts for whoever asks. */
#pragma once
#include "seen.h"
#include <jansson.h>

struct seen_watch {
  struct seen_watch *next;
  struct seen_sandbox kernel;
  uint64_t owner;
  pid_t init;
  json_t *rules; /* of the plan; NULL after a restart */
  char id[72];
  int64_t minute; /* boot time ms: begin of the minute that `told` counts in */
  unsigned told[2], held_back; /* refusals, successes; what went beyond the share */
  uint64_t lost_told; /* withheld and ring_full that are on record */
};

extern struct seen_watch *seen_watches;

/* Opens the kernel's side, or goes on with what the last openshelld kept. False: this host does not let us. */
bool watch_open(void);
/* A descriptor set of the last openshelld: "seen/maps" or "seen/links". False: neither. */
bool watch_adopt(const char *name, const int *fds, int count);
bool watch_seeing(void);

/*
 * A sandbox lives: its host uid, its id (copied), the pid of its init. `plan` is its LaunchPlan, NULL for one that a former openshelld made;
 * `asks`: calls that openshelld knows how to do come to it.
 * False: its calls are not seen although they should be. Nothing is done where its policy says auditLog.syscalls: off.
 */
bool watch_begin(uid_t uid, const char *id, pid_t init, json_t *plan, bool asks);
void watch_end(struct seen_watch *watch);
/* The policy changed: what names the rule of a refusal from now on; NULL: nothing does. */
void watch_rules(const char *id, json_t *rules);
/* By what the event carries: an event of a sandbox that is gone belongs to nobody. */
struct seen_watch *watch_of(uid_t uid, uint64_t owner);
struct seen_watch *watch_by_id(const char *id);
/* True while the sandbox may put one more event on record in this minute; what is over its share is counted. */
bool watch_may_tell(struct seen_watch *watch, bool success);

/* {counts: {"openat": [done, denied, failed, filtered, interrupted, heldDenied, approved]}, ended, withheld, ringFull}; numbers without a name are call_N. */
json_t *watch_counts(const struct seen_watch *watch);

/* openshelld's word on a call that the filter handed to it and that did not go its own way: with EPERM, or done because a person approved. With the daemon's lock. */
enum seen_answer { ANSWER_DENIED, ANSWER_APPROVED };
void watch_answered(uid_t uid, int nr, enum seen_answer answer);
