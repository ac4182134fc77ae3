/* System calls that the filter did not let through: refused at once, or kept for openshelld with a deadline that the shim owns. */
#include "seen_calls.h"
#include "shim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define REPORT_EVERY_MS 1000
#define CHECK_EVERY_MS 500

static bool any_refused;
static int64_t next_report, next_check;

int shim_calls_open(void) {
  shim.calls_fd = memfd_create("openshell-calls", MFD_CLOEXEC);
  if (shim.calls_fd < 0 || ftruncate(shim.calls_fd, sizeof *shim.shared) < 0) return -1;
  void *memory = mmap(NULL, sizeof *shim.shared, PROT_READ | PROT_WRITE, MAP_SHARED, shim.calls_fd, 0);
  if (memory == MAP_FAILED) return -1;
  shim.shared = memory;
  return 0;
}

/* While openshelld lives it takes the asked calls itself: one switch of processes for each. */
int shim_calls_fd(void) { return shim.asks && shim.daemon.fd >= 0 ? -1 : shim.sandbox.notify_fd; }

static void answer(uint64_t id, int error) {
  struct seccomp_notif_resp response = {.id = id, .error = -error};
  (void)ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static bool still_waits(uint64_t id) { return ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0; }

static void drop(struct shim_call **link) {
  struct shim_call *call = *link;
  *link = call->next;
  json_decref(call->record);
  for (int i = 0; i < 2; i++)
    if (call->fds[i] >= 0) close(call->fds[i]);
  free(call);
}

static struct shim_call **find(uint64_t id) {
  struct shim_call **link = &shim.calls;
  while (*link && (*link)->id != id) link = &(*link)->next;
  return link;
}

/* Held calls, whoever lives: openshelld does not look whether their callers still wait. */
static void check_held(void) {
  for (struct shim_call **link = &shim.calls; *link;) {
    struct shim_call *call = *link;
    const char *why = !still_waits(call->id) ? "agent-gone" : shim_clock() >= call->deadline ? "timeout" : NULL;
    if (!why) {
      link = &call->next;
      continue;
    }
    if (why[0] == 't') answer(call->id, EPERM);
    shim_tell(json_pack("{s:s,s:I,s:s}", "t", "ended", "nid", (json_int_t)call->id, "why", why), NULL, 0);
    drop(link);
  }
}

/* What nobody has looked at yet, because openshelld is away. */
static bool check_waiting(void) {
  bool any = false;
  for (int i = 0; i < SHARED_SLOTS; i++) {
    struct shared_slot *slot = &shim.shared->slot[i];
    if (slot_id(slot) == 0 || *find(slot_id(slot))) continue;
    if (slot->deadline == 0) slot->deadline = shim_clock() + shim.hold_ms;
    bool late = shim_clock() >= slot->deadline;
    if (late) answer(slot_id(slot), EPERM);
    if (late || !still_waits(slot_id(slot))) slot_clear(slot);
    else any = true;
  }
  return any;
}

void shim_notify_ready(void) {
  if (!shim.asks) {
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) return;
    answer(call.id, EPERM);
    count_refused(shim.shared, call.data.nr);
    if (!any_refused && next_report < shim_clock()) next_report = shim_clock() + 20; /* the first of a burst comes soon */
    any_refused = true;
    return;
  }
  struct shared_slot *slot = slot_free(shim.shared);
  struct seccomp_notif call;
  memset(&call, 0, sizeof call);
  if (slot) {
    if (ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &slot->call) == 0) slot->deadline = shim_clock() + shim.hold_ms;
  } else if (ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0) {
    answer(call.id, EPERM);
  }
}

static void report(void) {
  json_t *counts = json_object();
  for (int nr = 0; nr < SHIM_SYSCALLS; nr++) {
    unsigned count = atomic_exchange(&shim.shared->refused[nr], 0);
    if (count == 0) continue;
    char number[24];
    json_object_set_new(counts, seen_name(nr, number, sizeof number), json_integer(count));
  }
  any_refused = false;
  shim_tell(json_pack("{s:s,s:o}", "t", "refused", "counts", counts), NULL, 0);
}

void shim_calls_report(void) {
  if (any_refused && shim.daemon.fd >= 0) report();
}

void shim_calls_tick(void) {
  int64_t now = shim_clock();
  if (any_refused && now >= next_report && shim.daemon.fd >= 0) {
    report();
    next_report = now + REPORT_EVERY_MS;
  }
  if (now < next_check) return;
  next_check = now + CHECK_EVERY_MS;
  check_held();
  if (shim.asks && shim.daemon.fd < 0) (void)check_waiting();
  for (struct shim_call *c = shim.calls; c; c = c->next)
    if (c->deadline < next_check) next_check = c->deadline > now ? c->deadline : now + 1;
}

int shim_calls_wait(void) {
  int64_t at = -1, now = shim_clock();
  if (any_refused && shim.daemon.fd >= 0) at = next_report;
  if ((shim.calls || (shim.asks && shim.daemon.fd < 0)) && (at < 0 || next_check < at)) at = next_check;
  if (at < 0) return -1;
  return at > now ? (int)(at - now) : 0;
}

void shim_calls_resend(void) {
  check_held();
  for (struct shim_call *c = shim.calls; c; c = c->next) {
    int count = c->fds[0] < 0 ? 0 : c->fds[1] < 0 ? 1 : 2;
    shim_tell(json_pack("{s:s,s:I,s:I,s:O}", "t", "held", "nid", (json_int_t)c->id, "deadline", (json_int_t)c->deadline, "record", c->record), c->fds, count);
  }
}

bool shim_calls_message(const char *t, json_t *message, struct packet *packet) {
  bool held = strcmp(t, "held") == 0;
  if (!held && strcmp(t, "unheld") != 0) return false;
  uint64_t id = (uint64_t)json_integer_value(json_object_get(message, "nid"));
  struct shim_call **link = find(id);
  if (!held) {
    if (*link) drop(link);
    return true;
  }
  struct shim_call *call = *link ? NULL : calloc(1, sizeof *call);
  if (!call) return true;
  *call = (struct shim_call){.next = shim.calls, .id = id, .deadline = json_integer_value(json_object_get(message, "deadline")), .record = json_incref(json_object_get(message, "record")), .fds = {-1, -1}};
  shim.calls = call;
  next_check = 0;
  for (int i = 0; i < packet->count && i < 2; i++) {
    call->fds[i] = packet->fds[i];
    packet->fds[i] = -1;
  }
  return true;
}
