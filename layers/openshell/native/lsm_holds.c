/* Questions of the kernel's program: shown to a person, answered by a one-shot grant and SIGCONT; every other end is a denial. */
#include "lsm_holds.h"
#include "holds_record.h"
#include "lsm_kernel.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_calls.h"
#include "seen_watch.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOLDS_MAX 64
/* A grant waits for its thread, which may have been stopped again: by a question of another thread, or by another one of this very call, for which a person has as long again. */
#define GRANT_LIFE_MS 30000

struct lsm_hold {
  struct lsm_hold *next;
  struct sandbox *sandbox;
  struct lsm_grant_key key;
  char id[112];
  pid_t process;
  int call; /* its number, or -1 */
  json_t *shown; /* SyscallHold */
  struct watch gone; /* pidfd */
  struct timer late;
};

static struct watch asks;
static struct ring_buffer *ring;

static int read_proc(pid_t pid, const char *file, char *out, size_t size) {
  char path[64];
  text_format(path, sizeof path, "/proc/%d/%s", pid, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
  if (fd >= 0) close(fd);
  out[n > 0 ? n : 0] = 0;
  return n > 0 ? 0 : -1;
}

/* The process has the number that the kernel named only as long as it lives; its group says that it is still the sandbox's. */
static bool is_of(pid_t process, const struct sandbox *s) {
  char theirs[600], ours[600];
  if (read_proc(process, "cgroup", theirs, sizeof theirs) < 0 || read_proc(s->init, "cgroup", ours, sizeof ours) < 0) return false;
  const char *a = strstr(theirs, "0::"), *b = strstr(ours, "0::");
  return a && b && strncmp(a, b, strlen(b) - (b[strlen(b) - 1] == '\n')) == 0;
}

static bool is_stopped(pid_t process) {
  char text[400];
  const char *name_end;
  return read_proc(process, "stat", text, sizeof text) == 0 && (name_end = strrchr(text, ')')) && (name_end[2] == 'T' || name_end[2] == 't');
}

int lsm_activity(uint32_t op) { return op == LSM_CREATE ? 1 : op == LSM_READ ? 2 : op == LSM_WRITE ? 3 : op == LSM_DELETE ? 4 : op == LSM_RENAME ? 5 : 99; }

static void tell_end(const struct lsm_hold *hold, const char *outcome, int error) {
  const char *path = json_string_value(json_object_get(hold->shown, "path")), *op = lsm_op_name(hold->key.op);
  bool done = strcmp(outcome, "performed") == 0;
  if (strcmp(outcome, "agent-gone") != 0 && hold->call >= 0) watch_answered(hold->sandbox->uid, hold->call, done ? ANSWER_APPROVED : ANSWER_DENIED);
  tell_gateway(json_pack("{s:s,s:s,s:s,s:s,s:i}", "t", "hold.ended", "sandbox", hold->sandbox->id, "holdId", hold->id, "outcome", outcome, "errno", error), NULL, 0);
  event_emit(hold->key.op == LSM_EXEC ? "processActivity" : "fileActivity", lsm_activity(hold->key.op), 3, hold->sandbox->id, "lsm", done ? "approved" : "rejected",
             json_pack("{s:s,s:s,s:i,s:O}", "holdId", hold->id, "outcome", outcome, "errno", error, "hold", hold->shown), "A held %s of %s ended: %s", op, path ? path : "?", outcome);
}

static void free_hold(struct lsm_hold *hold) {
  struct lsm_hold **link = &hold->sandbox->asked_by_kernel;
  while (*link != hold) link = &(*link)->next;
  *link = hold->next;
  int fd = hold->gone.fd;
  loop_remove(&hold->gone);
  if (fd >= 0) close(fd);
  timer_stop(&hold->late);
  shim_say(hold->sandbox, json_pack("{s:s,s:s}", "t", "lsm.unheld", "id", hold->id), NULL, 0);
  json_decref(hold->shown);
  free(hold);
}

static void put_grant(const struct lsm_grant_key *key, bool allow) {
  struct lsm_grant grant = {.expires = (uint64_t)(boottime_ms() + config.hold_ms + GRANT_LIFE_MS) * 1000000u, .allow = allow};
  if (bpf_map_update_elem(lsm_map(LSM_GRANT_MAP), key, &grant, BPF_ANY) < 0) log_line("a grant does not fit: %s", strerror(errno));
}

/* The grant first: who goes on without one asks again. */
static void go_on(const struct lsm_hold *hold, bool allow) {
  put_grant(&hold->key, allow);
  (void)syscall(SYS_pidfd_send_signal, hold->gone.fd, SIGCONT, NULL, 0);
}

static void when_gone(struct watch *watch, uint32_t events) {
  struct lsm_hold *hold = container_of(watch, struct lsm_hold, gone);
  (void)events;
  (void)bpf_map_delete_elem(lsm_map(LSM_GRANT_MAP), &hold->key);
  tell_end(hold, "agent-gone", 0);
  free_hold(hold);
}

static void when_late(struct timer *timer) {
  struct lsm_hold *hold = container_of(timer, struct lsm_hold, late);
  go_on(hold, false);
  tell_end(hold, "timeout", EPERM);
  free_hold(hold);
}

static const char *usual_call(uint32_t op) {
  return op == LSM_DELETE ? "unlinkat" : op == LSM_RENAME ? "renameat2" : op == LSM_EXEC ? "execve" : "openat";
}

static json_t *describe(const struct lsm_hold *hold, const struct lsm_ask *ask, int64_t deadline) {
  char link[40], exe[PATH_BYTES] = "", known[40], name[64];
  text_format(link, sizeof link, "/proc/%d/exe", hold->process);
  ssize_t n = readlink(link, exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = 0;
  const struct lsm_grant_key *key = &ask->event.key;
  const char *call = hold->call >= 0 ? seen_name(hold->call, known, sizeof known) : usual_call(key->op), *more = "";
  if (key->op == LSM_RENAME && key->to_ino) more = ask->event.number & RENAME_EXCHANGE ? " (exchanges the two)" : ask->event.number & RENAME_NOREPLACE ? "" : " (replaces what is there)";
  text_format(name, sizeof name, "%s%s", call, more);
  char *from = lsm_path_text(&ask->event.path), *to = ask->to.count ? lsm_path_text(&ask->to) : NULL;
  json_t *shown = json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:i,s:o,s:i,s:I}", "sandbox", hold->sandbox->id, "holdId", hold->id, "op", lsm_op_name(key->op), "syscall", name, "path", record_text(from ? from : "?"),
                            "toPath", to ? record_text(to) : json_null(), "dev", (json_int_t)key->dev, "ino", (json_int_t)(key->op == LSM_CREATE ? key->dir : key->ino), "pid", (int)hold->process, "exe", record_text(exe), "rule",
                            (int)ask->event.rule, "deadline", (json_int_t)deadline);
  free(from);
  free(to);
  return shown;
}

