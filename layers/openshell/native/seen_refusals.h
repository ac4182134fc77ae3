/* Turns what the kernel saw into events that name the layer which refused. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* Begins seeing. False: the host does not let us, and nothing is counted. */
bool refusals_open(void);
/* A sandbox lives: its host uid, its id (copied), the pid of its init. Returns its slot, or -1 when it cannot be seen. */
int refusals_watch(uid_t uid, const char *sandbox, pid_t init);
void refusals_forget(uid_t uid);
bool refusals_seeing(void);
/* Sends what was seen until now, without waiting for the next look. */
void refusals_tell_now(void);
/* Calls counted for a sandbox so far: total, refused; and how many events were lost in all. False: not seen. */
bool refusals_counts(uid_t uid, unsigned long long *calls, unsigned long long *refused, unsigned long long *lost);
