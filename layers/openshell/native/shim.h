/*
 * The shim: parent of one sandbox's init, and keeper of its descriptors while openshelld is away.
 * Packets between openshelld and shim (SEQPACKET, JSON):
 *   openshelld -> shim   launch {sandbox, uid, plan, instance, worker, holdMs, bindRoots, devices, testing, alone, workspaceUid, workspaceGid, limits, socket, layerBytes?} fds [workspace, manifest, layer?, its lock?]?   once, on descriptor 3
 *                        exec {n, execId, argv, env, cwd, tty}  fds [stdin, stdout, stderr, kept stdout, kept stderr] or with tty [slave, kept master]
 *                        exec.fds {n, execId}   exec.signal {execId, signal}   exec.resize {execId, rows, cols}   exec.done {execId}   freeze {n, frozen}   rules {escalate, lsm, recordRules?}
 *                        attached {worker, pid}   overtime.taken {}   held {nid, deadline, record} fds [parent, other parent?]   unheld {nid}   lsm.held {id, record}   lsm.unheld {id}   start.answer {n, allow}   keep {} fds [objects that have rules]   destroy {}
 *   shim -> openshelld   ready {…} or failed {code, error}, then nothing more is said on descriptor 3's behalf; on every later connection first hello {…}, held …, start.held …, lsm.held …, synced {}
 *                        exec.started {n, pid}   exec.failed {n, errno}   exec.exited {execId, code, signal}   answer {n, ok} fds   refused {counts}   overtime {ms}   ended {nid, why: timeout | agent-gone}   gone {why}   disk {state: full | room | stuck | lost, used, limit, why}
 *                        start.held {n, tid, rule, deadline, again} fds [file]   start.ended {n, why: performed | denied | timeout | agent-gone}   start.would {tid, rule} fds [file], where a policy only watches
 * `ready` and `hello` carry fds [calls, notify, tcp, udp, pts, twin …], as many as `fds` names; `calls` is shim_shared.h's memory.
 */
#pragma once
#include "cgroup.h"
#include "channel.h"
#include "launch.h"
#include "shim_shared.h"

#include <linux/seccomp.h>
#include <stdint.h>

struct shim_exec {
  struct shim_exec *next;
  char id[72];
  uint32_t number; /* of init's protocol */
  uint32_t asked;  /* n of the request, until it is answered */
  int pid;
  bool started, exited, tty;
  int code, signal;
  int kept[2]; /* pty master, or stdout and stderr; -1 */
};

/* A held call: what was shown, and on which descriptors. */
struct shim_call {
  struct shim_call *next;
  uint64_t id;
  int64_t deadline; /* CLOCK_BOOTTIME ms */
  json_t *record;
  int fds[2];
};

#define SHIM_KEPT_MAX 1024

struct shim {
  char id[72], socket[128], instance[48], worker[32];
  int worker_pid;
  uid_t uid;
  json_t *escalate, *locks, *lsm, *record_rules; /* of the plan, for the next openshelld */
  json_t *asked_by_kernel; /* records by id, for the next openshelld */
  int kept_count; /* objects that have rules: their numbers must stay theirs */
  int kept[SHIM_KEPT_MAX];
  bool alone; /* nobody finds us again: the sandbox ends with openshelld */
  bool no_tcp, monitor;
  bool asks; /* the plan has escalate rules: calls go to openshelld */
  int64_t hold_ms;
  int64_t timeout_ms; /* of the plan; 0: none */
  int64_t deadline;   /* CLOCK_BOOTTIME ms, while something runs; 0: none */
  bool ending;        /* all was killed, and the deadline is for that to be over */
  bool overtime;      /* openshelld has not taken it yet; */
  bool overtime_told; /* but this openshelld was told */
  int layer_lock; /* alone: openshelld's, which so outlives it; -1 */
  struct launched sandbox;
  struct cgroup group;
  struct channel daemon; /* fd -1: openshelld is away */
  int listening;
  struct shim_exec *execs;
  uint32_t next_exec;
  struct shim_call *calls;
  int calls_fd; /* of `shared` */
  struct shared_calls *shared;
  unsigned still; /* STILL_*: who wants nothing in the sandbox to run */
  bool over;
  const char *why;
};

enum { STILL_PERSON = 1, STILL_DISK = 2 };

extern struct shim shim;

int64_t shim_clock(void);
/* Takes over `message`. Lost when openshelld is away. */
void shim_tell(json_t *message, const int *fds, int count);
/* shim_launch.c: descriptor 3's first packet becomes a running sandbox; on failure tells why and returns -1. */
int shim_launch(void);
void shim_layer_free(void); /* once nothing of the sandbox lives: another program may have the layer */
json_t *shim_describe(const char *t);
#define SHIM_OWN_FDS 6 /* calls, notify, tcp, udp, pts, root */
#define SHIM_FDS (SHIM_OWN_FDS + LAUNCH_TWINS_MAX)
int shim_fds(int fds[SHIM_FDS]);
/* shim_execs.c */
void shim_exec(json_t *message, struct packet *packet);
bool shim_exec_message(const char *t, json_t *message);
void shim_init_ready(void);
json_t *shim_execs(void);
/* shim_timeout.c: the wall time of what runs, from the first command in an idle sandbox. */
void shim_timeout_started(void);
void shim_timeout_quiet(void);
void shim_timeout_tick(void);
int shim_timeout_wait(int most); /* ms; `most` -1: no bound */
/* shim_disk.c: how much the workspace may grow by. */
int shim_disk_start(uint64_t limit, int folder, char *err, size_t errlen);
int shim_disk_counted(char *err, size_t errlen); /* once what was there before is counted; 0 at once without a limit */
void shim_disk_close(void);
int shim_disk_fd(void); /* -1: nothing is counted */
void shim_disk_ready(void);
bool shim_disk_full(void);
void shim_disk_tell(bool again); /* `again`: to an openshelld that has heard nothing yet */
/* The sandbox stands still as long as anybody wants it. 0 or -1 with errno. */
int shim_stand_still(unsigned who, bool still);
/* shim_calls.c */
int shim_calls_open(void);
/* The listener where the shim has to receive from it, else -1. */
int shim_calls_fd(void);
void shim_notify_ready(void);
void shim_calls_tick(void);
void shim_calls_report(void); /* now, what is otherwise told once a second */
void shim_calls_resend(void);
bool shim_calls_message(const char *t, json_t *message, struct packet *packet);
/* ms until shim_calls_tick is due, -1: nothing waits */
int shim_calls_wait(void);
