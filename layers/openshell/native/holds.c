/* Asked system calls: done at once where no rule names them, else held until a person has answered. */
#include "holds_journal.h"
#include "holds_record.h"
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
             "Done without a question: deletions %u, renames %u; failed %u", s->deleted, s->renamed, s->failed);
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
  char name[64]; /* a person must see that the second name is not free */
  text_format(name, sizeof name, "%s%s", op->syscall, !op->rename || !op->to.exists || op->flags & RENAME_NOREPLACE ? "" : op->flags & RENAME_EXCHANGE ? " (exchanges the two)" : " (replaces what is there)");
  return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:i,s:o,s:i,s:I}", "sandbox", sandbox->id, "holdId", hold->id, "op", op->rename ? "rename" : "delete", "syscall", name, "path", record_text(op->from.path),
                   "toPath", op->rename ? record_text(op->to.path) : json_null(), "dev", (json_int_t)op->from.dev, "ino", (json_int_t)op->from.ino, "pid", pid, "exe", record_text(exe), "rule", rule, "deadline",
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
  json_t *record = json_pack("{s:O,s:s,s:b,s:i,s:o}", "hold", hold->shown, "syscall", op->syscall, "rename", op->rename, "flags", (int)op->flags, "from", record_of_place(&op->from));
  if (op->rename) json_object_set_new(record, "to", record_of_place(&op->to));
  hold->next = sandbox->holds;
  sandbox->holds = hold;
  /* The shim has what was shown, and on what, before anybody is asked: an approval can never meet another object. */
  shim_say(sandbox, json_pack("{s:s,s:I,s:o}", "t", "held", "nid", (json_int_t)call->id, "record", record), (int[]){op->from.parent, op->to.parent}, op->rename ? 2 : 1);
  event_emit("fileActivity", op->rename ? 5 : 4, 3, sandbox->id, "openshelld", "escalate", json_pack("{s:s,s:O}", "holdId", hold->id, "hold", hold->shown), "A %s of %s waits for a person", op->rename ? "rename" : "deletion", op->from.path);
  tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", hold->shown), NULL, 0);
}

/* Does it and answers; whatever happens to openshelld in between, it is done once. */
static int do_and_answer(struct sandbox *sandbox, uint64_t nid, const struct operation *op) {
  journal_begin(sandbox->id, nid, op);
  int error = operation_do(op, &sandbox->view);
  journal_end(error);
  answer_call(sandbox, nid, error);
  journal_clear();
  return error;
}

void holds_call(struct sandbox *sandbox, const struct seccomp_notif *call, int64_t deadline) {
  static struct operation op;
  int left_error = 0;
  dev_t dev = 0;
  ino_t ino = 0;
  enum journal_state left = journal_left(sandbox->id, call->id, &left_error, &dev, &ino);
  if (left == JOURNAL_DONE) {
    answer_call(sandbox, call->id, left_error);
    return;
  }
  int error = operation_read(&op, &sandbox->view, call, sandbox->notify);
  if (left == JOURNAL_DOING && (error == ENOENT || (!error && (op.from.dev != dev || op.from.ino != ino)))) {
    /* It was about to be done, and what it was about is no longer there: it was done. */
    operation_close(&op);
    answer_call(sandbox, call->id, 0);
    return;
  }
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
  error = do_and_answer(sandbox, call->id, &op);
  count(sandbox, &op, error);
  operation_close(&op);
}

void holds_prepare(struct sandbox *sandbox, json_t *escalate) {
  rules_free(sandbox->rules);
  folders_forget(); /* a former sandbox may have had the same uid and other rules */
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
              record_to_place(json_object_get(record, "from"), &hold->op.from, packet->fds[0]) && (!renames || record_to_place(json_object_get(record, "to"), &hold->op.to, packet->fds[1]));
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
  int error = 0;
  dev_t dev;
  ino_t ino;
  enum journal_state left = journal_left(sandbox->id, hold->nid, &error, &dev, &ino);
  bool done = left == JOURNAL_DONE || (left == JOURNAL_DOING && !operation_same(&hold->op, &sandbox->view));
  become_root();
  if (done) {
    if (left == JOURNAL_DOING) error = 0;
    answer_call(sandbox, hold->nid, error);
    shim_say(sandbox, json_pack("{s:s,s:I}", "t", "unheld", "nid", (json_int_t)hold->nid), NULL, 0);
    tell_end(sandbox, hold, "performed", error);
    free_hold(hold);
    return;
  }
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
      error = do_and_answer(sandbox, hold->nid, &hold->op);
    } else {
      outcome = "changed";
    }
  }
  become_root();
  if (strcmp(outcome, "agent-gone") != 0 && strcmp(outcome, "performed") != 0) answer_call(sandbox, hold->nid, error);
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
