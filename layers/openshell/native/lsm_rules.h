/* Between the parts that put a plan's `lsm` into the kernel's maps. */
#pragma once
#include "lsm_kernel.h"
#include <stdio.h>
#include <string.h>

struct work {
  const struct lsm_target *target;
  uint32_t rules;  /* the set that is made */
  uint32_t former; /* the set in force, or 0 */
  char *err;
  size_t size;
};

/* -1, with the reason in `err`. */
static inline int lsm_fail(const struct work *work, const char *what, const char *which, int error) {
  snprintf(work->err, work->size, "lsm: %s %s%s%s", what, which, error ? ": " : "", error ? strerror(error) : "");
  return -1;
}

/* lsm_protected.c: the protected names, into the set. `some`: there are any. 0 or -1. */
int lsm_put_protected(const struct work *work, json_t *lsm, bool *some);

/* lsm_sets.c. A number of no set that is there, not even of one that an openshelld left unfinished; 0: none is found. */
uint32_t lsm_fresh_set(void);
/* Takes all of a set out of the maps. */
void lsm_sweep_set(uint32_t rules);
