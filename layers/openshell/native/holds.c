/* Asked system calls: done at once where no rule names them, else held until a person has answered. */
#include "openshelld_sandboxes.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "shim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* So close to its deadline a call may be answered by the shim while we perform. */
#define DEADLINE_MARGIN_MS 20
#define TALLY_EVERY_MS 1000
/* As many may wait for a person at once in one sandbox; more would only bury the person. */
#define HOLDS_MAX 64

struct hold {
  struct hold *next;
  uint64_t nid;
  int64_t deadline;
  char id[112];
  json_t *shown; /* SyscallHold */
  struct operation op;
};

static void answer_call(struct sandbox *sandbox, uint64_t nid, int error) {
  struct seccomp_notif_resp response = {.id = nid, .error = -error};
  (void)ioctl(sandbox->notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

static bool still_waits(const struct sandbox *sandbox, uint64_t nid) { return ioctl(sandbox->notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &nid) == 0; }

/* File names are bytes; what is not UTF-8 is shown as \xNN. */
static json_t *shown_text(const char *text) {
  json_t *string = json_string(text);
  if (string) return string;
  char *out = malloc(strlen(text) * 4 + 1);
  size_t used = 0;
  if (!out) return json_string("?");
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p < 0x80) out[used++] = (char)*p;
    else used += (size_t)sprintf(out + used, "\\x%02x", *p);
  }
  out[used] = 0;
  string = json_string(out);
  free(out);
  return string;
}

static json_t *bytes(const char *text) {
  size_t n = strlen(text);
  char *out = malloc(2 * n + 1);
  if (!out) return NULL;
  for (size_t i = 0; i < n; i++) sprintf(out + 2 * i, "%02x", (unsigned char)text[i]);
  out[2 * n] = 0;
  json_t *string = json_string(out);
  free(out);
  return string;
}

static bool unbytes(json_t *hex, char *out, size_t size) {
  const char *text = json_string_value(hex);
  size_t n = text ? strlen(text) / 2 : 0;
  if (!text || n >= size) return false;
  for (size_t i = 0; i < n; i++) {
    unsigned value;
    if (sscanf(text + 2 * i, "%2x", &value) != 1) return false;
    out[i] = (char)value;
  }
  out[n] = 0;
  return true;
}

static json_t *record_place(const struct place *p) {
  return json_pack("{s:o,s:o,s:b,s:b,s:I,s:I}", "name", bytes(p->name), "path", bytes(p->path), "exists", p->exists, "folder", p->folder, "dev", (json_int_t)p->dev, "ino", (json_int_t)p->ino);
}

static bool place_of_record(json_t *record, struct place *p, int parent) {
  int exists = 0, folder = 0;
  json_int_t dev = 0, ino = 0;
  p->parent = parent;
  p->special = false;
  if (json_unpack(record, "{s:b,s:b,s:I,s:I}", "exists", &exists, "folder", &folder, "dev", &dev, "ino", &ino) < 0) return false;
  p->exists = exists;
  p->folder = folder;
  p->dev = (dev_t)dev;
  p->ino = (ino_t)ino;
  return parent >= 0 && unbytes(json_object_get(record, "name"), p->name, sizeof p->name) && unbytes(json_object_get(record, "path"), p->path, sizeof p->path);
}

static void free_hold(struct hold *hold) {
  operation_close(&hold->op);
  json_decref(hold->shown);
  free(hold);
}

static struct hold *take(struct sandbox *sandbox, uint64_t nid, const char *id) {
  for (struct hold **link = &sandbox->holds; *link; link = &(*link)->next)
    if (id ? strcmp((*link)->id, id) == 0 : (*link)->nid == nid) {
      struct hold *hold = *link;
      *link = hold->next;
      return hold;
    }
  return NULL;
}

static void tell_end(struct sandbox *sandbox, const struct hold *hold, const char *outcome, int error) {
  const char *path = json_string_value(json_object_get(hold->shown, "path"));
  bool done = strcmp(outcome, "performed") == 0;
  tell_gateway(json_pack("{s:s,s:s,s:s,s:s,s:i}", "t", "hold.ended", "sandbox", sandbox->id, "holdId", hold->id, "outcome", outcome, "errno", error), NULL, 0);
  event_emit("fileActivity", hold->op.rename ? 5 : 4, 3, sandbox->id, "openshelld", done ? "approved" : "rejected", json_pack("{s:s,s:s,s:i,s:O}", "holdId", hold->id, "outcome", outcome, "errno", error, "hold", hold->shown),
             "A held %s of %s ended: %s", hold->op.rename ? "rename" : "deletion", path ? path : "?", outcome);
}

