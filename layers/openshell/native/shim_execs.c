/* Commands in the sandbox: forwarded to init, outputs and ends kept until openshelld has them. */
#include "init.h"
#include "openshelld_text.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define STRINGS_MAX 4096

static struct shim_exec *find(const char *id) {
  for (struct shim_exec *e = shim.execs; e; e = e->next)
    if (id && strcmp(e->id, id) == 0) return e;
  return NULL;
}

static void forget(struct shim_exec *exec) {
  for (struct shim_exec **link = &shim.execs; *link; link = &(*link)->next)
    if (*link == exec) {
      *link = exec->next;
      for (int i = 0; i < 2; i++)
        if (exec->kept[i] >= 0) close(exec->kept[i]);
      free(exec);
      return;
    }
}

static char **strings(json_t *list) {
  size_t count = json_array_size(list);
  char **out = count <= STRINGS_MAX ? calloc(count + 1, sizeof *out) : NULL;
  for (size_t i = 0; out && i < count; i++) {
    const char *text = json_string_value(json_array_get(list, i));
    out[i] = (char *)(text ? text : "");
  }
  return out;
}

void shim_exec(json_t *message, struct packet *packet) {
  const char *id = json_string_value(json_object_get(message, "execId")), *cwd = json_string_value(json_object_get(message, "cwd"));
  bool tty = json_is_true(json_object_get(message, "tty"));
  int asked = (int)json_integer_value(json_object_get(message, "n")), error = EINVAL;
  char **argv = strings(json_object_get(message, "argv")), **env = strings(json_object_get(message, "env"));
  struct shim_exec *exec = calloc(1, sizeof *exec);
  if (shim_disk_full()) error = EDQUOT; /* init stands still as well */
  else if (exec && argv && env && argv[0] && id && cwd && packet->count == (tty ? 2 : 5) && !find(id)) {
    int fds[3];
    for (int i = 0; i < 3; i++) fds[i] = packet->fds[tty ? 0 : i];
    exec->number = ++shim.next_exec;
    if (init_send_exec(shim.sandbox.exec_fd, exec->number, argv, env, cwd, tty ? INIT_TTY : 0, fds) == 0) {
      text_format(exec->id, sizeof exec->id, "%s", id);
      exec->asked = (uint32_t)asked;
      exec->tty = tty;
      exec->kept[0] = packet->fds[tty ? 1 : 3];
      exec->kept[1] = tty ? -1 : packet->fds[4];
      packet->fds[tty ? 1 : 3] = -1;
      if (!tty) packet->fds[4] = -1;
      exec->next = shim.execs;
      shim.execs = exec;
      shim_timeout_started();
      exec = NULL;
      error = 0;
    } else {
      error = errno;
    }
  }
  free(exec);
  free(argv);
  free(env);
  if (error) shim_tell(json_pack("{s:s,s:i,s:i}", "t", "exec.failed", "n", asked, "errno", error), NULL, 0);
}

bool shim_exec_message(const char *t, json_t *message) {
  struct shim_exec *exec = find(json_string_value(json_object_get(message, "execId")));
  if (strcmp(t, "exec.fds") == 0) {
    int count = !exec ? 0 : exec->tty ? 1 : 2;
    shim_tell(json_pack("{s:s,s:O,s:b,s:i}", "t", "answer", "n", json_object_get(message, "n"), "ok", exec != NULL, "pid", exec ? exec->pid : 0), exec ? exec->kept : NULL, count);
  } else if (!exec) {
    return false;
  } else if (strcmp(t, "exec.signal") == 0) {
    (void)init_send_signal(shim.sandbox.exec_fd, exec->number, (int)json_integer_value(json_object_get(message, "signal")));
  } else if (strcmp(t, "exec.resize") == 0) {
    struct winsize size = {.ws_row = (unsigned short)json_integer_value(json_object_get(message, "rows")), .ws_col = (unsigned short)json_integer_value(json_object_get(message, "cols"))};
    if (exec->tty) (void)ioctl(exec->kept[0], TIOCSWINSZ, &size);
  } else if (strcmp(t, "exec.done") == 0) {
    forget(exec);
  } else {
    return false;
  }
  return true;
}

static json_t *end_of(const struct shim_exec *exec) {
  return json_pack("{s:s,s:s,s:i,s:i}", "t", "exec.exited", "execId", exec->id, "code", exec->code, "signal", exec->signal);
}

void shim_init_ready(void) {
  struct init_event event;
  int got = init_receive(shim.sandbox.exec_fd, &event);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    shim.over = true;
    shim.why = got == 0 ? "init ended" : "init broke its protocol";
    return;
  }
  if (event.kind == INIT_QUIET) {
    shim_timeout_quiet();
    return;
  }
  struct shim_exec *exec = shim.execs;
  while (exec && exec->number != event.id) exec = exec->next;
  if (!exec) return;
  if (event.kind == INIT_STARTED) {
    exec->pid = event.pid;
    exec->started = true;
    shim_tell(json_pack("{s:s,s:i,s:i}", "t", "exec.started", "n", (int)exec->asked, "pid", event.pid), NULL, 0);
  } else if (event.kind == INIT_FAILED) {
    shim_tell(json_pack("{s:s,s:i,s:i}", "t", "exec.failed", "n", (int)exec->asked, "errno", event.error), NULL, 0);
    forget(exec);
  } else if (event.kind == INIT_EXITED) {
    exec->exited = true;
    exec->code = event.code;
    exec->signal = event.signal;
    shim_calls_report(); /* what it was refused stands on record before its end is known */
    shim_tell(end_of(exec), NULL, 0);
  }
}

json_t *shim_execs(void) {
  json_t *list = json_array();
  for (struct shim_exec *e = shim.execs; e; e = e->next)
    json_array_append_new(list, json_pack("{s:s,s:i,s:b,s:b,s:i,s:i}", "execId", e->id, "pid", e->pid, "tty", e->tty, "exited", e->exited, "code", e->code, "signal", e->signal));
  return list;
}
