/* Asked system calls of one sandbox: a thread takes and does them, the main thread keeps those that wait for a person. */
#pragma once
#include "openshelld_sandboxes.h"
#include "shim_shared.h"

/* What a sandbox's thread works with. Its own copies of descriptors, so that it never asks the main thread. */
struct asker {
  struct sandbox *sandbox; /* NULL: it is gone. Only with the daemon's lock */
  int notify, wake;
  pid_t init; /* its own calls are never asked about */
  struct view view;
  struct hold_rules *rules;
  struct hold_rules *_Atomic other_rules; /* to be used from the next call on, or NULL */
  struct shared_calls *shared;
  int64_t hold_ms;
  _Atomic bool over;
  _Atomic unsigned deleted, renamed, changed, failed; /* since the last event */
  _Atomic bool tally_due, refusals_due;
  int64_t minute; /* when the count of what was told began. With the daemon's lock, as the two below */
  unsigned told, untold;
};

/* holds_thread.c. NULL: it cannot be started. */
struct asker *asker_start(struct sandbox *sandbox, struct hold_rules *rules, int64_t hold_ms);
/* The thread ends by itself and frees what it has. With the daemon's lock. */
void asker_stop(struct asker *asker);
void answer_call(int notify, uint64_t nid, int error);
bool call_waits(int notify, uint64_t nid);
/* The kernel does it itself, and decides. */
void answer_continue(int notify, uint64_t nid);
/* Does it and answers; whatever happens to openshelld in between, it is done once. `again`: it may have been done. */
int do_and_answer(int notify, struct shared_slot *slot, struct operation *op, const struct view *view, bool again);

/* holds.c, with the daemon's lock. Takes over what `op` has open; false: as many wait as may. */
bool hold_open(struct sandbox *sandbox, struct shared_slot *slot, struct operation *op, int rule, unsigned asked);
/* The thread of a connection is done. */
void hold_connected(const char *sandbox_id, const char *hold_id, int error, json_int_t request);
/* OCSF file activities: create, read, update, delete, rename. */
int activity_of(const struct operation *op);
/* holds_connect.c, with the daemon's lock. False: no thread can be started. */
bool connect_start(const struct sandbox *sandbox, const char *hold_id, const struct operation *op, json_int_t request);
/* holds_monitor.c, with the daemon's lock. False: as many questions as a minute may have are asked already; this one is counted. */
bool may_tell(struct sandbox *sandbox);
/* What was counted. */
void untold_tell(struct sandbox *sandbox);
/* Monitor mode: tells that it would wait, or be denied. */
void hold_would_open(struct sandbox *sandbox, const struct operation *op, int rule, unsigned asked);
/* holds_counts.c: what was done without a question, and what was refused, as events once a second. */
void count_done(struct asker *asker, const struct operation *op, int error);
void count_refusal(struct asker *asker, int nr);
void counts_stop(struct sandbox *sandbox);
