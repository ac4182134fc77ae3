/* One thread for each sandbox with escalate rules: takes its asked calls from the kernel, does those that no rule names, hands the others over. */
#include "holds.h"
#include "openshelld_store.h"
#include "seen_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STACK_BYTES (512 * 1024) /* mostly never touched */

void answer_call(int notify, uint64_t nid, int error) {
  struct seccomp_notif_resp response = {.id = nid, .error = -error};
  (void)ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

bool call_waits(int notify, uint64_t nid) { return ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &nid) == 0; }

void answer_continue(int notify, uint64_t nid) {
  struct seccomp_notif_resp response = {.id = nid, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  (void)ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* The descriptor and the answer at once. 0 or errno. */
static int answer_with(int notify, uint64_t nid, const struct operation *op) {
  struct seccomp_notif_addfd add = {.id = nid, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)op->result, .newfd_flags = op->is.flags & O_CLOEXEC};
  return ioctl(notify, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 ? errno : 0;
}

int do_and_answer(int notify, struct shared_slot *slot, struct operation *op, const struct view *view, bool again) {
  /* What a try before this one made stays written down. */
  if (!op->is.making) slot_begin(slot, op->from.dev, op->from.ino);
  else if (!again) slot_begin(slot, 0, 0);
  op->made = slot->about;
  int error = operation_do(op, view, again);
  if (!error && op->result >= 0) {
    /* Not DONE before the caller has it: a descriptor cannot be kept, so that it would be opened again. */
    error = answer_with(notify, slot_id(slot), op);
    if (!error) return 0;
  }
  slot_done(slot, error);
  answer_call(notify, slot_id(slot), error);
  return error;
}

static void end_call(struct asker *a, struct shared_slot *slot, int error) {
  answer_call(a->notify, slot_id(slot), error);
  slot_clear(slot);
}

static void wait_for_person(struct asker *a, struct shared_slot *slot, struct operation *op, int rule, unsigned asked) {
  bool held = false;
  loop_lock();
  if (a->sandbox) held = hold_open(a->sandbox, slot, op, rule, asked);
  if (!held) watch_answered(a->view.uid, slot->call.data.nr, ANSWER_DENIED);
  loop_unlock();
  if (held) return;
  count_done(a, op, EPERM);
  operation_close(op);
  end_call(a, slot, EPERM);
}

/* Monitor mode: what a person would be asked about, or a rule would deny, is told, and the kernel goes on with it as with everything else. */
static void observe(struct asker *a, struct shared_slot *slot, const struct call_rule *named, struct operation *op) {
  int error, rule = -1;
  unsigned asked = 0;
  bool file = operation_known(slot->call.data.nr);
  op->forbidden = !file && !named;
  if (file) {
    error = operation_read(op, &a->view, &slot->call, a->notify, true, NULL);
    if (!error) rule = rules_match(a->rules, op, &a->view, &asked);
  } else if (named) {
    operation_of_call(op, &slot->call, named->name, named->args);
  }
  if (op->forbidden) {
    end_call(a, slot, EPERM);
    count_refusal(a, slot->call.data.nr);
    return;
  }
  if (rule < 0 && named) {
    rule = named->rule;
    asked = ON_CALL;
  }
  /* On record before it is done: the caller, and the sandbox with it, may end at once. */
  if (rule >= 0) {
    loop_lock();
    if (a->sandbox) hold_would_open(a->sandbox, op, rule, asked);
    loop_unlock();
  }
  answer_continue(a->notify, slot_id(slot));
  slot_clear(slot);
  operation_close(op);
}

/* `left`: the last openshelld had taken it. */
static void handle(struct asker *a, struct shared_slot *slot, bool left) {
  static _Thread_local struct operation op;
  uint32_t journal = left ? atomic_load(&slot->journal) : JOURNAL_NONE;
  if (journal == JOURNAL_DONE) {
    end_call(a, slot, slot->error);
    return;
  }
  struct hold_rules *other = atomic_exchange(&a->other_rules, NULL);
  if (other) {
    rules_free(a->rules);
    a->rules = other;
    folders_forget(); /* which rules a folder is in was remembered with it, and is read with the operation */
  }
  const struct call_rule *named = rules_call(a->rules, slot->call.data.nr);
  if (named && (pid_t)slot->call.pid == a->init) {
    answer_continue(a->notify, slot_id(slot));
    slot_clear(slot);
    return;
  }
  if (a->view.monitor) {
    observe(a, slot, named, &op);
    return;
  }
  if (named && named->goes_on) {
    operation_of_call(&op, &slot->call, named->name, named->args);
    wait_for_person(a, slot, &op, named->rule, ON_CALL);
    return;
  }
  if (!operation_known(slot->call.data.nr)) {
    end_call(a, slot, EPERM);
    count_refusal(a, slot->call.data.nr);
    return;
  }
  int error = operation_read(&op, &a->view, &slot->call, a->notify, named != NULL, slot->about);
  if (error == OPERATION_CONTINUE) {
    answer_continue(a->notify, slot_id(slot));
    slot_clear(slot);
    return;
  }
  bool again = journal == JOURNAL_DOING;
  if (again && (operation_removes(&op) ? error == ENOENT || (!error && (op.from.dev != slot->about[0] || op.from.ino != slot->about[1])) : error == EEXIST && op.is.kind != DO_OPEN)) {
    /* It was about to be done, and what it was about is no longer there, or is there now: it was done. */
    operation_close(&op);
    end_call(a, slot, 0);
    return;
  }
  if (error == ESRCH) { /* nobody waits any more */
    slot_clear(slot);
    return;
  }
  if (error) {
    if (error == EPERM && !operation_removes(&op)) count_refusal(a, slot->call.data.nr);
    else count_done(a, &op, error);
    end_call(a, slot, error);
    return;
  }
  unsigned asked = 0;
  int rule = rules_match(a->rules, &op, &a->view, &asked);
  if (rule < 0 && named) {
    rule = named->rule;
    asked = ON_CALL;
  }
  if (rule >= 0) {
    wait_for_person(a, slot, &op, rule, asked);
    return;
  }
  if (op.is.kind == DO_CONNECT) { /* to what is out of sight, where nobody is asked about connecting: as in every sandbox that hides it */
    operation_close(&op);
    end_call(a, slot, EACCES);
    count_refusal(a, slot->call.data.nr);
    return;
  }
  error = do_and_answer(a->notify, slot, &op, &a->view, again);
  slot_clear(slot);
  count_done(a, &op, error);
  operation_close(&op);
}

/* What was taken before us: by the last openshelld, or by the shim meanwhile. */
static void adopt(struct asker *a) {
  for (int i = 0; i < SHARED_SLOTS; i++) {
    struct shared_slot *slot = &a->shared->slot[i];
    if (slot->held) continue; /* the main thread has it */
    if (slot_id(slot) == 0 || !call_waits(a->notify, slot_id(slot))) slot_clear(slot);
    else {
      if (slot->deadline == 0) slot->deadline = boottime_ms() + a->hold_ms;
      handle(a, slot, true);
    }
  }
}

static void take(struct asker *a) {
  struct seccomp_notif call;
  struct shared_slot *slot = slot_free(a->shared);
  if (slot) {
    if (ioctl(a->notify, SECCOMP_IOCTL_NOTIF_RECV, &slot->call) < 0) return;
    slot->deadline = boottime_ms() + a->hold_ms;
    handle(a, slot, false);
    return;
  }
  memset(&call, 0, sizeof call);
  if (ioctl(a->notify, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0) answer_call(a->notify, call.id, EPERM);
}

static void *run(void *argument) {
  struct asker *a = argument;
  /* A umask of its own: what the agent makes has the agent's. */
  if (unshare(CLONE_FS) == 0) {
    umask(0);
    adopt(a);
    while (!atomic_load(&a->over)) {
      struct pollfd polled[2] = {{a->notify, POLLIN, 0}, {a->wake, POLLIN, 0}};
      if (poll(polled, 2, -1) < 0) continue;
      if (polled[0].revents & POLLIN) take(a);
      else if (polled[0].revents) (void)poll(&polled[1], 1, -1); /* the last task of the sandbox has ended */
    }
  }
  loop_lock();
  if (a->sandbox) log_line("the calls of %s are not answered: %s", a->sandbox->id, strerror(errno));
  if (a->sandbox) a->sandbox->asker = NULL;
  else (void)munmap(a->shared, sizeof *a->shared);
  loop_unlock();
  rules_free(a->rules);
  rules_free(atomic_load(&a->other_rules));
  operation_thread_end();
  close(a->notify);
  close(a->wake);
  view_close(&a->view);
  free(a);
  return NULL;
}

struct asker *asker_start(struct sandbox *s, struct hold_rules *rules, int64_t hold_ms) {
  struct asker *a = calloc(1, sizeof *a);
  pthread_attr_t attributes;
  pthread_t thread;
  if (!a) return NULL;
  a->sandbox = s;
  a->notify = fcntl(s->notify, F_DUPFD_CLOEXEC, 3);
  a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  a->init = s->init;
  bool seen = view_copy(&a->view, &s->view);
  a->rules = rules;
  a->shared = s->shared;
  a->hold_ms = hold_ms;
  if (a->notify >= 0 && a->wake >= 0 && seen && pthread_attr_init(&attributes) == 0) {
    int failed = pthread_attr_setstacksize(&attributes, STACK_BYTES) || pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) || pthread_create(&thread, &attributes, run, a);
    pthread_attr_destroy(&attributes);
    if (!failed) return a;
  }
  if (a->notify >= 0) close(a->notify);
  if (a->wake >= 0) close(a->wake);
  if (seen) view_close(&a->view);
  free(a);
  return NULL;
}

void asker_stop(struct asker *a) {
  a->sandbox = NULL;
  atomic_store(&a->over, true);
  uint64_t one = 1;
  (void)!write(a->wake, &one, sizeof one);
}
