/* What a sandbox of this caller on this host would have, found by making a part of one: JSON for `openshell run` and doctor. */
#include "cgroup.h"
#include "inside.h"
#include "standalone.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* In a child: everything that the launcher needs of a user namespace. Ends with 0, or with the step that failed and its errno. */
static int try_namespaces(char *why, size_t size) {
  struct host_facts host = {.uid = geteuid(), .gid = getegid()};
  struct fault f = {why, size, "host"};
  int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  if (unshare(launch_rootless() ? flags | CLONE_NEWUSER : flags) != 0) return fault(&f, "host", errno, "namespaces");
  if (launch_rootless() && rootless_map(&host, &f) != 0) return -1;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return fault(&f, "host", errno, "mounts of its own");
  if (mount("tmpfs", "/tmp", "tmpfs", 0, "size=4k") != 0) return fault(&f, "host", errno, "a private file system");
  pid_t first = fork(); /* the new pid namespace has no process yet, and /proc is that of the one who mounts it */
  if (first == 0) _exit(mount("proc", "/tmp", "proc", 0, NULL) == 0 ? 0 : errno);
  int status = 0;
  if (first < 0 || waitpid(first, &status, 0) < 0 || !WIFEXITED(status)) return fault(&f, "host", errno, "a process of its own");
  return status == 0 ? 0 : fault(&f, "host", WEXITSTATUS(status), "a private /proc");
}

static void namespaces(char *why, size_t size) {
  int ends[2];
  why[0] = '\0';
  if (pipe2(ends, O_CLOEXEC) != 0) return (void)snprintf(why, size, "pipe: %s", strerror(errno));
  pid_t pid = fork();
  if (pid == 0) {
    if (try_namespaces(why, size) != 0) (void)!write(ends[1], why, strlen(why));
    _exit(0);
  }
  close(ends[1]);
  ssize_t n = pid > 0 ? read(ends[0], why, size - 1) : snprintf(why, size, "fork: %s", strerror(errno));
  if (n >= 0 && (size_t)n < size) why[n] = '\0';
  close(ends[0]);
  while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
}

int facts_print(void) {
  char why[256];
  struct cgroup_facts group;
  namespaces(why, sizeof why);
  cgroup_facts(&group);
  json_t *all = json_pack("{s:b,s:i,s:s,s:{s:b,s:b,s:b,s:b,s:b}}", "rootless", launch_rootless(), "landlock", landlock_abi(), "namespaces", why, "cgroup", "v2", group.v2, "memory", group.memory, "pids", group.pids, "cpu", group.cpu,
                          "freezer", group.freezer);
  if (all == NULL || json_dumpf(all, stdout, JSON_COMPACT) != 0) return 1;
  json_decref(all);
  return putchar('\n') == '\n' && fflush(stdout) == 0 ? 0 : 1;
}
