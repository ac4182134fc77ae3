/* Ed25519 signatures over the record's {count, head}, in a root-only file that only grows. */
#pragma once
#include <stdint.h>

struct checkpoint {
  int64_t id;
  int64_t count;
  char head[130];      /* letters, digits and :+/=._- only */
  char signature[130]; /* hex, filled by the signer */
  char why[12];
  int refused; /* 1: fewer events than signed before; 2: another head for the same count; 3: not written */
};

/* Makes or reads the key, reads the last checkpoint, starts the signing thread. `done` is called on the loop. 0, or -1 with `err`. */
int checkpoints_open(void (*done)(const struct checkpoint *), char *err, unsigned long errlen);
/* Asks for a signature; the file is on disk before `done` (at the latest a second later for `interval`). */
void checkpoints_sign(const struct checkpoint *request);
