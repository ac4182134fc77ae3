/* Approved connections: a thread that is the agent makes each, however long the other side takes. */
#include "holds.h"
#include "openshelld_loop.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct connecting {
  char sandbox[72], hold[112];
  json_int_t request;
  struct operation op;
  uid_t uid;
  gid_t gid;
};

/* A connection may take as long as the other side likes, and that side may look who connects: a thread that is the agent. */
static void *connect_it(void *argument) {
  struct connecting *c = argument;
  int error = syscall(SYS_setresgid, c->gid, c->gid, c->gid) < 0 || syscall(SYS_setresuid, c->uid, c->uid, c->uid) < 0 ? EPERM : connect_do(&c->op);
  loop_lock();
  hold_connected(c->sandbox, c->hold, error, c->request);
  loop_unlock();
  operation_close(&c->op);
  free(c);
  return NULL;
}

bool connect_start(const struct sandbox *sandbox, const char *hold_id, const struct operation *op, json_int_t request) {
  struct connecting *c = calloc(1, sizeof *c);
  pthread_attr_t attributes;
  pthread_t thread;
  if (!c) return false;
  text_format(c->sandbox, sizeof c->sandbox, "%s", sandbox->id);
  text_format(c->hold, sizeof c->hold, "%s", hold_id);
  c->request = request;
  c->op = *op;
  c->op.from.parent = op->from.parent < 0 ? -1 : fcntl(op->from.parent, F_DUPFD_CLOEXEC, 3);
  c->op.to.parent = fcntl(op->to.parent, F_DUPFD_CLOEXEC, 3);
  c->op.value = malloc(op->value_length + 1);
  c->uid = sandbox->view.uid;
  c->gid = sandbox->view.gid;
  bool good = c->op.value && c->op.to.parent >= 0 && (op->from.parent < 0 || c->op.from.parent >= 0) && pthread_attr_init(&attributes) == 0;
  if (good) {
    memcpy(c->op.value, op->value, op->value_length);
    good = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 && pthread_attr_setstacksize(&attributes, 256 * 1024) == 0 && pthread_create(&thread, &attributes, connect_it, c) == 0;
    pthread_attr_destroy(&attributes);
  }
  if (good) return true;
  operation_close(&c->op);
  free(c);
  return false;
}
