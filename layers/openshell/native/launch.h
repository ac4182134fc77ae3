/* Launching a sandbox: turns a LaunchPlan (contract/src/plan.ts) into a confined init process. */
#ifndef NEMOCLAW_LAUNCH_H
#define NEMOCLAW_LAUNCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#define LAUNCH_PROBES_MAX 48
#define LAUNCH_PHASES_MAX 9
#define LAUNCH_TWINS_MAX 24
#define DEVICES_MAX 64

/* Owner on disk of what agents write to a layer; in nobody's range, and the same for every uid that a sandbox ever has. */
#define LAYER_UID 0x6ffffff0u

/* What the caller gives beside the plan: descriptors and bounds that no policy may choose. */
struct launch_in {
  int workspace_fd; /* O_PATH directory, or -1: the sandbox has no workspace from the host */
  uid_t workspace_uid; /* owner that the workspace's files keep on disk */
  gid_t workspace_gid;
  uid_t agent_uid; /* host uid and gid of the sandbox; never 0 */
  gid_t agent_gid;
  const int *procs_fds; /* cgroup.procs files (v1 or v2), writable; the init writes "0" into each before anything else */
  size_t procs_count;
  /*
   * Instead of procs_fds, or NULL: makes the groups while the init builds the view already, and opens the files into which it writes "0" before
   * anything is confined or run (cgroup_doors()). Returns how many descriptors, which the launch closes, or -1 with `err` filled.
   */
  int (*groups)(void *arg, int *fds, int room, char *err, size_t errlen);
  void *groups_arg;
  const char *const *bind_roots; /* NULL-terminated: a bind step's source must be one of these or lie below; NULL: /usr, /opt, /etc */
  const char *const *devices; /* NULL-terminated: character devices below /dev that a device step may show; NULL: none */
  bool allow_layer_switches; /* host config `testing: true` */
  bool disk_measured; /* the caller keeps the plan's limits.diskBytes */
  bool rootless; /* launch_sandbox() fills it in from launch_rootless() */
  int layer_fd;    /* O_PATH folder for the layer of an overlay workspace that is kept, or -1 */
  bool layer_mounted; /* it is the root of a detached mount that nobody else has, and is taken as it is */
  json_t *manifest; /* with a workspace: an object that gets what protect_release() needs afterwards (see protect.h); the caller's own fields in it stay. NULL: nothing is protected */
  int manifest_fd; /* an empty file that it is written to before anything of the agent's runs; with `manifest` only, -1: nowhere */
};

struct launch_probe {
  const char *name; /* "layer.what", static storage */
  bool stopped;
};

/* Detached mounts of parts of the view as they were before they were locked, in the order of the plan's `twin` steps. */
struct launch_twins {
  int fds[LAUNCH_TWINS_MAX];
  size_t count;
};

struct launch_phase {
  const char *name; /* static storage */
  double ms;
};

/* What the caller owns after success. All descriptors are O_CLOEXEC. */
struct launched {
  pid_t init; /* in the caller's pid namespace; the caller must reap it */
  int pidfd;
  int notify_fd; /* seccomp listener; -1 when the layer is switched off. The caller answers from now on (launch answers EPERM during the probe) */
  int exec_fd; /* SOCK_SEQPACKET to init, see init.h; closing it ends the sandbox */
  int listener_fds[2]; /* [tcp transparent listener, udp dns socket], or -1, -1 */
  int root_fd; /* O_PATH of the root that the agent sees */
  int pts_fd; /* the sandbox's devpts directory: openat(pts_fd, "ptmx") makes a terminal that is visible inside; slave by TIOCGPTPEER */
  struct launch_twins twins;
  struct launch_probe probe[LAUNCH_PROBES_MAX];
  size_t probe_count;
  struct launch_phase phases[LAUNCH_PHASES_MAX];
  size_t phase_count;
  const char *code; /* after a failure: plan | host | idmap-refused | view | network | confine | probe | internal; static storage */
};

/*
 * The one place that says whether we may do what only the host's root can: a uid of its own for each sandbox, idmapped mounts, device
 * nodes, control groups. Without it a sandbox is made inside a user namespace of the person, and the agent is the person to the host.
 */
static inline bool launch_rootless(void) { return geteuid() != 0; }

/*
 * Launches the sandbox. As root: needs full capabilities; keeps none of its own (the caller drops them afterwards).
 * Rootless: needs user namespaces; agent_uid and agent_gid must be the caller's own, and what an own uid alone stops is left out of the probe.
 * Blocks until the probe has passed. 0: `out` is filled. -1: nothing is left behind, `err` says "step: what: errno", out->code names the kind.
 */
int launch_sandbox(json_t *plan, const struct launch_in *in, struct launched *out, char *err, size_t errlen);

/* Kills the init (and so everything in the sandbox), reaps it, closes every descriptor of `out`. */
void launch_destroy(struct launched *out);

/* Receives one refused call from the listener and answers EPERM; for callers that keep no record. */
void launch_refuse(int notify_fd);

#endif
