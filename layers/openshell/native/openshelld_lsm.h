/* Tier A for the sandboxes: whether this host has it, and each sandbox's rules in the kernel. */
#pragma once
#include "openshelld_sandboxes.h"

/* Tries to load and attach; once, before the first sandbox. */
void tier_open(void);
/* "A", "B", or "C" for a plain user. */
const char *tier_name(void);
/* Why it is not A, in plain words; "" if it is. */
const char *tier_why(void);
/* `remove`: nothing of it stays in the kernel. */
void tier_close(bool remove);

/* The plan's `lsm` (null: nothing) in force for a sandbox whose init runs nothing of the agent's yet; again after a restart. 0 or -1 with `err`. */
int lsm_begin(struct sandbox *sandbox, json_t *lsm, char *err, size_t size);
/* Other rules for a sandbox that runs, in one step; `lsm` is null outside tier A, where there is nothing to do. -1 with `err`: the former ones are in force. */
int lsm_change(struct sandbox *sandbox, json_t *lsm, char *err, size_t size);
void lsm_end(struct sandbox *sandbox);
