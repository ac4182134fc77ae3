/* The caller's side of a launch: check, clone, collect what comes back, refuse anything that is not whole. */
#include "inside.h"
#include "protect.h"
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PATIENCE_MS 10000
#define NOTIFY_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#define NOTIFY_SYNC_WAKE_UP 1UL

static pid_t clone_init(const struct plan *plan, const struct launch_in *in, int group, int *pidfd) {
  struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = (uint64_t)(uintptr_t)pidfd};
  if (in->rootless) args.flags |= CLONE_NEWUSER;
  if (in->rootless && !(plan->off & OFF_NETNS)) args.flags |= CLONE_NEWNET;
  if (!(plan->off & OFF_PIDNS)) args.flags |= CLONE_NEWPID;
  if (group >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)group;
  }
  return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* A call that would wait for a person is let through to what else forbids it: the probe shows that too. */
static void answer_probe(const struct plan *plan, int notify_fd) {
  struct seccomp_notif call;
  memset(&call, 0, sizeof call);
  if (ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
  bool asked = call.data.nr >= 0 && (size_t)call.data.nr < sizeof plan->asked && plan->asked[call.data.nr];
  struct seccomp_notif_resp answer = {.id = call.id, .error = asked ? 0 : -EPERM, .flags = asked ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
  (void)ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/* During the probe nobody else listens: every refused call is answered EPERM. */
void launch_refuse(int notify_fd) {
  struct seccomp_notif call;
  memset(&call, 0, sizeof call);
  if (ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
  struct seccomp_notif_resp answer = {.id = call.id, .error = -EPERM};
  (void)ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &answer); /* ENOENT: the caller died meanwhile */
}

static int take_ready(const struct report *r, const int *fds, size_t count, struct launched *out, struct fault *f) {
  int *const places[READY_FDS] = {&out->notify_fd, &out->listener_fds[0], &out->listener_fds[1], &out->pts_fd, &out->root_fd};
  size_t next = 0;
  for (uint32_t i = 0; i < READY_FDS; i++) {
    if ((r->count & 1u << i) && next < count) *places[i] = fds[next++];
  }
  for (uint32_t i = 0; i < r->twins && next < count; i++) out->twins.fds[out->twins.count++] = fds[next++];
  if (next != count) return fault(f, "internal", 0, "launch: descriptors do not match");
  /* Since Linux 6.6: caller and answerer take turns on one CPU, which keeps the tail short on a busy machine. Without it all works the same. */
  if (out->notify_fd >= 0) (void)ioctl(out->notify_fd, NOTIFY_SET_FLAGS, NOTIFY_SYNC_WAKE_UP);
  for (size_t i = PHASE_JOIN; i <= PHASE_CONFINE; i++) out->phases[i].ms = r->ms[i];
  out->phases[PHASE_PROBE].ms = now_ms(); /* its start, until it has ended */
  return 0;
}

static int take_probe(const struct report *r, const struct plan *plan, struct launched *out, struct fault *f) {
  char open_names[300] = "";
  if (r->count != probe_count()) return fault(f, "probe", 0, "probe: incomplete");
  for (size_t i = 0; i < r->count; i++) {
    if (r->stopped[i] == PROBE_LEFT_OUT && launch_rootless() && probe_needs_root(i)) continue;
    out->probe[out->probe_count++] = (struct launch_probe){probe_name(i), r->stopped[i] == 1};
    if (r->stopped[i] == 1 || plan->off != 0) continue;
    size_t n = strlen(open_names);
    snprintf(open_names + n, sizeof open_names - n, "%s%s", n ? ", " : "", probe_name(i));
  }
  return open_names[0] != '\0' ? fault(f, "probe", 0, "probe: not stopped: %s", open_names) : 0;
}

/* 1: the probe's answer came and is good; 0: go on; -1: fault. */
static int take_packet(const struct plan *plan, struct launched *out, struct fault *f) {
  struct report r;
  int fds[READY_FDS + LAUNCH_TWINS_MAX];
  size_t count = READY_FDS + LAUNCH_TWINS_MAX;
  ssize_t n = receive_packet(out->exec_fd, &r, sizeof r, fds, &count);
  if (n < 0 && errno == ECONNRESET) { /* it ended without taking our last packet; what it had to say comes after that error */
    count = READY_FDS + LAUNCH_TWINS_MAX;
    n = receive_packet(out->exec_fd, &r, sizeof r, fds, &count);
  }
  if (n != (ssize_t)sizeof r) return fault(f, "internal", n < 0 ? errno : 0, "launch: the sandbox's init died");
  if (r.kind == REPORT_READY) return take_ready(&r, fds, count, out, f);
  while (count > 0) close(fds[--count]);
  if (r.kind == REPORT_PROBE) return take_probe(&r, plan, out, f) == 0 ? 1 : -1;
  if (r.kind != REPORT_FAULT) return fault(f, "internal", 0, "launch: unexpected packet");
  static const char *const codes[] = {"plan", "host", "idmap-refused", "view", "network", "confine", "probe"};
  r.code[sizeof r.code - 1] = r.text[sizeof r.text - 1] = '\0';
  const char *code = "internal";
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    if (strcmp(codes[i], r.code) == 0) code = codes[i];
  }
  return fault(f, code, 0, "%s", r.text);
}

static int collect(const struct plan *plan, struct launched *out, struct fault *f) {
  double deadline = now_ms() + PATIENCE_MS;
  for (;;) {
    struct pollfd wait[2] = {{out->exec_fd, POLLIN, 0}, {out->notify_fd, POLLIN, 0}};
    double left = deadline - now_ms();
    int n = left > 0 ? poll(wait, 2, (int)left + 1) : 0;
    if (n < 0 && errno != EINTR) return fault(f, "internal", errno, "launch: poll");
    if (n == 0) return fault(f, "internal", 0, "launch: not ready after %d ms", PATIENCE_MS);
    if (n > 0 && (wait[1].revents & POLLIN)) answer_probe(plan, out->notify_fd);
    if (n <= 0 || wait[0].revents == 0) continue;
    int done = take_packet(plan, out, f);
    if (done != 0) return done > 0 ? 0 : -1;
  }
}

static void close_all(struct launched *out) {
  int *const fds[] = {&out->pidfd, &out->notify_fd, &out->exec_fd, &out->listener_fds[0], &out->listener_fds[1], &out->pts_fd, &out->root_fd};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
    if (*fds[i] >= 0) close(*fds[i]);
    *fds[i] = -1;
  }
  while (out->twins.count > 0) close(out->twins.fds[--out->twins.count]);
}

void launch_destroy(struct launched *out) {
  if (out->init > 0) {
    if (out->pidfd >= 0) (void)syscall(SYS_pidfd_send_signal, out->pidfd, SIGKILL, NULL, 0);
    while (waitpid(out->init, NULL, 0) < 0 && errno == EINTR) continue;
    out->init = 0;
  }
  close_all(out);
}

/* Over what it had, which is never longer. Gets to the disk in outside_prepare(). */
static int write_manifest(const struct launch_in *in, struct fault *f) {
  if (in->manifest == NULL || in->manifest_fd < 0) return 0;
  char *text = json_dumps(in->manifest, JSON_COMPACT);
  size_t length = text != NULL ? strlen(text) : 0;
  bool good = length > 0 && pwrite(in->manifest_fd, text, length, 0) == (ssize_t)length;
  int e = errno;
  free(text);
  return good ? 0 : fault(f, "host", e, "protect: the manifest cannot be written");
}

static int launch(const struct plan *plan, const struct launch_in *in, pid_t *helper, struct launched *out, struct fault *f) {
  struct host_facts host = {.uid = geteuid(), .gid = getegid(), .parent = getpid()};
  int ends[2], workspace = -1;
  bool wants_workspace = false;
  double start = now_ms(), prepared;
  for (size_t i = 0; i < plan->step_count; i++) wants_workspace |= plan->steps[i].kind == STEP_WORKSPACE;
  /* Here and not in the child: only in the mount namespace that the descriptor came from can its mount be cloned. */
  if (wants_workspace && in->rootless && rootless_know_workspace(in->workspace_fd, &host, f) != 0) return -1;
  if (wants_workspace && !in->rootless && (workspace = idmap_clone(in, helper, f)) < 0) return -1;
  int layer = -1;
  if (wants_workspace && plan->overlay && plan->layer_kept && (layer = idmap_layer(in, f)) < 0) {
    if (workspace >= 0) close(workspace);
    return -1;
  }
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    int e = errno;
    if (workspace >= 0) close(workspace);
    if (layer >= 0) close(layer);
    return fault(f, "internal", e, "launch: socket");
  }
  int group = join_open_v2(in);
  prepared = now_ms();
  out->init = clone_init(plan, in, group, &out->pidfd);
  if (out->init == 0) inside_run(plan, in, &host, group >= 0, workspace, layer, ends[1]);
  int e = errno;
  if (group >= 0) close(group);
  close(ends[1]);
  if (workspace >= 0) close(workspace);
  if (layer >= 0) close(layer);
  out->exec_fd = ends[0];
  if (out->init < 0) return fault(f, "host", e, "launch: clone");
  out->phases[PHASE_PREPARE].ms = prepared - start;
  out->phases[PHASE_CLONE].ms = now_ms() - prepared;
  /* Whoever checks the workspace when we are gone must know when its end has come. */
  bool noted = in->manifest == NULL || protect_note_init(in->manifest, out->init) == 0;
  if (noted && write_manifest(in, f) != 0) return -1;
  struct outside outside;
  int r = outside_prepare(plan, in, out->exec_fd, &outside, f);
  for (int i = 0; i < 2 && !in->rootless; i++) out->listener_fds[i] = outside.listeners[i];
  if (r == 0) r = collect(plan, out, f);
  /* One that has ended already says itself why. */
  if (r == 0 && !noted) r = fault(f, "host", 0, "protect: the sandbox's init is not seen in /proc");
  if (outside.scoped >= 0) close(outside.scoped);
  if (r != 0) return -1;
  out->phases[PHASE_PROBE].ms = now_ms() - out->phases[PHASE_PROBE].ms;
  out->phases[PHASE_TOTAL].ms = now_ms() - start;
  static const char *const names[PHASES] = {"join", "network", "view", "wait", "confine", "prepare", "clone", "probe", "total"};
  for (size_t i = 0; i < PHASES; i++) out->phases[i].name = names[i];
  out->phase_count = PHASES;
  return 0;
}

