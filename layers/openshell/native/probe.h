/* The tries of the enforcement probe: each returns true when it was stopped. */
#ifndef NEMOCLAW_PROBE_H
#define NEMOCLAW_PROBE_H

#include "inside.h"

struct try_context {
  const struct plan *plan;
  const struct launch_in *in;
  const struct host_facts *host;
};

struct probe_try {
  const char *name; /* "layer.what": only that layer stops it; "all.what": several do */
  bool (*stopped)(const struct try_context *c);
  bool needs_root; /* left out where the sandbox has no host uid of its own */
};

extern const struct probe_try probe_tries[];
extern const size_t probe_try_count;

#endif
