/* What the kernel saw of a sandbox: every system call counted by what became of it, and each refusal of a file or network call with its path. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SEEN_CALLS 512
#define SEEN_PATH 192
#define SEEN_ADDRESS 28 /* struct sockaddr_in6 */
/* Numbers above the table (x32, nonsense) share this place; the one after it holds struct seen_meta. */
#define SEEN_OTHER (SEEN_CALLS - 1)
#define SEEN_META SEEN_CALLS
/* Sandboxes are found by host uid: the place is its low bits, and what stands there names the whole uid. */
#define SEEN_PLACES (1 << 16)
#define SEEN_FILTER_MAX 1024
#define SEEN_ROW (SEEN_CALLS + 1) /* places of one sandbox */
/* Of one sandbox in one window; more are counted, not told one by one, so that nobody fills the ring for the others. */
#define SEEN_WINDOW_NS 100000000ull
#define SEEN_WINDOW_EVENTS 256

/* What the seccomp filter of the sandbox does with a number. */
enum { FILTER_PASSES, FILTER_REFUSES, FILTER_NOTIFIES, FILTER_DEPENDS };

/*
 * Of one call number in one sandbox; shared with seen.bpf.c (x86-64, little endian). A call that came to its end is in exactly one of the first five.
 * The next two say how openshelld answered those that were handed to it; such a call is in one of the first five as well (see seen_read).
 */
struct seen_count {
  uint64_t done;
  uint64_t denied; /* EPERM, EACCES, EROFS of the kernel: mounts, Landlock, owners and modes, capabilities */
  uint64_t failed; /* any other error of the kernel */
  uint64_t filtered; /* the seccomp filter, or the shim that it asks */
  uint64_t interrupted; /* by a signal before it had an effect; the kernel repeats it, and the repetition is counted for itself */
  uint64_t held_denied, approved;
  uint16_t leaf; /* FILTER_DEPENDS: the instruction to go on from */
  uint8_t filter; /* FILTER_* */
  uint8_t asked; /* FILTER_NOTIFIES means here: openshelld performs it or lets it pass */
  uint8_t told; /* success is told too */
  uint8_t spare[3];
};
struct seen_meta {
  uint64_t owner; /* which sandbox: a uid may come again */
  uint64_t window; /* boot time ns */
  uint64_t window_events;
  uint64_t withheld; /* events beyond a window's share */
  uint64_t ring_full;
  uint64_t ended; /* processes and threads */
  uint64_t spare[2];
};

enum seen_verdict { SEEN_DONE, SEEN_DENIED, SEEN_FAILED, SEEN_FILTERED };

struct seen_event {
  uint64_t boottime_ns, owner;
  uint32_t uid, pid;
  int32_t nr, error; /* error >= 0 */
  uint32_t verdict;
  uint32_t folder_parts; /* names in `folder`, and one more; 0: it is not known */
  uint64_t args[3];
  char comm[16];
  /* The first two arguments, read as text; "" where they are none. Of a call with two folders: its two names, the new one first. Of connect and sendto: the address as it is, and a Unix socket's name. */
  char first[SEEN_PATH], second[SEEN_PATH];
  char folder[SEEN_PATH]; /* where a relative name begins, seen from the process's root: names that end with a 0 each, innermost first */
};

#ifndef __bpf__
#include <linux/filter.h>
#include <stddef.h>

/* Five kinds of end, and the two kinds of answer taken out of them: the sum is the number of calls. */
struct seen_reading {
  uint64_t done, denied, failed, filtered, interrupted, held_denied, approved;
};

/* Loads and attaches the programs for at most so many sandboxes at once. 0, or -1 with errno: then nothing is seen and `doctor` says so. */
int seen_start(uint32_t slots);
/* Goes on with what seen_fds gave to a former process; -1: unusable, and closed. */
int seen_adopt_maps(const int *fds, int count, uint32_t slots);
int seen_adopt_links(const int *fds, int count);
#define SEEN_MAP_FDS 4
#define SEEN_LINK_FDS 2
void seen_fds(int maps[SEEN_MAP_FDS], int links[SEEN_LINK_FDS]);
void seen_stop(void);

/* The counters of one sandbox. */
struct seen_sandbox {
  struct seen_count *counts; /* SEEN_ROW of them; NULL: none */
  uid_t uid;
};
/* Begins seeing a sandbox with fresh counters; `filter` NULL: what seccomp refuses is counted by its error. `told`: success of every call of seen_calls.c is told. 0 or -1 with errno: ENOSPC where as many are seen as may be, EEXIST where another one lives whose uid has the same low bits, E2BIG for a filter of more than SEEN_FILTER_MAX instructions. */
int seen_add(struct seen_sandbox *sandbox, uid_t uid, uint64_t owner, const struct sock_filter *filter, size_t length, bool told);
/* Finds the counters that a former process began for this owner; -1: there are none. */
int seen_find(struct seen_sandbox *sandbox, uid_t uid, uint64_t owner);
void seen_remove(struct seen_sandbox *sandbox);
/* All of one number; exact once no call of that number is under way. */
struct seen_reading seen_read(const struct seen_sandbox *sandbox, int nr);
struct seen_meta *seen_meta(const struct seen_sandbox *sandbox);
/* Hands out events that wait; never blocks. */
void seen_poll(void (*take)(const struct seen_event *event));

/* seen_filter.c: what the filter does with a number; FILTER_DEPENDS sets *leaf. */
int seen_filter_of(const struct sock_filter *filter, size_t length, uint32_t nr, uint16_t *leaf);
#endif
