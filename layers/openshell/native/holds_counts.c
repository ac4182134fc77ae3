/* Counts of asked calls that nobody was asked about, told as events at most once a second. */
#include "holds.h"
#include "openshelld_store.h"
#include "seen_calls.h"

#define EVERY_MS 1000
#define FIRST_MS 20 /* the first refusal of a burst is told soon */

static void tally_now(struct timer *timer) {
  struct sandbox *s = container_of(timer, struct sandbox, tally);
  struct asker *a = s->asker;
  if (!a) return;
  atomic_store(&a->tally_due, false);
  unsigned deleted = atomic_exchange(&a->deleted, 0), renamed = atomic_exchange(&a->renamed, 0), changed = atomic_exchange(&a->changed, 0), failed = atomic_exchange(&a->failed, 0);
  event_emit("fileActivity", 4, 1, s->id, "openshelld", "allow", json_pack("{s:i,s:i,s:i,s:i}", "deleted", (int)deleted, "renamed", (int)renamed, "changed", (int)changed, "failed", (int)failed),
             "Done without a question: deletions %u, renames %u, other changes %u; failed %u", deleted, renamed, changed, failed);
}

static void refusals_now(struct timer *timer) {
  struct sandbox *s = container_of(timer, struct sandbox, refusals);
  if (!s->asker) return;
  atomic_store(&s->asker->refusals_due, false);
  s->refusals_next = boottime_ms() + EVERY_MS;
  for (int nr = 0; nr < SHIM_SYSCALLS; nr++) {
    unsigned count = atomic_exchange(&s->asker->shared->refused[nr], 0);
    char number[24];
    const char *name = seen_name(nr, number, sizeof number);
    if (count == 0) continue;
    event_emit("kernelActivity", 99, 3, s->id, "seccomp", "deny", json_pack("{s:s,s:I}", "syscall", name, "count", (json_int_t)count), "The system call %s was refused %u times", name, count);
  }
}

void count_done(struct asker *a, const struct operation *op, int error) {
  atomic_fetch_add(error ? &a->failed : op->rename ? &a->renamed : operation_removes(op) ? &a->deleted : &a->changed, 1);
  if (atomic_load(&a->tally_due) || atomic_exchange(&a->tally_due, true)) return;
  loop_lock();
  if (a->sandbox) timer_set(&a->sandbox->tally, EVERY_MS, tally_now);
  loop_unlock();
}

void count_refusal(struct asker *a, int nr) {
  count_refused(a->shared, nr);
  if (atomic_load(&a->refusals_due) || atomic_exchange(&a->refusals_due, true)) return;
  loop_lock();
  if (a->sandbox) {
    int64_t wait = a->sandbox->refusals_next - boottime_ms();
    timer_set(&a->sandbox->refusals, wait > FIRST_MS ? wait : FIRST_MS, refusals_now);
  }
  loop_unlock();
}

void counts_stop(struct sandbox *s) {
  untold_tell(s);
  if (s->tally.set) {
    timer_stop(&s->tally);
    tally_now(&s->tally);
  }
  if (s->refusals.set) {
    timer_stop(&s->refusals);
    refusals_now(&s->refusals);
  }
}
