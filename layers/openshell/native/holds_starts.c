/* Questions of the kernel about programs (fanotify), which the shim keeps: told, listed, and answered. */
#include "holds_starts.h"
#include "holds_record.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_calls.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* So close to its deadline the shim may be denying already. */
#define DEADLINE_MARGIN_MS 20

struct start {
  struct start *next;
  json_int_t n;
  int64_t deadline;
  char id[112];
  json_t *shown; /* SyscallHold */
};

/* The thread waits in its system call, whose number the kernel shows; only for people to read, since starting and reading are asked about alike. */
static int call_of(int tid, const char **op) {
  char path[48], text[256] = "";
  unsigned long long a[3] = {0};
  int nr = -1;
  text_format(path, sizeof path, "/proc/%d/syscall", tid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  *op = "exec";
  if (n <= 0 || sscanf(text, "%d %llx %llx %llx", &nr, &a[0], &a[1], &a[2]) < 1 || nr < 0) return -1;
  unsigned long long flags = nr == SYS_open ? a[1] : nr == SYS_creat ? O_WRONLY : a[2];
  if (nr == SYS_open || nr == SYS_openat || nr == SYS_creat) *op = (flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)) ? "read" : "write";
  else if (nr == SYS_openat2) *op = "read";
  return nr;
}

