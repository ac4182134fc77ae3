/* The LaunchPlan as C: parsed, bounded, pointing into the JSON it came from. */
#ifndef NEMOCLAW_PLAN_H
#define NEMOCLAW_PLAN_H

#include "launch.h"
#include <linux/filter.h>
#include <stdint.h>

#define PLAN_STEPS_MAX 256
#define PLAN_RULES_MAX 128
#define PLAN_FILTER_MAX 4096
#define PLAN_RAW_MAX 65536

enum step_kind { STEP_DIR, STEP_FILE, STEP_LINK, STEP_TMPFS, STEP_BIND, STEP_CONCAT, STEP_DEV, STEP_PROC, STEP_WORKSPACE, STEP_PIN, STEP_FREEZE, STEP_THAW, STEP_RUN, STEP_MASK, STEP_TWIN, STEP_DEVICE };
enum missing { MISSING_SKIP, MISSING_DIR, MISSING_FILE };

struct step {
  enum step_kind kind;
  const char *path; /* without the leading slash: relative to the new root */
  const char *source; /* bind, concat, device: host path; link: target */
  const char *text; /* file, concat */
  unsigned char *raw; /* file: its bytes instead of a text */
  size_t raw_length;
  uint32_t mode;
  uint64_t bytes;
  bool yes; /* tmpfs: exec; bind: optional; workspace, twin: read-only */
  bool whole; /* twin: of the whole view; `path` is only a place to say */
  bool exec; /* workspace, bind */
  bool agent; /* tmpfs: owner */
  enum missing missing;
};

struct landlock_rule {
  const char *path;
  uint64_t rights;
};

struct found_list;
enum { OFF_LANDLOCK = 1, OFF_SECCOMP = 2, OFF_UID = 4, OFF_CAPS = 8, OFF_VIEW = 16, OFF_NETNS = 32, OFF_PIDNS = 64, OFF_LSM = 128 };

struct plan {
  const char *hostname;
  bool capture;
  struct step steps[PLAN_STEPS_MAX];
  size_t step_count;
  uint64_t root_bytes;
  struct landlock_rule rules[PLAN_RULES_MAX];
  size_t rule_count;
  bool landlock_tcp;
  struct sock_filter filter[PLAN_FILTER_MAX];
  size_t filter_length;
  int64_t seen; /* uid and gid shown inside, -1: the host's */
  uint64_t open_files, pids, process_bytes; /* process_bytes 0: not limited */
  uint64_t timeout_ms; /* 0: none; kept by who starts commands */
  uint64_t disk_bytes; /* 0: none; how much the workspace may grow by, kept by the caller */
  bool asked[512]; /* system calls that wait by their name; in the start-up probe the layers below answer them */
  unsigned off; /* OFF_* */
  bool overlay;         /* the workspace is written to a layer */
  bool layer_kept;      /* which is the caller's; else it ends with the sandbox */
  uint64_t layer_bytes; /* of a private layer; 0: what is usual */
  struct found_list *found; /* what is protected in the workspace; NULL: nothing was looked for */
};

struct fault;
struct found_list;
/* Checks every field against the bounds of `in`; unknown or missing fields are faults. `json` must outlive `plan`. */
int plan_parse(json_t *json, const struct launch_in *in, struct plan *plan, struct fault *f);
/* Length of the longest of the host's bind roots that is `source` or above it; 0: none. */
size_t bind_root_of(const char *source, const struct launch_in *in);
/* A path such as "/a/b": absolute, no empty, "." or ".." segment, below PATH_MAX. "/" alone is accepted when `root` is true. */
bool plan_path_ok(const char *path, bool root);

#endif