static void tally_due(struct timer *timer) {
  struct sandbox *s = container_of(timer, struct sandbox, tally);
  event_emit("fileActivity", 4, 1, s->id, "openshelld", "allow", json_pack("{s:i,s:i,s:i}", "deleted", (int)s->deleted, "renamed", (int)s->renamed, "failed", (int)s->failed),
             "%u deletions and %u renames that no rule holds were done, %u failed", s->deleted, s->renamed, s->failed);
  s->deleted = s->renamed = s->failed = 0;
}

static void count(struct sandbox *sandbox, const struct operation *op, int error) {
  if (!sandbox->tally.set) timer_set(&sandbox->tally, TALLY_EVERY_MS, tally_due);
  (*(error ? &sandbox->failed : op->rename ? &sandbox->renamed : &sandbox->deleted))++;
}

static json_t *describe(const struct sandbox *sandbox, const struct hold *hold, int pid, int rule) {
  char link[40], exe[PATH_BYTES] = "";
  text_format(link, sizeof link, "/proc/%d/exe", pid);
  ssize_t n = readlink(link, exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = 0;
  const struct operation *op = &hold->op;
  return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:i,s:o,s:i,s:I}", "sandbox", sandbox->id, "holdId", hold->id, "op", op->rename ? "rename" : "delete", "syscall", op->syscall, "path", shown_text(op->from.path),
                   "toPath", op->rename ? shown_text(op->to.path) : json_null(), "dev", (json_int_t)op->from.dev, "ino", (json_int_t)op->from.ino, "pid", pid, "exe", shown_text(exe), "rule", rule, "deadline",
                   (json_int_t)hold->deadline);
}

static void hold_it(struct sandbox *sandbox, const struct seccomp_notif *call, int64_t deadline, struct operation *op, int rule) {
  int waiting = 0;
  for (const struct hold *h = sandbox->holds; h; h = h->next) waiting++;
  struct hold *hold = waiting < HOLDS_MAX ? calloc(1, sizeof *hold) : NULL;
  if (!hold) {
    count(sandbox, op, EPERM);
    operation_close(op);
    answer_call(sandbox, call->id, EPERM);
    return;
  }
  hold->nid = call->id;
  hold->deadline = deadline;
  hold->op = *op;
  text_format(hold->id, sizeof hold->id, "%s:%016" PRIx64, sandbox->id, (uint64_t)call->id);
  hold->shown = describe(sandbox, hold, (int)call->pid, rule);
  json_t *record = json_pack("{s:O,s:s,s:b,s:i,s:o}", "hold", hold->shown, "syscall", op->syscall, "rename", op->rename, "flags", (int)op->flags, "from", record_place(&op->from));
  if (op->rename) json_object_set_new(record, "to", record_place(&op->to));
  hold->next = sandbox->holds;
  sandbox->holds = hold;
  /* The shim has what was shown, and on what, before anybody is asked: an approval can never meet another object. */
  shim_say(sandbox, json_pack("{s:s,s:I,s:o}", "t", "held", "nid", (json_int_t)call->id, "record", record), (int[]){op->from.parent, op->to.parent}, op->rename ? 2 : 1);
  event_emit("fileActivity", op->rename ? 5 : 4, 3, sandbox->id, "openshelld", "escalate", json_pack("{s:s,s:O}", "holdId", hold->id, "hold", hold->shown), "A %s of %s waits for a person", op->rename ? "rename" : "deletion", op->from.path);
  tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", hold->shown), NULL, 0);
}

void holds_call(struct sandbox *sandbox, const struct seccomp_notif *call, int64_t deadline) {
  static struct operation op;
  int error = operation_read(&op, &sandbox->view, call, sandbox->notify);
  if (error == ESRCH) return; /* nobody waits any more */
  if (error) {
    count(sandbox, &op, error);
    answer_call(sandbox, call->id, error);
    return;
  }
  int rule = rules_match(sandbox->rules, &op, &sandbox->view);
  if (rule >= 0) {
    become_root();
    hold_it(sandbox, call, deadline, &op, rule);
    return;
  }
  error = operation_do(&op, &sandbox->view);
  answer_call(sandbox, call->id, error);
  count(sandbox, &op, error);
  operation_close(&op);
}