/* Where the view is built the person is 0; the last step makes that the number that the agent sees. */
static int as_person(const struct launch_in *in, struct plan *plan, struct launch_in *effective, struct fault *f) {
  if (in->agent_uid != geteuid() || in->agent_gid != getegid()) return fault(f, "plan", 0, "launch: without root the agent can only be uid %u, gid %u", geteuid(), getegid());
  if (plan->off & (OFF_UID | OFF_CAPS)) return fault(f, "plan", 0, "launch: without root there is no uid and no capability to leave to the agent");
  if (plan->seen < 0) plan->seen = in->agent_uid;
  effective->agent_uid = effective->agent_gid = 0;
  return 0;
}

/* As the owner: what they cannot read is not looked at. */
static int protect(json_t *plan, const struct launch_in *in, struct found_list *found, struct fault *f) {
  char err[300] = "";
  if (in->workspace_fd < 0 || in->manifest == NULL) return 0;
  int old_gid = setfsgid(in->workspace_gid), old_uid = setfsuid(in->workspace_uid);
  int r = protect_take(in->workspace_fd, plan, in->manifest, found, err, sizeof err);
  setfsuid((uid_t)old_uid);
  setfsgid((gid_t)old_gid);
  if (r != 0) return fault(f, "view", 0, "%s", err);
  return write_manifest(in, f);
}

