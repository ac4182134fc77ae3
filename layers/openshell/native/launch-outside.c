/* What a sandbox gets that its init need not make: the network and the control groups, made by the launcher while the init builds the view; the manifest of what is protected gets to the disk meanwhile. */
#include "inside.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int inode_of(const char *path, uint64_t *inode, struct fault *f) {
  struct stat st;
  if (stat(path, &st) != 0) return fault(f, "host", errno, "host: %s", path);
  *inode = st.st_ino;
  return 0;
}

static int know_host(struct host_namespaces *host, struct fault *f) {
  return inode_of("/proc/self/ns/net", &host->net, f) == 0 && inode_of("/proc/self/ns/pid", &host->pid, f) == 0 && inode_of("/proc/self/ns/mnt", &host->mnt, f) == 0 && inode_of("/proc/self/ns/ipc", &host->ipc, f) == 0 &&
                 inode_of("/proc/self/ns/uts", &host->uts, f) == 0
             ? 0
             : -1;
}

/* Works in the namespace of this thread. The socket for the probe is made outside of every Landlock domain. */
static int fill_network(const struct plan *plan, struct outside *out, struct fault *f) {
  if (!(plan->off & OFF_NETNS) && (network_loopback(f) != 0 || (plan->capture && network_capture(out->listeners, false, f) != 0))) return -1;
  out->scoped = probe_listen();
  return 0;
}

/* A new network namespace, filled; this thread is back in its own afterwards, or the process ends: nobody goes on in a sandbox's network. */
static int make_network(const struct plan *plan, struct outside *out, struct fault *f) {
  int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (own < 0) return fault(f, "host", errno, "network: own namespace");
  if (unshare(CLONE_NEWNET) != 0) {
    int e = errno;
    close(own);
    return fault(f, "host", e, "network: namespace");
  }
  int made = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), r = made < 0 ? fault(f, "host", errno, "network: new namespace") : fill_network(plan, out, f);
  if (setns(own, CLONE_NEWNET) != 0) abort();
  close(own);
  if (r == 0) return made;
  if (made >= 0) close(made);
  return -1;
}

int outside_prepare(const struct plan *plan, const struct launch_in *in, int sock, struct outside *out, struct fault *f) {
  struct go go = {.kind = REPORT_GO};
  int fds[GO_FDS], r = 0;
  size_t count = 0;
  *out = (struct outside){{-1, -1}, -1};
  if (know_host(&go.host, f) != 0) return -1;
  /* On disk before anything runs that could change what it speaks of. */
  if (in->manifest != NULL && in->manifest_fd >= 0 && fsync(in->manifest_fd) != 0) return fault(f, "host", errno, "protect: the manifest cannot be written");
  if (!in->rootless && (plan->off & OFF_NETNS)) r = fill_network(plan, out, f);
  else if (!in->rootless) { /* without root only what is inside the person's namespace may make one, and does */
    fds[0] = make_network(plan, out, f);
    r = fds[0] < 0 ? -1 : 0;
    go.has_network = 1;
    count = r == 0 ? 1 : 0;
  }
  if (r == 0 && in->groups != NULL) {
    char err[300] = "";
    int groups = in->groups(in->groups_arg, fds + count, GO_FDS - (int)count, err, sizeof err);
    r = groups < 0 ? fault(f, "host", 0, "%s", err) : 0;
    count += groups > 0 ? (size_t)groups : 0;
  }
  /* EPIPE: the init ended, and has said why. */
  if (r == 0 && send_packet(sock, &go, sizeof go, fds, count) != 0 && errno != EPIPE && errno != ECONNRESET) r = fault(f, "internal", errno, "launch: go");
  while (count > 0) close(fds[--count]);
  return r;
}

int outside_take(const struct plan *plan, int sock, struct host_namespaces *host, struct fault *f) {
  struct go go;
  int fds[GO_FDS], r = 0;
  size_t count = GO_FDS, next = 0;
  ssize_t n = receive_packet(sock, &go, sizeof go, fds, &count);
  if (n != (ssize_t)sizeof go || go.kind != REPORT_GO || count < go.has_network) return fault(f, "internal", n < 0 ? errno : 0, "launch: no go-ahead");
  *host = go.host;
  if (go.has_network && setns(fds[next++], CLONE_NEWNET) != 0) r = fault(f, "network", errno, "network: enter");
  for (; r == 0 && next < count; next++) {
    if (write(fds[next], "0", 1) != 1) r = fault(f, "host", errno, "cgroup: join");
  }
  while (count > 0) close(fds[--count]);
  if (r == 0 && unshare(CLONE_NEWCGROUP) != 0) r = fault(f, "host", errno, "cgroup: namespace"); /* after joining, so that its root is the sandbox's own */
  return r == 0 && sethostname(plan->hostname, strlen(plan->hostname)) != 0 ? fault(f, "host", errno, "host name") : r;
}
