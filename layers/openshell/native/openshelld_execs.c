/* Commands in sandboxes: pipes or a terminal, started by init, ends returned to the gateway. */
#include "openshelld_sandboxes.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_refusals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static struct openshelld_exec *find(struct sandbox *s, const char *id) {
  for (struct openshelld_exec *e = s->execs; e; e = e->next)
    if (id && strcmp(e->id, id) == 0) return e;
  return NULL;
}

static void forget(struct sandbox *s, struct openshelld_exec *exec) {
  for (struct openshelld_exec **link = &s->execs; *link; link = &(*link)->next)
    if (*link == exec) {
      *link = exec->next;
      for (int i = 0; i < exec->count; i++) close(exec->fds[i]);
      free(exec);
      return;
    }
}

static void close_all(const int *fds, int count) {
  for (int i = 0; i < count; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/* A terminal of the sandbox's own devpts, so that its name exists inside. fds: [slave, master]. */
static int make_terminal(struct sandbox *s, json_t *size, int fds[2]) {
  int rows = 24, cols = 80, unlock = 0;
  (void)json_unpack(size, "{s:i,s:i}", "rows", &rows, "cols", &cols);
  struct winsize window = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  fds[0] = -1;
  fds[1] = openat(s->pts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fds[1] >= 0 && ioctl(fds[1], TIOCSPTLCK, &unlock) == 0) fds[0] = ioctl(fds[1], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fds[0] >= 0 && ioctl(fds[1], TIOCSWINSZ, &window) == 0 && fchown(fds[0], s->uid, (gid_t)s->uid) == 0 && fchmod(fds[0], 0620) == 0) return 0;
  int saved = errno;
  close_all(fds, 2);
  errno = saved;
  return -1;
}

/* Owned by the agent, so that /dev/stdout and the like can be opened again inside. fds: child's three, then ours. */
static int make_pipes(struct sandbox *s, int fds[6]) {
  for (int i = 0; i < 6; i++) fds[i] = -1;
  for (int i = 0; i < 3; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) goto failed;
    fds[i] = ends[i == 0 ? 0 : 1];
    fds[3 + i] = ends[i == 0 ? 1 : 0];
    if (fchown(ends[0], s->uid, (gid_t)s->uid) < 0) goto failed;
  }
  return 0;
failed:;
  int saved = errno;
  close_all(fds, 6);
  errno = saved;
  return -1;
}

static struct sandbox *running(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = sandbox_find(json_string_value(json_object_get(message, "sandbox")));
  if (s && s->state == SANDBOX_READY) return s;
  reply_error(service, id, "no-sandbox", "no such sandbox is running");
  return NULL;
}

void asked_exec(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = running(service, message, id);
  const char *name = NULL, *cwd = NULL;
  json_t *argv, *env, *tty = NULL;
  int fds[6], result;
  if (!s) return;
  if (json_unpack(message, "{s:s,s:o,s:o,s:s,s?o}", "execId", &name, "argv", &argv, "env", &env, "cwd", &cwd, "tty", &tty) < 0 || strlen(name) == 0 || strlen(name) > 70 || find(s, name)) {
    reply_error(service, id, "protocol", "exec needs a new execId, argv, env, cwd and tty");
    return;
  }
  bool terminal = json_is_object(tty);
  struct openshelld_exec *exec = calloc(1, sizeof *exec);
  result = !exec ? -1 : terminal ? make_terminal(s, tty, fds) : make_pipes(s, fds);
  if (result < 0) {
    reply_error(service, id, "host", "no %s: %s", terminal ? "terminal" : "pipes", strerror(errno));
    free(exec);
    return;
  }
  text_format(exec->id, sizeof exec->id, "%s", name);
  exec->request = id;
  exec->number = ++s->next_number;
  exec->next = s->execs;
  s->execs = exec;
  json_t *order = json_pack("{s:s,s:i,s:s,s:O,s:O,s:s,s:b}", "t", "exec", "n", (int)exec->number, "execId", name, "argv", argv, "env", env, "cwd", cwd, "tty", terminal);
  if (terminal) {
    shim_say(s, order, fds, 2);
    exec->fds[exec->count++] = fds[1];
    close(fds[0]);
  } else {
    /* The shim keeps the reading ends too, or the agent would die of SIGPIPE with the gateway. */
    shim_say(s, order, (int[]){fds[0], fds[1], fds[2], fds[4], fds[5]}, 5);
    for (int i = 0; i < 3; i++) exec->fds[exec->count++] = fds[3 + i];
    close_all(fds, 3);
  }
}

void asked_exec_attach(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = running(service, message, id);
  const char *name = json_string_value(json_object_get(message, "execId"));
  if (!s) return;
  if (!find(s, name)) reply_error(service, id, "no-exec", "no such command runs");
  else shim_say(s, json_pack("{s:s,s:i,s:s}", "t", "exec.fds", "n", (int)shim_ask(s, id, name), "execId", name), NULL, 0);
}

void asked_exec_signal(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = running(service, message, id);
  struct openshelld_exec *exec = s ? find(s, json_string_value(json_object_get(message, "execId"))) : NULL;
  int number = 0;
  if (!s) return;
  if (!exec || exec->exited) reply_error(service, id, "no-exec", "no such command runs");
  else if (json_unpack(message, "{s:i}", "signal", &number) < 0 || number < 1 || number >= NSIG) reply_error(service, id, "protocol", "not a signal");
  else {
    shim_say(s, json_pack("{s:s,s:s,s:i}", "t", "exec.signal", "execId", exec->id, "signal", number), NULL, 0);
    reply_ok(service, id, json_object(), NULL, 0);
  }
}

void asked_exec_resize(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = running(service, message, id);
  struct openshelld_exec *exec = s ? find(s, json_string_value(json_object_get(message, "execId"))) : NULL;
  int rows = 0, cols = 0;
  if (!s) return;
  if (!exec || exec->exited) reply_error(service, id, "no-exec", "no such command runs");
  else if (json_unpack(message, "{s:i,s:i}", "rows", &rows, "cols", &cols) < 0) reply_error(service, id, "protocol", "exec.resize needs rows and cols");
  else {
    shim_say(s, json_pack("{s:s,s:s,s:i,s:i}", "t", "exec.resize", "execId", exec->id, "rows", rows, "cols", cols), NULL, 0);
    reply_ok(service, id, json_object(), NULL, 0);
  }
}

/* To the gateway when it is there; kept, here and in the shim, until then. */
static void tell_end(struct sandbox *s, struct openshelld_exec *exec) {
  struct service *gateway = service_find("gateway");
  if (!gateway || !gateway->hello || exec->request || exec->left) return;
  json_t *code = exec->signal ? json_null() : json_integer(exec->code), *name = json_null();
  if (exec->signal) {
    char text[24];
    const char *known = sigabbrev_np(exec->signal);
    if (known) text_format(text, sizeof text, "SIG%s", known);
    else text_format(text, sizeof text, "SIG%d", exec->signal);
    name = json_string(text);
  }
  refusals_tell_now(); /* what it was refused stands on record before its end is known */
  if (service_send(gateway, json_pack("{s:s,s:s,s:s,s:o,s:o}", "t", "exec.exited", "sandbox", s->id, "execId", exec->id, "code", code, "signal", name), NULL, 0) < 0) return;
  shim_say(s, json_pack("{s:s,s:s}", "t", "exec.done", "execId", exec->id), NULL, 0);
  forget(s, exec);
}

void execs_left(struct sandbox *s) {
  for (struct openshelld_exec *e = s->execs; e; e = e->next) e->left = e->started;
}

void execs_tell_ends(struct sandbox *s) {
  for (struct openshelld_exec *e = s->execs, *next; e; e = next) {
    next = e->next;
    e->left = false;
    if (e->exited) tell_end(s, e);
  }
}

bool execs_message(struct sandbox *s, const char *t, json_t *message) {
  struct service *gateway = service_find("gateway");
  uint32_t number = (uint32_t)json_integer_value(json_object_get(message, "n"));
  if (strcmp(t, "exec.exited") == 0) {
    struct openshelld_exec *exec = find(s, json_string_value(json_object_get(message, "execId")));
    if (!exec) return false;
    exec->exited = true;
    exec->code = (int)json_integer_value(json_object_get(message, "code"));
    exec->signal = (int)json_integer_value(json_object_get(message, "signal"));
    tell_end(s, exec);
    return true;
  }
  struct openshelld_exec *exec = s->execs;
  while (exec && exec->number != number) exec = exec->next;
  if (!exec) return false;
  if (strcmp(t, "exec.started") == 0) {
    exec->pid = (int)json_integer_value(json_object_get(message, "pid"));
    exec->started = true;
    if (gateway && exec->request) reply_ok(gateway, exec->request, json_pack("{s:s,s:i}", "execId", exec->id, "pid", exec->pid), exec->fds, exec->count);
    exec->request = 0;
    close_all(exec->fds, exec->count);
    exec->count = 0;
  } else if (strcmp(t, "exec.failed") == 0) {
    int error = (int)json_integer_value(json_object_get(message, "errno"));
    if (gateway && exec->request) reply_error(gateway, exec->request, error == ENOENT ? "not-found" : "exec", "the command could not be started: %s", strerror(error));
    forget(s, exec);
  } else {
    return false;
  }
  return true;
}

void execs_adopt(struct sandbox *s, json_t *list) {
  size_t i;
  json_t *one;
  json_array_foreach(list, i, one) {
    const char *id = json_string_value(json_object_get(one, "execId"));
    struct openshelld_exec *exec = id && !find(s, id) ? calloc(1, sizeof *exec) : NULL;
    if (!exec) continue;
    text_format(exec->id, sizeof exec->id, "%s", id);
    exec->pid = (int)json_integer_value(json_object_get(one, "pid"));
    exec->started = true;
    exec->exited = json_is_true(json_object_get(one, "exited"));
    exec->code = (int)json_integer_value(json_object_get(one, "code"));
    exec->signal = (int)json_integer_value(json_object_get(one, "signal"));
    exec->next = s->execs;
    s->execs = exec;
  }
}

json_t *execs_names(const struct sandbox *s) {
  json_t *list = json_array();
  for (const struct openshelld_exec *e = s->execs; e; e = e->next)
    if (e->started) json_array_append_new(list, json_string(e->id));
  return list;
}

void execs_drop(struct sandbox *s) {
  struct service *gateway = service_find("gateway");
  for (struct openshelld_exec *e = s->execs; e; e = s->execs) {
    if (gateway && e->request) reply_error(gateway, e->request, "no-sandbox", "the sandbox ended");
    else if (e->started) {
      /* Nothing outlives its sandbox. */
      if (!e->exited) e->signal = SIGKILL;
      e->exited = true;
      e->left = false;
      tell_end(s, e);
      if (s->execs != e) continue;
    }
    forget(s, e);
  }
  while (s->asked) {
    struct openshelld_asked *asked = s->asked;
    s->asked = asked->next;
    if (gateway && asked->request) reply_error(gateway, asked->request, "no-sandbox", "the sandbox ended");
    free(asked);
  }
}