int launch_sandbox(json_t *json, const struct launch_in *in, struct launched *out, char *err, size_t errlen) {
  struct fault f = {err, errlen, "internal"};
  memset(out, 0, sizeof *out);
  out->pidfd = out->notify_fd = out->exec_fd = out->listener_fds[0] = out->listener_fds[1] = out->pts_fd = out->root_fd = -1;
  struct plan *plan = malloc(sizeof *plan);
  if (plan == NULL) return fault(&f, "internal", ENOMEM, "launch: plan");
  struct launch_in effective = *in;
  int r = plan_parse(json, in, plan, &f);
  if (r == 0 && (in->agent_uid == 0 || in->agent_gid == 0)) r = fault(&f, "plan", 0, "launch: the agent's uid and gid must not be 0");
  if (r == 0 && (effective.rootless = launch_rootless())) r = as_person(in, plan, &effective, &f);
  if (plan->off & OFF_UID) effective.agent_uid = effective.agent_gid = 0;
  pid_t helper = 0;
  struct found_list found = {0};
  plan->found = &found;
  if (r == 0 && plan->overlay && plan->layer_kept && in->layer_fd < 0) r = fault(&f, "plan", 0, "plan: the workspace's layer is to be kept, and nobody here keeps it");
  if (r == 0 && plan->disk_bytes > 0 && !in->disk_measured) r = fault(&f, "plan", 0, "plan: limits.diskBytes: nobody here counts what the workspace takes");
  if (r == 0) r = protect(json, in, &found, &f);
  if (r == 0) r = launch(plan, &effective, &helper, out, &f);
  idmap_reap(helper);
  found_free(&found);
  free(plan);
  if (r != 0) {
    launch_destroy(out);
    out->code = f.code;
  }
  return r;
}