static json_t *describe(const struct sandbox *s, const char *id, json_t *message, int file) {
  int tid = (int)json_integer_value(json_object_get(message, "tid"));
  const char *op;
  int call = call_of(tid, &op);
  char link[48], exe[PATH_BYTES] = "", path[PATH_BYTES] = "?", known[40];
  struct stat found = {0};
  text_format(link, sizeof link, "/proc/%d/exe", tid);
  ssize_t n = readlink(link, exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = 0;
  (void)fstat(file, &found);
  (void)place_path(file, path, sizeof path);
  return json_pack("{s:s,s:s,s:s,s:s,s:o,s:n,s:I,s:I,s:i,s:o,s:O,s:O}", "sandbox", s->id, "holdId", id, "op", op, "syscall", call < 0 ? "execve" : seen_name(call, known, sizeof known), "path", record_text(path), "toPath",
                   "dev", (json_int_t)found.st_dev, "ino", (json_int_t)found.st_ino, "pid", tid, "exe", record_text(exe), "rule", json_object_get(message, "rule"), "deadline", json_object_get(message, "deadline"));
}

static const char *text_of(const json_t *shown, const char *name) {
  const char *text = json_string_value(json_object_get(shown, name));
  return text ? text : "?";
}

static void emit(const struct sandbox *s, const json_t *shown, const char *verdict, json_t *data, const char *end) {
  bool starts = strcmp(text_of(shown, "op"), "exec") == 0;
  bool writes = strcmp(text_of(shown, "op"), "write") == 0;
  event_emit(starts ? "processActivity" : "fileActivity", starts ? 1 : writes ? 3 : 2, 3, s->id, "openshelld", verdict, data, "%s %s of %s %s", end[0] == 'w' ? "A" : "A held", starts ? "start" : writes ? "change" : "reading", text_of(shown, "path"), end);
}

static void tell_end(const struct sandbox *s, const struct start *start, const char *outcome) {
  char end[64];
  int error = strcmp(outcome, "denied") == 0 || strcmp(outcome, "timeout") == 0 ? 1 : 0;
  text_format(end, sizeof end, "ended: %s", outcome);
  tell_gateway(json_pack("{s:s,s:s,s:s,s:s,s:i}", "t", "hold.ended", "sandbox", s->id, "holdId", start->id, "outcome", outcome, "errno", error), NULL, 0);
  emit(s, start->shown, strcmp(outcome, "performed") == 0 ? "approved" : "rejected", json_pack("{s:s,s:s,s:i,s:O}", "holdId", start->id, "outcome", outcome, "errno", error, "hold", start->shown), end);
}

static void drop(struct start **link) {
  struct start *start = *link;
  *link = start->next;
  json_decref(start->shown);
  free(start);
}

static void held(struct sandbox *s, json_t *message, int file) {
  struct start *start = calloc(1, sizeof *start);
  json_int_t n = json_integer_value(json_object_get(message, "n"));
  if (!start) return; /* the shim denies it at its deadline */
  start->n = n;
  start->deadline = json_integer_value(json_object_get(message, "deadline"));
  text_format(start->id, sizeof start->id, "%s:start-%llx", s->id, (unsigned long long)n);
  start->shown = describe(s, start->id, message, file);
  if (!start->shown) {
    free(start);
    shim_say(s, json_pack("{s:s,s:I,s:b}", "t", "start.answer", "n", n, "allow", 0), NULL, 0);
    return;
  }
  start->next = s->starts;
  s->starts = start;
  if (json_is_true(json_object_get(message, "again"))) return; /* it is in the inventory */
  emit(s, start->shown, "escalate", json_pack("{s:s,s:O}", "holdId", start->id, "hold", start->shown), "waits for a person");
  tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", start->shown), NULL, 0);
}

static void would(const struct sandbox *s, json_t *message, int file) {
  json_t *shown = describe(s, "", message, file);
  if (!shown) return;
  json_object_del(shown, "holdId");
  json_object_del(shown, "deadline");
  json_object_set_new(shown, "would", json_string("escalate"));
  json_object_set_new(shown, "monitor", json_true());
  emit(s, shown, "observe", json_incref(shown), "would wait for a person");
  json_decref(shown);
}

static struct start **find(struct sandbox *s, json_int_t n) {
  struct start **link = &s->starts;
  while (*link && (*link)->n != n) link = &(*link)->next;
  return link;
}

bool starts_message(struct sandbox *s, const char *t, json_t *message, struct packet *packet) {
  if (strncmp(t, "start.", 6) != 0) return false;
  if (strcmp(t, "start.held") == 0 && packet->count > 0) held(s, message, packet->fds[0]);
  else if (strcmp(t, "start.would") == 0 && packet->count > 0) would(s, message, packet->fds[0]);
  else if (strcmp(t, "start.ended") == 0) {
    struct start **link = find(s, json_integer_value(json_object_get(message, "n")));
    if (*link) {
      tell_end(s, *link, text_of(message, "why"));
      drop(link);
    }
  }
  return true;
}

bool starts_answer(struct service *service, json_t *message, json_int_t id) {
  const char *hold = text_of(message, "holdId");
  struct sandbox *s = sandbox_find(json_string_value(json_object_get(message, "sandbox")));
  if (!strstr(hold, ":start-")) return false;
  struct start **link = s ? &s->starts : NULL;
  while (link && *link && strcmp((*link)->id, hold) != 0) link = &(*link)->next;
  if (!link || !*link) {
    reply_error(service, id, "no-hold", "no such hold: it has ended");
    return true;
  }
  bool late = boottime_ms() >= (*link)->deadline - DEADLINE_MARGIN_MS, allow = !late && strcmp(text_of(message, "verdict"), "allow") == 0;
  const char *outcome = late ? "timeout" : allow ? "performed" : "denied";
  shim_say(s, json_pack("{s:s,s:I,s:b}", "t", "start.answer", "n", (*link)->n, "allow", allow), NULL, 0);
  tell_end(s, *link, outcome);
  drop(link);
  reply_ok(service, id, json_pack("{s:s,s:i}", "outcome", outcome, "errno", allow ? 0 : 1), NULL, 0);
  return true;
}

void starts_list(const struct sandbox *s, json_t *list) {
  for (const struct start *start = s->starts; start; start = start->next) json_array_append(list, start->shown);
}

void starts_drop(struct sandbox *s) {
  while (s->starts) {
    tell_end(s, s->starts, "agent-gone");
    drop(&s->starts);
  }
}

static bool speaks_of_programs(json_t *rule, bool *alone) {
  size_t i;
  json_t *on;
  bool any = false;
  *alone = true;
  json_array_foreach(json_object_get(rule, "on"), i, on) {
    bool exec = json_is_string(on) && strcmp(json_string_value(on), "exec") == 0;
    any |= exec;
    *alone &= exec;
  }
  return any;
}

static json_t *paths_of(json_t *escalate) {
  json_t *paths = json_array(), *rule;
  size_t i;
  bool alone;
  json_array_foreach(escalate, i, rule) {
    if (speaks_of_programs(rule, &alone)) json_array_append(paths, json_object_get(rule, "path"));
  }
  return paths;
}

bool starts_same(json_t *before, json_t *after) {
  json_t *a = paths_of(before), *b = paths_of(after);
  bool same = json_equal(a, b);
  json_decref(a);
  json_decref(b);
  return same;
}

bool starts_only(json_t *escalate) {
  size_t i;
  json_t *rule;
  bool alone;
  json_array_foreach(escalate, i, rule) {
    if (!speaks_of_programs(rule, &alone) || !alone) return false;
  }
  return true;
}
