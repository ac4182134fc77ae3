/* Asked system calls that wait until a person has answered, or their deadline has come. */
#include "holds.h"
#include "holds_record.h"
#include "holds_starts.h"
#include "lsm_holds.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_calls.h"
#include "seen_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* So close to its deadline a call may be answered by the shim while we perform. */
#define DEADLINE_MARGIN_MS 20
/* As many may wait for a person at once in one sandbox; more would only bury the person. */
#define HOLDS_MAX 64

struct hold {
  struct hold *next;
  uint64_t nid;
  int64_t deadline;
  char id[112];
  json_t *shown; /* SyscallHold */
  bool busy;     /* approved, and being done */
  struct operation op;
};

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

int activity_of(const struct operation *op) {
  unsigned does = operation_does(op);
  return does & ON_RENAME ? 5 : does & ON_DELETE ? 4 : does & ON_CREATE ? 1 : does & ON_WRITE ? 3 : does & ON_READ ? 2 : 99;
}

static const char *noun_of(const struct hold *hold) {
  static const char *const nouns[][2] = {{"delete", "deletion"}, {"rename", "rename"}, {"write", "change"}, {"create", "creation"}, {"read", "reading"}, {"exec", "start"}, {"connect", "connection"}};
  const char *op = json_string_value(json_object_get(hold->shown, "op"));
  for (size_t i = 0; op && i < sizeof nouns / sizeof *nouns; i++)
    if (strcmp(op, nouns[i][0]) == 0) return nouns[i][1];
  return "call";
}

static void tell_end(struct sandbox *sandbox, const struct hold *hold, const char *outcome, int error) {
  const char *path = json_string_value(json_object_get(hold->shown, "path"));
  bool done = strcmp(outcome, "performed") == 0;
  if (strcmp(outcome, "agent-gone") != 0 && !(done && error)) watch_answered(sandbox->uid, seen_number(json_string_value(json_object_get(hold->shown, "syscall"))), done ? ANSWER_APPROVED : ANSWER_DENIED);
  tell_gateway(json_pack("{s:s,s:s,s:s,s:s,s:i}", "t", "hold.ended", "sandbox", sandbox->id, "holdId", hold->id, "outcome", outcome, "errno", error), NULL, 0);
  event_emit("fileActivity", activity_of(&hold->op), 3, sandbox->id, "openshelld", done ? "approved" : "rejected", json_pack("{s:s,s:s,s:i,s:O}", "holdId", hold->id, "outcome", outcome, "errno", error, "hold", hold->shown),
             "A held %s of %s ended: %s", noun_of(hold), path ? path : "?", outcome);
}

static json_t *describe(const struct sandbox *sandbox, const struct hold *hold, int pid, int rule, unsigned asked) {
  char link[40], exe[PATH_BYTES] = "";
  text_format(link, sizeof link, "/proc/%d/exe", pid);
  ssize_t n = readlink(link, exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = 0;
  const struct operation *op = &hold->op;
  char name[64]; /* a person must see that the second name is not free */
  text_format(name, sizeof name, "%s%s", op->syscall, !op->rename || !op->to.exists || op->is.flags & RENAME_NOREPLACE ? "" : op->is.flags & RENAME_EXCHANGE ? " (exchanges the two)" : " (replaces what is there)");
  return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:i,s:o,s:i,s:I}", "sandbox", sandbox->id, "holdId", hold->id, "op", on_word(asked), "syscall", name, "path", record_path(op),
                   "toPath", operation_has_two(op) ? record_text(op->to.path) : json_null(), "dev", (json_int_t)(op->from.exists ? op->from.dev : op->from.in.dev), "ino", (json_int_t)(op->from.exists ? op->from.ino : op->from.in.ino), "pid", pid, "exe", record_text(exe), "rule", rule, "deadline",
                   (json_int_t)hold->deadline);
}

