/* resources.maxDisk of a workspace that is written directly: the meter counts, the shim stops the sandbox, openshelld puts it on record. */
#include "meter.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_COUNT_MS 15000

static struct {
  int fd;
  pid_t child;
  int64_t limit, used;
  bool full, lost;
  const char *untold; /* what openshelld has still to hear */
  char why[120];
} disk = {.fd = -1};

int shim_disk_start(uint64_t limit, int folder, char *err, size_t errlen) {
  disk.limit = (int64_t)limit;
  disk.fd = meter_start(folder, limit, &shim.group, &disk.child);
  if (disk.fd < 0) snprintf(err, errlen, "resources.maxDisk: the workspace cannot be counted: %s", strerror(errno));
  return disk.fd < 0 ? -1 : 0;
}

int shim_disk_counted(char *err, size_t errlen) {
  struct meter_report report = {0};
  struct pollfd ready = {disk.fd, POLLIN, 0};
  if (disk.fd < 0) return 0;
  bool counted = poll(&ready, 1, FIRST_COUNT_MS) > 0 && recv(disk.fd, &report, sizeof report, 0) == sizeof report && report.kind == METER_READY;
  if (counted) return 0;
  report.why[sizeof report.why - 1] = '\0';
  snprintf(err, errlen, "resources.maxDisk: the workspace cannot be counted: %s", report.why[0] ? report.why : "it takes too long");
  shim_disk_close();
  return -1;
}

void shim_disk_close(void) {
  if (disk.fd < 0) return;
  close(disk.fd);
  disk.fd = -1;
  kill(disk.child, SIGKILL);
  while (waitpid(disk.child, NULL, 0) < 0 && errno == EINTR) continue;
}

int shim_disk_fd(void) { return disk.fd; }

bool shim_disk_full(void) { return disk.full; }

int shim_stand_still(unsigned who, bool still) {
  unsigned before = shim.still;
  shim.still = still ? shim.still | who : shim.still & ~who;
  if (!still && (shim.still != 0 || before == 0)) return 0;
  if (still && shim.ending) return 0; /* what is frozen could not die */
  int result = cgroup_freeze(&shim.group, still);
  if (result != 0 && still) shim.still = before;
  return result;
}

/* But for init, which tells of the ends. */
static bool kill_one(int pid, void *arg) {
  (void)arg;
  if (pid > 1 && pid != shim.sandbox.init) (void)kill(pid, SIGKILL);
  return false;
}

/* Twice: what is being killed makes no more processes, and what they made before is there at the second look. */
static void end_all(void) {
  (void)cgroup_each(&shim.group, kill_one, NULL);
  (void)cgroup_each(&shim.group, kill_one, NULL);
  (void)cgroup_freeze(&shim.group, false);
}

/* Nobody counts any more: nothing may be written. */
static void lose(void) {
  shim_disk_close();
  disk.full = disk.lost = true;
  disk.untold = "lost";
  (void)shim_stand_still(STILL_DISK, true);
}

void shim_disk_ready(void) {
  struct meter_report report;
  ssize_t n = recv(disk.fd, &report, sizeof report, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n != sizeof report || report.kind == METER_LOST) {
    lose();
    return;
  }
  report.why[sizeof report.why - 1] = '\0';
  disk.used = report.used;
  if (report.kind == METER_STOP) {
    (void)shim_stand_still(STILL_DISK, true);
    if (send(disk.fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) lose();
  } else if (report.kind == METER_ROOM) {
    if (disk.full) disk.untold = "room";
    disk.full = false;
    (void)shim_stand_still(STILL_DISK, false);
  } else if (report.kind == METER_FULL) {
    disk.full = true;
    disk.untold = "full";
    memcpy(disk.why, report.why, sizeof disk.why);
  } else if (report.kind == METER_STUCK) {
    disk.untold = "stuck";
    end_all();
  }
}

void shim_disk_tell(bool again) {
  if (again && disk.full && !disk.untold) disk.untold = disk.lost ? "lost" : "full";
  if (!disk.untold || shim.daemon.fd < 0) return;
  shim_tell(json_pack("{s:s,s:s,s:I,s:I,s:s}", "t", "disk", "state", disk.untold, "used", (json_int_t)disk.used, "limit", (json_int_t)disk.limit, "why", disk.why), NULL, 0);
  disk.untold = NULL;
}