void holds_prepare(struct sandbox *sandbox, json_t *escalate) {
  rules_free(sandbox->rules);
  sandbox->rules = rules_make(&sandbox->view, escalate);
}

void holds_adopt(struct sandbox *sandbox, json_t *message, struct packet *packet) {
  json_t *record = json_object_get(message, "record"), *shown = json_object_get(record, "hold");
  struct hold *hold = calloc(1, sizeof *hold);
  int renames = 0, flags = 0;
  const char *syscall_name = NULL, *id = json_string_value(json_object_get(shown, "holdId"));
  if (!hold) return;
  hold->nid = (uint64_t)json_integer_value(json_object_get(message, "nid"));
  hold->deadline = json_integer_value(json_object_get(message, "deadline"));
  hold->op.from.parent = hold->op.to.parent = -1;
  bool good = id && text_format(hold->id, sizeof hold->id, "%s", id) && json_unpack(record, "{s:s,s:b,s:i}", "syscall", &syscall_name, "rename", &renames, "flags", &flags) == 0 && packet->count == (renames ? 2 : 1) &&
              place_of_record(json_object_get(record, "from"), &hold->op.from, packet->fds[0]) && (!renames || place_of_record(json_object_get(record, "to"), &hold->op.to, packet->fds[1]));
  if (!good) {
    answer_call(sandbox, hold->nid, EPERM);
    free(hold);
    return;
  }
  packet->count = 0;
  hold->shown = json_incref(shown);
  hold->op.rename = renames;
  hold->op.flags = (unsigned)flags;
  hold->op.syscall = json_string_value(json_object_get(hold->shown, "syscall"));
  hold->next = sandbox->holds;
  sandbox->holds = hold;
}

void holds_ended(struct sandbox *sandbox, uint64_t nid, const char *why) {
  struct hold *hold = take(sandbox, nid, NULL);
  if (!hold) return;
  tell_end(sandbox, hold, why, strcmp(why, "timeout") == 0 ? EPERM : 0);
  free_hold(hold);
}

void asked_hold_answer(struct service *service, json_t *message, json_int_t id) {
  const char *name = "", *hold_id = "", *verdict = "";
  int error = EPERM;
  (void)json_unpack(message, "{s:s,s:s,s:s}", "sandbox", &name, "holdId", &hold_id, "verdict", &verdict);
  struct sandbox *sandbox = sandbox_find(name);
  struct hold *hold = sandbox ? take(sandbox, 0, hold_id) : NULL;
  if (!hold) {
    reply_error(service, id, "no-hold", "no such hold: it has ended");
    return;
  }
  const char *outcome = "denied";
  if (!still_waits(sandbox, hold->nid)) {
    outcome = "agent-gone";
    error = 0;
  } else if (boottime_ms() >= hold->deadline - DEADLINE_MARGIN_MS) {
    outcome = "timeout";
  } else if (strcmp(verdict, "allow") == 0) {
    if (operation_same(&hold->op, &sandbox->view)) {
      outcome = "performed";
      error = operation_do(&hold->op, &sandbox->view);
    } else {
      outcome = "changed";
    }
  }
  become_root();
  if (strcmp(outcome, "agent-gone") != 0) answer_call(sandbox, hold->nid, error);
  shim_say(sandbox, json_pack("{s:s,s:I}", "t", "unheld", "nid", (json_int_t)hold->nid), NULL, 0);
  tell_end(sandbox, hold, outcome, error);
  reply_ok(service, id, json_pack("{s:s,s:i}", "outcome", outcome, "errno", error), NULL, 0);
  free_hold(hold);
}

void holds_list(const struct sandbox *sandbox, json_t *list) {
  for (const struct hold *h = sandbox->holds; h; h = h->next) json_array_append(list, h->shown);
}

void holds_drop(struct sandbox *sandbox) {
  while (sandbox->holds) {
    struct hold *hold = sandbox->holds;
    sandbox->holds = hold->next;
    tell_end(sandbox, hold, "agent-gone", 0);
    free_hold(hold);
  }
  rules_free(sandbox->rules);
  sandbox->rules = NULL;
  if (sandbox->tally.set) {
    timer_stop(&sandbox->tally);
    tally_due(&sandbox->tally);
  }
}
