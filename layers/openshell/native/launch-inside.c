/* The child's way from a root process on the host to the init of a finished sandbox. */
#include "init.h"
#include "inside.h"
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>


double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static _Noreturn void give_up(int sock, const struct fault *f) {
  struct report r = {.kind = REPORT_FAULT};
  strncpy(r.code, f->code, sizeof r.code - 1);
  strncpy(r.text, f->text, sizeof r.text - 1);
  (void)send_packet(sock, &r, sizeof r, NULL, 0);
  _exit(1);
}

/* The child is a copy of the shim: keep the socket and the workspace, forget the rest. */
static int keep_only(int *sock, int *workspace, int *layer, struct fault *f) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  int s = fcntl(*sock, F_DUPFD_CLOEXEC, 10), w = *workspace >= 0 ? fcntl(*workspace, F_DUPFD_CLOEXEC, 10) : -1, l = *layer >= 0 ? fcntl(*layer, F_DUPFD_CLOEXEC, 10) : -1;
  if (null < 0 || s < 0 || (*workspace >= 0 && w < 0) || (*layer >= 0 && l < 0)) return fault(f, "internal", errno, "descriptors: keep");
  for (int i = 0; i < 3; i++) {
    if (dup2(null, i) != i) return fault(f, "internal", errno, "descriptors: standard streams");
  }
  if (dup3(s, 3, O_CLOEXEC) != 3 || (w >= 0 && dup3(w, 4, O_CLOEXEC) != 4) || (l >= 0 && dup3(l, 5, O_CLOEXEC) != 5)) return fault(f, "internal", errno, "descriptors: place");
  if (syscall(436, l >= 0 ? 6 : w >= 0 ? 5 : 4, ~0U, 0) != 0) return fault(f, "host", errno, "descriptors: close_range");
  *sock = 3;
  *workspace = w >= 0 ? 4 : -1;
  *layer = l >= 0 ? 5 : -1;
  return 0;
}

static int confine(const struct plan *plan, const struct launch_in *in, int proc_fd, int *notify, struct fault *f) {
  if (limits_set(plan, f) != 0 || identity_drop(plan, in, proc_fd, f) != 0) return -1;
  if (proc_fd >= 0) close(proc_fd);
  if (!(plan->off & OFF_LANDLOCK) && landlock_enforce(plan, f) != 0) return -1;
  return plan->off & OFF_SECCOMP ? 0 : seccomp_enforce(plan, notify, f);
}

/* In a child of init, so that every try meets exactly what the agent will meet. */
static void probe(const struct plan *plan, const struct launch_in *in, const struct host_facts *host, int sock, struct fault *f) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    struct report r = {.kind = REPORT_PROBE};
    r.count = (uint32_t)probe_run(plan, in, host, r.stopped);
    _exit(send_packet(sock, &r, sizeof r, NULL, 0) == 0 ? 0 : 1);
  }
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (pid < 0 || status != 0) {
    (void)fault(f, "probe", pid < 0 ? errno : 0, "probe: did not finish (status %d)", status);
    give_up(sock, f);
  }
}

_Noreturn void inside_run(const struct plan *plan, const struct launch_in *in, struct host_facts *host, bool v2_entered, int workspace, int layer, int sock) {
  char text[400] = "";
  struct fault f = {text, sizeof text, "internal"};
  struct report ready = {.kind = REPORT_READY};
  struct launch_twins twins = {.count = 0};
  int listeners[2] = {-1, -1}, pts = -1, proc_fd = -1, notify = -1, scoped = -1;
  double at = now_ms(), then;
#define PHASE(i) (then = now_ms(), ready.ms[i] = then - at, at = then)
  if (in->rootless && (rootless_map(host, &f) != 0 || (host->workspace[0] != '\0' && (workspace = rootless_workspace(host, &f)) < 0))) give_up(sock, &f);
  if (join_groups(in, v2_entered, &f) != 0 || keep_only(&sock, &workspace, &layer, &f) != 0) give_up(sock, &f);
  PHASE(PHASE_JOIN);
  if (in->rootless && !(plan->off & OFF_NETNS) && (network_loopback(&f) != 0 || (plan->capture && network_capture(listeners, false, &f) != 0))) give_up(sock, &f);
  if (in->rootless) scoped = probe_listen();
  PHASE(PHASE_NETWORK);
  if (view_build(plan, in, workspace, layer, &pts, &proc_fd, &twins, &f) != 0) give_up(sock, &f);
  if (workspace >= 0) close(workspace);
  if (layer >= 0) close(layer);
  PHASE(PHASE_VIEW);
  if (outside_take(plan, sock, &host->namespaces, &f) != 0) give_up(sock, &f);
  PHASE(PHASE_GO);
  if (getpid() != 1 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) give_up(sock, &f);
  if (confine(plan, in, proc_fd, &notify, &f) != 0) give_up(sock, &f);
  PHASE(PHASE_CONFINE);
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) _exit(1);
  int all[READY_FDS] = {notify, listeners[0], listeners[1], pts, root}, given[READY_FDS + LAUNCH_TWINS_MAX];
  size_t n = 0;
  for (uint32_t i = 0; i < READY_FDS; i++) {
    if (all[i] < 0) continue;
    ready.count |= 1u << i;
    given[n++] = all[i];
  }
  for (size_t i = 0; i < twins.count; i++) given[n++] = twins.fds[i];
  ready.twins = (uint32_t)twins.count;
  if (send_packet(sock, &ready, sizeof ready, given, n) != 0) _exit(1);
  for (size_t i = 0; i < n; i++) close(given[i]);
  probe(plan, in, host, sock, &f);
  if (scoped >= 0) close(scoped);
  init_run(sock);
}