/* The thread is on its way to user space with the call's number still in its registers. */
static int call_of(uint32_t tid) {
  char text[200];
  if (read_proc((pid_t)tid, "syscall", text, sizeof text) < 0 || text[0] < '0' || text[0] > '9') return -1;
  return atoi(text);
}

static struct lsm_hold *begin(struct sandbox *s, const struct lsm_grant_key *key, pid_t process) {
  struct lsm_hold *hold = calloc(1, sizeof *hold);
  int fd = hold ? pidfd_open(process, 0) : -1;
  if (fd < 0 || !is_of(process, s) || loop_add(&hold->gone, fd, EPOLLIN, when_gone) < 0) {
    if (fd >= 0) close(fd);
    free(hold);
    return NULL;
  }
  hold->sandbox = s;
  hold->key = *key;
  hold->process = process;
  hold->next = s->asked_by_kernel;
  s->asked_by_kernel = hold;
  return hold;
}

static json_t *hex_of(const void *data, size_t size) {
  char text[2 * sizeof(struct lsm_grant_key) + 1];
  for (size_t i = 0; i < size; i++) snprintf(text + 2 * i, 3, "%02x", ((const unsigned char *)data)[i]);
  return json_string(text);
}

static bool of_hex(const char *text, struct lsm_grant_key *key) {
  if (!text || strlen(text) != 2 * sizeof *key) return false;
  for (size_t i = 0; i < sizeof *key; i++) {
    unsigned byte;
    if (sscanf(text + 2 * i, "%2x", &byte) != 1) return false;
    ((unsigned char *)key)[i] = (unsigned char)byte;
  }
  return true;
}

static int asked(void *arg, void *data, size_t size) {
  static uint64_t number;
  const struct lsm_ask *ask = data;
  struct sandbox *s = sandboxes;
  int waiting = 0;
  (void)arg;
  if (size < sizeof *ask) return 0;
  while (s && (s->uid != ask->event.sandbox || !s->armed)) s = s->next;
  if (!s) return 0; /* it is ending, and everything in it is killed */
  pid_t process = (pid_t)ask->event.tgid;
  for (struct lsm_hold *h = s->asked_by_kernel; h; h = h->next, waiting++)
    if (memcmp(&h->key, &ask->event.key, sizeof h->key) == 0) return 0; /* somebody woke it: it is the same question */
  struct lsm_hold *hold = waiting < HOLDS_MAX ? begin(s, &ask->event.key, process) : NULL;
  if (!hold) {
    put_grant(&ask->event.key, false);
    if (is_of(process, s)) (void)kill(process, SIGCONT);
    return 0;
  }
  int64_t deadline = boottime_ms() + config.hold_ms;
  hold->call = call_of(ask->event.key.tid);
  text_format(hold->id, sizeof hold->id, "%s:lsm-%llx-%llx", s->id, (unsigned long long)ask->event.boottime, (unsigned long long)++number);
  hold->shown = describe(hold, ask, deadline);
  timer_set(&hold->late, config.hold_ms, when_late);
  /* For the next openshelld. */
  shim_say(s, json_pack("{s:s,s:s,s:{s:O,s:o,s:i,s:i}}", "t", "lsm.held", "id", hold->id, "record", "hold", hold->shown, "key", hex_of(&hold->key, sizeof hold->key), "process", (int)process, "call", hold->call), NULL, 0);
  const char *path = json_string_value(json_object_get(hold->shown, "path")), *op = lsm_op_name(hold->key.op);
  event_emit(hold->key.op == LSM_EXEC ? "processActivity" : "fileActivity", lsm_activity(hold->key.op), 3, s->id, "lsm", "escalate", json_pack("{s:s,s:O}", "holdId", hold->id, "hold", hold->shown), "A %s of %s waits for a person", op, path ? path : "?");
  tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", hold->shown), NULL, 0);
  return 0;
}