bool hold_open(struct sandbox *sandbox, struct shared_slot *slot, struct operation *op, int rule, unsigned asked) {
  const struct seccomp_notif *call = &slot->call;
  int waiting = 0;
  for (const struct hold *h = sandbox->holds; h; h = h->next) waiting++;
  struct hold *hold = waiting < HOLDS_MAX && may_tell(sandbox) && operation_keep(op) ? calloc(1, sizeof *hold) : NULL;
  if (!hold) return false;
  hold->nid = call->id;
  hold->deadline = slot->deadline;
  hold->op = *op;
  text_format(hold->id, sizeof hold->id, "%s:%016" PRIx64, sandbox->id, (uint64_t)call->id);
  hold->shown = describe(sandbox, hold, (int)call->pid, rule, asked);
  json_t *record = record_of_operation(op);
  json_object_set(record, "hold", hold->shown);
  hold->next = sandbox->holds;
  sandbox->holds = hold;
  slot->held = true;
  /* The shim has what was shown, and on what, before anybody is asked: an approval can never meet another object. */
  shim_say(sandbox, json_pack("{s:s,s:I,s:I,s:o}", "t", "held", "nid", (json_int_t)call->id, "deadline", (json_int_t)hold->deadline, "record", record), (int[]){op->from.parent >= 0 ? op->from.parent : op->to.parent, op->to.parent}, (op->from.parent >= 0) + (op->to.parent >= 0));
  event_emit("fileActivity", activity_of(op), 3, sandbox->id, "openshelld", "escalate", json_pack("{s:s,s:O}", "holdId", hold->id, "hold", hold->shown), "A %s of %s waits for a person", noun_of(hold), op->from.path);
  op->value = NULL; /* the hold has it now */
  tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", hold->shown), NULL, 0);
  return true;
}

int holds_prepare(struct sandbox *sandbox, json_t *escalate, int calls) {
  void *memory = calls < 0 ? MAP_FAILED : mmap(NULL, sizeof *sandbox->shared, PROT_READ | PROT_WRITE, MAP_SHARED, calls, 0);
  if (calls >= 0) close(calls);
  if (memory == MAP_FAILED) return -1;
  sandbox->shared = memory;
  sandbox->escalate = json_incref(escalate);
  for (int i = 0; i < SHARED_SLOTS; i++) sandbox->shared->slot[i].held = false; /* the shim says which */
  return 0;
}

int holds_change(struct sandbox *sandbox, json_t *escalate) {
  if (!sandbox->asker) return sandbox->armed || starts_only(escalate) ? 0 : -1; /* no call is handed to us here; in tier A the kernel's program asks */
  struct hold_rules *rules = rules_make(&sandbox->view, escalate);
  if (!rules) return -1;
  rules_free(atomic_exchange(&sandbox->asker->other_rules, rules));
  json_decref(sandbox->escalate);
  sandbox->escalate = json_incref(escalate);
  return 0;
}

int holds_start(struct sandbox *sandbox) {
  if (!sandbox->asks || sandbox->asker) return 0;
  folders_forget(); /* a former sandbox may have had the same uid and other rules */
  struct hold_rules *rules = rules_make(&sandbox->view, sandbox->escalate);
  sandbox->asker = rules ? asker_start(sandbox, rules, config.hold_ms) : NULL;
  if (!sandbox->asker) rules_free(rules);
  return sandbox->asker ? 0 : -1;
}

static void forget_call(struct sandbox *sandbox, uint64_t nid) {
  struct shared_slot *slot = slot_of(sandbox->shared, nid);
  if (slot) slot_clear(slot);
}

