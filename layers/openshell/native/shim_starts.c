/* Answers the kernel's questions about programs that a person decides on. What no rule names goes on at once; what nobody answers is denied. */
#include "shim_starts.h"
#include "shim_starts_mounts.h"
#include "shim_starts_rules.h"
#include "openshelld_text.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAITING_MAX 64
#define CHECK_EVERY_MS 500
#define EVENTS_AT_ONCE 64
/* How long somebody outside may have moved a file to a name that a rule has, before it is asked about. */
#define LET_BE_MS 1000

/* A caller that waits. The kernel knows its question by the number of the descriptor, which must stay open until the answer. */
struct start {
  struct start *next;
  json_int_t n;
  int fd, tid, rule;
  int64_t deadline;
  bool told; /* an openshelld has heard of it */
};

static struct start *starts;
static int group = -1;
static json_int_t last;
static int64_t next_check;
static int64_t ask_again; /* CLOCK_BOOTTIME ms; 0: no file is let be */

int shim_starts_open(char *err, size_t size) {
  struct starts_mounts mounts = {.init = shim.sandbox.init, .root = shim.sandbox.root_fd};
  if (json_is_object(shim.lsm) && !shim.monitor) return 0; /* there the kernel's program asks */
  int count = starts_rules_read(shim.escalate, shim.sandbox.root_fd);
  if (count == 0) return 0;
  if (count < 0) {
    text_format(err, size, "more rules on starting programs than can be kept");
    return -1;
  }
  /* An unlimited queue: the kernel lets pass what does not fit into a limited one. Not blocking: no descriptor of an event makes us wait. */
  group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_REPORT_TID, O_RDONLY | O_CLOEXEC | O_LARGEFILE | O_NONBLOCK);
  if (group < 0) {
    text_format(err, size, "the start of programs cannot be asked about: fanotify_init: %s", strerror(errno));
    return -1;
  }
  return starts_mark(group, &mounts, err, size);
}

/* The kernel lets every waiting caller go on when the last descriptor of the group closes, so that it must not close before they are dead. */
static _Noreturn void keep(int alive) {
  struct pollfd wait[2] = {{shim.sandbox.pidfd, POLLIN, 0}, {alive, POLLIN, 0}};
  while (poll(wait, 2, -1) < 0 || !wait[0].revents) {
    if (!wait[1].revents) continue;
    (void)syscall(SYS_pidfd_send_signal, shim.sandbox.pidfd, SIGKILL, NULL, 0);
    wait[1].fd = -1;
    wait[1].revents = 0;
  }
  _exit(0);
}

int shim_starts_keep(void) {
  int ends[2];
  if (group < 0) return 0;
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  pid_t pid = fork();
  if (pid == 0) {
    /* Nothing of the shim's may live longer by us: its end is what its sockets tell. */
    int kept[3] = {shim.sandbox.pidfd, group, ends[0]}, from = 0;
    for (int i = 0; i < 3; i++)
      for (int k = i + 1; k < 3; k++)
        if (kept[k] < kept[i]) {
          int other = kept[i];
          kept[i] = kept[k];
          kept[k] = other;
        }
    for (int i = 0; i <= 3; i++) {
      unsigned to = i < 3 ? (unsigned)kept[i] - 1 : ~0U;
      if ((unsigned)from <= to && syscall(SYS_close_range, (unsigned)from, to, 0U) < 0) _exit(1);
      if (i < 3) from = kept[i] + 1;
    }
    (void)setsid();
    (void)prctl(PR_SET_NAME, "openshell-keep", 0, 0, 0);
    keep(ends[0]);
  }
  close(ends[0]); /* the other end closes with us */
  return pid < 0 ? -1 : 0;
}

int shim_starts_fd(void) { return group; }

static void answer(int fd, bool allow) {
  struct fanotify_response response = {.fd = fd, .response = allow ? FAN_ALLOW : FAN_DENY};
  /* ENOENT: the caller died meanwhile. */
  while (write(group, &response, sizeof response) < 0 && errno == EINTR) continue;
  close(fd);
}

