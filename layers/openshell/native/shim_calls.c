/* System calls that the filter did not let through: refused at once, or handed to openshelld with a deadline that the shim owns. */
#include "openshelld_text.h"
#include "shim.h"
#include "shim_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPORT_EVERY_MS 1000
#define CHECK_EVERY_MS 500
#define CALLS_MAX 4096 /* as many threads may wait at once; the rest are refused */

static unsigned refused[SHIM_SYSCALLS]; /* counts since the last report */
static bool any_refused;
static int64_t next_report, next_check;
static int waiting;

static bool goes_to_openshelld(int nr) {
  if (!shim.asks) return false;
  switch (nr) {
#ifdef SYS_unlink
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_rename:
#endif
#ifdef SYS_renameat
    case SYS_renameat:
#endif
    case SYS_unlinkat:
    case SYS_renameat2:
      return true;
    default:
      return false;
  }
}

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
  waiting--;
}

static void hand_over(const struct shim_call *call) {
  struct shim_notice notice = {.tag = "notice", .deadline = call->deadline, .call = call->call};
  if (shim.daemon.fd >= 0 && channel_send(&shim.daemon, &notice, sizeof notice, NULL, 0) < 0) channel_close(&shim.daemon);
}

/* Calls that openshelld has answered are found out only here, so that an answer costs no second packet. */
static void check_all(void) {
  for (struct shim_call **link = &shim.calls; *link;) {
    struct shim_call *call = *link;
    const char *why = NULL;
    if (!still_waits(call->call.id)) why = "agent-gone";
    else if (shim_clock() >= call->deadline) why = "timeout";
    if (!why) {
      link = &call->next;
      continue;
    }
    if (why[0] == 't') answer(call->call.id, EPERM);
    if (call->record || why[0] == 't') shim_tell(json_pack("{s:s,s:I,s:s}", "t", "ended", "nid", (json_int_t)call->call.id, "why", why), NULL, 0);
    drop(link);
  }
}

void shim_notify_ready(void) {
  struct seccomp_notif call;
  memset(&call, 0, sizeof call);
  if (ioctl(shim.sandbox.notify_fd, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) return;
  if (!goes_to_openshelld(call.data.nr)) {
    answer(call.id, EPERM);
    refused[call.data.nr >= 0 && call.data.nr < SHIM_SYSCALLS - 1 ? call.data.nr : SHIM_SYSCALLS - 1]++;
    if (!any_refused && next_report < shim_clock()) next_report = shim_clock() + 20; /* the first of a burst comes soon */
    any_refused = true;
    return;
  }
  if (waiting >= 64) check_all();
  struct shim_call *entry = waiting < CALLS_MAX ? calloc(1, sizeof *entry) : NULL;
  if (!entry) {
    answer(call.id, EPERM);
    return;
  }
  entry->call = call;
  entry->deadline = shim_clock() + shim.hold_ms;
  entry->fds[0] = entry->fds[1] = -1;
  entry->next = shim.calls;
  shim.calls = entry;
  waiting++;
  hand_over(entry);
}

static void report(void) {
  json_t *counts = json_object();
  for (int nr = 0; nr < SHIM_SYSCALLS; nr++) {
    if (refused[nr] == 0) continue;
    char number[24];
    const char *name = shim_name(nr);
    text_format(number, sizeof number, "syscall_%d", nr);
    json_object_set_new(counts, name ? name : number, json_integer(refused[nr]));
    refused[nr] = 0;
  }
  any_refused = false;
  shim_tell(json_pack("{s:s,s:o}", "t", "refused", "counts", counts), NULL, 0);
}

void shim_calls_tick(void) {
  int64_t now = shim_clock();
  if (any_refused && now >= next_report && shim.daemon.fd >= 0) {
    report();
    next_report = now + REPORT_EVERY_MS;
  }
  if (waiting > 0 && now >= next_check) {
    check_all();
    next_check = now + CHECK_EVERY_MS;
    for (struct shim_call *c = shim.calls; c; c = c->next)
      if (c->deadline < next_check) next_check = c->deadline > now ? c->deadline : now + 1;
  }
}

int shim_calls_wait(void) {
  int64_t at = -1, now = shim_clock();
  if (any_refused && shim.daemon.fd >= 0) at = next_report;
  if (waiting > 0 && (at < 0 || next_check < at)) at = next_check;
  if (at < 0) return -1;
  return at > now ? (int)(at - now) : 0;
}

void shim_calls_resend(void) {
  check_all();
  for (struct shim_call *c = shim.calls; c; c = c->next) {
    if (!c->record) continue;
    int count = c->fds[0] < 0 ? 0 : c->fds[1] < 0 ? 1 : 2;
    shim_tell(json_pack("{s:s,s:I,s:I,s:O}", "t", "held", "nid", (json_int_t)c->call.id, "deadline", (json_int_t)c->deadline, "record", c->record), c->fds, count);
  }
  for (struct shim_call *c = shim.calls; c; c = c->next)
    if (!c->record) hand_over(c);
}

bool shim_calls_message(const char *t, json_t *message, struct packet *packet) {
  bool held = strcmp(t, "held") == 0;
  if (!held && strcmp(t, "unheld") != 0) return false;
  uint64_t id = (uint64_t)json_integer_value(json_object_get(message, "nid"));
  struct shim_call **link = &shim.calls;
  while (*link && (*link)->call.id != id) link = &(*link)->next;
  if (!*link) return true;
  if (!held) {
    drop(link);
    return true;
  }
  json_decref((*link)->record);
  (*link)->record = json_incref(json_object_get(message, "record"));
  for (int i = 0; i < packet->count && i < 2; i++) {
    (*link)->fds[i] = packet->fds[i];
    packet->fds[i] = -1;
  }
  return true;
}