void holds_adopt(struct sandbox *sandbox, json_t *message, struct packet *packet) {
  json_t *record = json_object_get(message, "record"), *shown = json_object_get(record, "hold");
  struct hold *hold = calloc(1, sizeof *hold);
  const char *id = json_string_value(json_object_get(shown, "holdId"));
  if (!hold) return;
  hold->nid = (uint64_t)json_integer_value(json_object_get(message, "nid"));
  hold->deadline = json_integer_value(json_object_get(message, "deadline"));
  hold->op.from.parent = hold->op.to.parent = hold->op.result = -1;
  struct shared_slot *slot = slot_of(sandbox->shared, hold->nid);
  bool good = slot && id && text_format(hold->id, sizeof hold->id, "%s", id) && record_to_operation(record, &hold->op, packet->fds, packet->count);
  if (!good) {
    answer_call(sandbox->notify, hold->nid, EPERM);
    free(hold);
    return;
  }
  packet->count = 0;
  slot->held = true;
  hold->shown = json_incref(shown);
  hold->op.syscall = json_string_value(json_object_get(hold->shown, "syscall"));
  uint32_t left = atomic_load(&slot->journal);
  bool done = left == JOURNAL_DONE || (left == JOURNAL_DOING && hold->op.is.kind != DO_OPEN && hold->op.is.kind != DO_CONNECT && !operation_same(&hold->op, &sandbox->view));
  become_root();
  if (done) {
    int error = left == JOURNAL_DONE ? slot->error : 0;
    answer_call(sandbox->notify, hold->nid, error);
    slot_clear(slot);
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
  forget_call(sandbox, nid);
  tell_end(sandbox, hold, why, strcmp(why, "timeout") == 0 ? EPERM : 0);
  free_hold(hold);
}

/* The end of a hold that is no longer in the list: the caller is answered, if it was not yet, and everybody is told. */
static void finish(struct sandbox *sandbox, struct hold *hold, const char *outcome, int error, bool answered, struct service *gateway, json_int_t request) {
  if (!answered) answer_call(sandbox->notify, hold->nid, error);
  forget_call(sandbox, hold->nid);
  shim_say(sandbox, json_pack("{s:s,s:I}", "t", "unheld", "nid", (json_int_t)hold->nid), NULL, 0);
  tell_end(sandbox, hold, outcome, error);
  if (gateway && request) reply_ok(gateway, request, json_pack("{s:s,s:i}", "outcome", outcome, "errno", error), NULL, 0);
  free_hold(hold);
}

void hold_connected(const char *sandbox_id, const char *hold_id, int error, json_int_t request) {
  struct sandbox *sandbox = sandbox_find(sandbox_id);
  struct hold *hold = sandbox ? take(sandbox, 0, hold_id) : NULL;
  if (hold) finish(sandbox, hold, "performed", error == EISCONN ? 0 : error, false, service_find("gateway"), request);
}

static void perform(struct sandbox *sandbox, struct hold *hold, struct shared_slot *slot, struct service *service, json_int_t request) {
  if (hold->op.is.kind == DO_CALL) {
    answer_continue(sandbox->notify, hold->nid);
    finish(sandbox, hold, "performed", 0, true, service, request);
    return;
  }
  if (hold->op.is.kind == DO_CONNECT) {
    slot_begin(slot, 0, 0);
    hold->busy = true;
    hold->next = sandbox->holds;
    sandbox->holds = hold;
    if (connect_start(sandbox, hold->id, &hold->op, request)) return;
    finish(sandbox, take(sandbox, 0, hold->id), "denied", EAGAIN, false, service, request);
    return;
  }
  mode_t before = umask(0); /* what the agent's umask leaves was found out when it asked */
  int error = do_and_answer(sandbox->notify, slot, &hold->op, &sandbox->view, atomic_load(&slot->journal) == JOURNAL_DOING);
  umask(before);
  become_root();
  finish(sandbox, hold, "performed", error, true, service, request);
}

void asked_hold_answer(struct service *service, json_t *message, json_int_t id) {
  const char *name = "", *hold_id = "", *verdict = "";
  if (lsm_holds_answer(service, message, id) || starts_answer(service, message, id)) return;
  (void)json_unpack(message, "{s:s,s:s,s:s}", "sandbox", &name, "holdId", &hold_id, "verdict", &verdict);
  struct sandbox *sandbox = sandbox_find(name);
  struct hold *hold = sandbox ? take(sandbox, 0, hold_id) : NULL;
  if (hold && hold->busy) { /* approved before */
    hold->next = sandbox->holds;
    sandbox->holds = hold;
    hold = NULL;
  }
  if (!hold) {
    reply_error(service, id, "no-hold", "no such hold: it has ended");
    return;
  }
  struct shared_slot *slot = slot_of(sandbox->shared, hold->nid);
  if (!slot || !call_waits(sandbox->notify, hold->nid)) {
    finish(sandbox, hold, "agent-gone", 0, true, service, id);
    return;
  }
  bool late = boottime_ms() >= hold->deadline - DEADLINE_MARGIN_MS, allowed = strcmp(verdict, "allow") == 0;
  hold->op.made = slot->about;
  bool same = !late && allowed && (operation_same(&hold->op, &sandbox->view) || operation_made(&hold->op, &sandbox->view));
  become_root();
  if (same) perform(sandbox, hold, slot, service, id);
  else finish(sandbox, hold, late ? "timeout" : allowed ? "changed" : "denied", EPERM, false, service, id);
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
  counts_stop(sandbox);
  /* The thread has the memory, and gives it back. */
  if (sandbox->asker) asker_stop(sandbox->asker);
  else if (sandbox->shared) (void)munmap(sandbox->shared, sizeof *sandbox->shared);
  sandbox->asker = NULL;
  sandbox->shared = NULL;
  json_decref(sandbox->escalate);
  sandbox->escalate = NULL;
}