/* What openshelld does for an agent it was allowed to do before. */
static bool is_openshelld(int tid) {
  struct ucred who;
  socklen_t size = sizeof who;
  char path[64];
  if (shim.daemon.fd < 0 || getsockopt(shim.daemon.fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0) return false;
  text_format(path, sizeof path, "/proc/%d/task/%d", (int)who.pid, tid);
  return access(path, F_OK) == 0;
}

static void tell(struct start *s) {
  if (shim.daemon.fd < 0) return;
  shim_tell(json_pack("{s:s,s:I,s:i,s:i,s:I,s:b}", "t", "start.held", "n", s->n, "tid", s->tid, "rule", s->rule, "deadline", (json_int_t)s->deadline, "again", s->told), &s->fd, 1);
  s->told = true;
}

static void hold(int fd, int tid, int rule) {
  int waiting = 0;
  for (const struct start *s = starts; s; s = s->next) waiting++;
  struct start *s = waiting < WAITING_MAX ? calloc(1, sizeof *s) : NULL;
  if (!s) {
    answer(fd, false);
    return;
  }
  *s = (struct start){.next = starts, .n = ++last, .fd = fd, .tid = tid, .rule = rule, .deadline = shim_clock() + shim.hold_ms};
  starts = s;
  next_check = 0;
  tell(s);
}

static void decide(const struct fanotify_event_metadata *event) {
  int rule = starts_rule_of(event->fd);
  if (rule == STARTS_UNKNOWN) answer(event->fd, false);
  else if (rule < 0) {
    if (starts_let_be(group, event->fd) && ask_again == 0) ask_again = shim_clock() + LET_BE_MS;
    answer(event->fd, true);
  } else if (is_openshelld(event->pid)) answer(event->fd, true);
  else if (shim.monitor) {
    shim_tell(json_pack("{s:s,s:i,s:i}", "t", "start.would", "tid", event->pid, "rule", rule), &event->fd, 1);
    answer(event->fd, true);
  } else hold(event->fd, event->pid, rule);
}

void shim_starts_ready(void) {
  _Alignas(struct fanotify_event_metadata) char buffer[EVENTS_AT_ONCE * sizeof(struct fanotify_event_metadata)];
  ssize_t length = read(group, buffer, sizeof buffer);
  for (const struct fanotify_event_metadata *event = (const void *)buffer; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
    if (event->vers != FANOTIFY_METADATA_VERSION) abort(); /* the keeper then ends the sandbox */
    if (event->fd >= 0) decide(event);
  }
}

static void end(struct start **link, const char *why, bool allow) {
  struct start *s = *link;
  *link = s->next;
  answer(s->fd, allow);
  shim_tell(json_pack("{s:s,s:I,s:s}", "t", "start.ended", "n", s->n, "why", why), NULL, 0);
  free(s);
}

void shim_starts_tick(void) {
  int64_t now = shim_clock();
  if (ask_again && now >= ask_again) {
    starts_ask_again(group);
    ask_again = 0;
  }
  if (!starts || now < next_check) return;
  next_check = now + CHECK_EVERY_MS;
  for (struct start **link = &starts; *link;) {
    char path[40];
    text_format(path, sizeof path, "/proc/%d", (*link)->tid);
    bool late = now >= (*link)->deadline;
    if (late || access(path, F_OK) < 0) end(link, late ? "timeout" : "agent-gone", false);
    else link = &(*link)->next;
  }
  for (const struct start *s = starts; s; s = s->next)
    if (s->deadline < next_check) next_check = s->deadline;
}

int shim_starts_wait(int most) {
  if (!starts && !ask_again) return most;
  int64_t left = (!starts || (ask_again && ask_again < next_check) ? ask_again : next_check) - shim_clock();
  int wait = left < 0 ? 0 : (int)left + 1;
  return most >= 0 && most < wait ? most : wait;
}

void shim_starts_resend(void) {
  shim_starts_tick();
  for (struct start *s = starts; s; s = s->next) tell(s);
}

bool shim_starts_message(const char *t, json_t *message) {
  if (strcmp(t, "start.answer") != 0) return false;
  json_int_t n = json_integer_value(json_object_get(message, "n"));
  struct start **link = &starts;
  while (*link && (*link)->n != n) link = &(*link)->next;
  if (!*link) return true;
  bool allow = json_is_true(json_object_get(message, "allow")) && shim_clock() < (*link)->deadline;
  end(link, allow ? "performed" : shim_clock() < (*link)->deadline ? "denied" : "timeout", allow);
  return true;
}

bool shim_rules_by_calls(json_t *escalate) {
  size_t i, k;
  json_t *rule, *on;
  json_array_foreach(escalate, i, rule) {
    json_array_foreach(json_object_get(rule, "on"), k, on) {
      const char *word = json_string_value(on);
      if (!word || strcmp(word, "exec") != 0) return true;
    }
  }
  return false;
}