static void asks_ready(struct watch *watch, uint32_t events) {
  (void)watch;
  (void)events;
  become_root();
  (void)ring_buffer__consume(ring);
}

int lsm_holds_open(void) {
  ring = ring_buffer__new(lsm_map(LSM_ASK_RING), asked, NULL, NULL);
  return ring && loop_add(&asks, lsm_map(LSM_ASK_RING), EPOLLIN, asks_ready) == 0 && lsm_denials_open() == 0 ? 0 : -1;
}

bool lsm_holds_answer(struct service *service, json_t *message, json_int_t id) {
  const char *name = json_string_value(json_object_get(message, "sandbox")), *hold_id = json_string_value(json_object_get(message, "holdId")), *verdict = json_string_value(json_object_get(message, "verdict"));
  if (!hold_id || !strstr(hold_id, ":lsm-")) return false;
  struct sandbox *s = sandbox_find(name);
  struct lsm_hold *hold = s ? s->asked_by_kernel : NULL;
  while (hold && strcmp(hold->id, hold_id) != 0) hold = hold->next;
  if (!hold) {
    reply_error(service, id, "no-hold", "no such hold: it has ended");
    return true;
  }
  bool allow = verdict && strcmp(verdict, "allow") == 0;
  go_on(hold, allow);
  tell_end(hold, allow ? "performed" : "denied", allow ? 0 : EPERM);
  reply_ok(service, id, json_pack("{s:s,s:i}", "outcome", allow ? "performed" : "denied", "errno", allow ? 0 : EPERM), NULL, 0);
  free_hold(hold);
  return true;
}

void lsm_holds_list(const struct sandbox *s, json_t *list) {
  for (const struct lsm_hold *h = s->asked_by_kernel; h; h = h->next) json_array_append(list, h->shown);
}

void lsm_holds_adopt(struct sandbox *s, json_t *record) {
  struct lsm_grant_key key;
  json_t *shown = json_object_get(record, "hold");
  const char *id = json_string_value(json_object_get(shown, "holdId"));
  pid_t process = (pid_t)json_integer_value(json_object_get(record, "process"));
  if (!id || !lsm_map(LSM_GRANT_MAP)) return;
  struct lsm_hold *hold = of_hex(json_string_value(json_object_get(record, "key")), &key) ? begin(s, &key, process) : NULL;
  if (!hold) {
    /* It ended meanwhile, and whoever asks must hear so. What another version of the program had asked has a key that fits nothing now: that call goes on and asks again. */
    if (process > 0 && is_of(process, s)) (void)kill(process, SIGCONT);
    tell_gateway(json_pack("{s:s,s:s,s:s,s:s,s:i}", "t", "hold.ended", "sandbox", s->id, "holdId", id, "outcome", "agent-gone", "errno", 0), NULL, 0);
    shim_say(s, json_pack("{s:s,s:s}", "t", "lsm.unheld", "id", id), NULL, 0);
    return;
  }
  text_format(hold->id, sizeof hold->id, "%s", id);
  hold->call = (int)json_integer_value(json_object_get(record, "call"));
  hold->shown = json_incref(shown);
  int64_t left = json_integer_value(json_object_get(shown, "deadline")) - boottime_ms();
  timer_set(&hold->late, left > 0 ? left : 0, when_late);
  if (is_stopped(process)) return;
  /* It was answered, and goes on: only that was not noted any more. */
  (void)bpf_map_delete_elem(lsm_map(LSM_GRANT_MAP), &hold->key);
  tell_end(hold, "agent-gone", 0);
  free_hold(hold);
}

void lsm_holds_drop(struct sandbox *s) {
  while (s->asked_by_kernel) {
    struct lsm_hold *hold = s->asked_by_kernel;
    (void)bpf_map_delete_elem(lsm_map(LSM_GRANT_MAP), &hold->key);
    tell_end(hold, "agent-gone", 0);
    free_hold(hold);
  }
}
