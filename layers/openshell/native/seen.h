/* What the kernel saw of a sandbox: every system call counted by outcome, and each refusal of a file or network call with its path. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SEEN_SLOTS 512
#define SEEN_CALLS 512
#define SEEN_PATH 192
/* Uids below are never sandboxes; they are let by before anything is looked up. */
#define SEEN_LOWEST_UID 65536

/* Shared with seen.bpf.c: both are compiled for x86-64 little endian. */
struct seen_count {
  uint64_t done, refused, failed; /* result >= 0; EPERM, EACCES, EROFS; any other error */
};
struct seen_event {
  uint64_t boottime_ns;
  uint32_t uid, pid;
  int32_t nr, error; /* error > 0 */
  uint64_t args[3];
  char comm[16];
  char first[SEEN_PATH], second[SEEN_PATH]; /* the first two arguments, read as text; "" where they are none */
};

#ifndef __bpf__
/* Loads and attaches the programs. 0, or -1 with errno: then nothing is seen and `doctor` says so. */
int seen_start(void);
void seen_stop(void);
/* Begins or ends seeing a sandbox by its host uid; `slot` < SEEN_SLOTS holds its counters, which start at 0. EINVAL: the uid is below SEEN_LOWEST_UID. */
int seen_add(uid_t uid, uint32_t slot);
void seen_remove(uid_t uid);
/* Hands out events that wait; never blocks. */
void seen_poll(void (*take)(const struct seen_event *event));
/* Counters of one slot, SEEN_CALLS of them, live; NULL before seen_start. */
const struct seen_count *seen_counts(uint32_t slot);
/* Events that found the ring full, since the start. */
uint64_t seen_dropped(void);
#endif
