/*
 * Memory that shim and openshelld share: every asked system call that was taken from the kernel and not yet answered.
 * The kernel writes a call straight into its slot, so that nothing is lost with a process that is killed in between; the next openshelld goes on from here.
 * One receives at a time: openshelld while it lives, else the shim.
 */
#pragma once

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SHARED_SLOTS 256
#define SHIM_SYSCALLS 512

enum shared_journal { JOURNAL_NONE, JOURNAL_DOING, JOURNAL_DONE };

struct shared_slot {
  struct seccomp_notif call; /* id 0: free */
  int64_t deadline;          /* CLOCK_BOOTTIME ms; 0: not yet set */
  _Atomic uint32_t journal;  /* enum shared_journal, written after what belongs to it: a call is never done twice */
  int32_t error;             /* DONE: its result */
  uint64_t about[2];         /* DOING: device and inode of what it is about to act on, or of the file that it is about to give a name */
  bool held;                 /* the shim has the record of what was shown */
};

struct shared_calls {
  _Atomic uint32_t refused[SHIM_SYSCALLS]; /* not yet reported */
  struct shared_slot slot[SHARED_SLOTS];
};

static inline uint64_t slot_id(const struct shared_slot *slot) { return __atomic_load_n(&slot->call.id, __ATOMIC_ACQUIRE); }

/* The kernel takes only zeroed memory, and the id goes last: who sees a free slot sees an empty one. */
static inline void slot_clear(struct shared_slot *slot) {
  memset((char *)slot + sizeof slot->call.id, 0, sizeof *slot - sizeof slot->call.id);
  __atomic_store_n(&slot->call.id, 0, __ATOMIC_RELEASE);
}

/* NULL: as many calls wait as may. */
static inline struct shared_slot *slot_free(struct shared_calls *shared) {
  for (int i = 0; i < SHARED_SLOTS; i++)
    if (slot_id(&shared->slot[i]) == 0) return &shared->slot[i];
  return NULL;
}

static inline struct shared_slot *slot_of(struct shared_calls *shared, uint64_t id) {
  for (int i = 0; shared && i < SHARED_SLOTS; i++)
    if (slot_id(&shared->slot[i]) == id) return &shared->slot[i];
  return NULL;
}

static inline void slot_begin(struct shared_slot *slot, uint64_t dev, uint64_t ino) {
  slot->about[0] = dev;
  slot->about[1] = ino;
  atomic_store(&slot->journal, JOURNAL_DOING);
}

static inline void slot_done(struct shared_slot *slot, int error) {
  slot->error = error;
  atomic_store(&slot->journal, JOURNAL_DONE);
}

static inline void count_refused(struct shared_calls *shared, int nr) {
  atomic_fetch_add_explicit(&shared->refused[nr >= 0 && nr < SHIM_SYSCALLS - 1 ? nr : SHIM_SYSCALLS - 1], 1, memory_order_relaxed);
}
