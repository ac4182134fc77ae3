/* The channel to each shim: started with a plan, or found again after a restart of openshelld. */
#include "lsm_holds.h"
#include "holds_starts.h"
#include "openshelld_lsm.h"
#include "openshelld_alone.h"
#include "launch.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_refusals.h"
#include "seen_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void channel_ready(struct watch *watch, uint32_t events);

void shim_say(struct sandbox *s, json_t *message, const int *fds, int count) {
  (void)channel_send_json(&s->channel, message, fds, count);
  if (s->channel.first) loop_change(&s->watch, EPOLLIN | EPOLLOUT);
}

static size_t size_of(const json_t *value) { return value ? json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) : 0; }

size_t shim_rules_size(const json_t *from) {
  return size_of(json_object_get(from, "escalate")) + size_of(json_object_get(from, "locks")) + size_of(json_object_get(from, "lsm")) + size_of(json_object_get(from, "recordRules"));
}

uint32_t shim_ask(struct sandbox *s, json_int_t request, const char *exec) {
  struct openshelld_asked *asked = calloc(1, sizeof *asked);
  uint32_t number = ++s->next_number;
  if (!asked) return number;
  asked->number = number;
  asked->request = request;
  text_format(asked->exec, sizeof asked->exec, "%s", exec);
  asked->next = s->asked;
  s->asked = asked;
  return number;
}

/* The descriptor of the memory shared with the shim is for the caller. */
static int take_fds(struct sandbox *s, json_t *message, struct packet *packet) {
  int calls = -1;
  size_t i;
  json_t *name;
  json_array_foreach(json_object_get(message, "fds"), i, name) {
    const char *what = json_string_value(name);
    if (!what || (int)i >= packet->count) break;
    int *slot = strcmp(what, "notify") == 0 ? &s->notify : strcmp(what, "tcp") == 0 ? &s->listeners[0] : strcmp(what, "udp") == 0 ? &s->listeners[1] : strcmp(what, "pts") == 0 ? &s->pts : strcmp(what, "root") == 0 ? &s->view.root : strcmp(what, "calls") == 0 ? &calls : NULL;
    if (strcmp(what, "twin") == 0 && s->twin_count < 24) slot = &s->twins[s->twin_count++];
    else if (slot && *slot >= 0) close(*slot);
    if (!slot) continue;
    *slot = packet->fds[i];
    packet->fds[i] = -1;
  }
  return calls;
}

/* Common to `ready` and `hello`. */
static bool know(struct sandbox *s, json_t *message, struct packet *packet) {
  const char *worker = json_string_value(json_object_get(message, "worker"));
  int calls = take_fds(s, message, packet);
  s->init = (pid_t)json_integer_value(json_object_get(message, "init"));
  s->shim = (pid_t)json_integer_value(json_object_get(message, "shim"));
  s->uid = (uid_t)json_integer_value(json_object_get(message, "uid"));
  s->attached = (pid_t)json_integer_value(json_object_get(message, "workerPid"));
  text_format(s->worker, sizeof s->worker, "%s", worker ? worker : "");
  s->view = (struct view){.root = s->view.root, .whole = -1, .uid = s->uid, .gid = launch_rootless() ? getegid() : (gid_t)s->uid};
  s->asks = json_is_true(json_object_get(message, "asks"));
  bool locked = locks_take(&s->view, json_object_get(message, "locks"), s->twins, s->twin_count);
  s->twin_count = 0;
  s->locks_size = size_of(json_object_get(message, "locks"));
  s->view.monitor = json_is_true(json_object_get(message, "monitor"));
  s->view.no_tcp = json_is_true(json_object_get(message, "noTcp"));
  if (holds_prepare(s, json_object_get(message, "escalate"), calls) < 0 || s->view.root < 0 || !locked) return false;
  bool seen = watch_begin(s->uid, s->id, s->init, s->plan, s->asks);
  watch_rules(s->id, json_object_get(message, "recordRules"));
  json_decref(s->plan);
  s->plan = NULL;
  refusals_begin();
  if (!seen) event_emit("kernelActivity", 99, 3, s->id, "openshelld", NULL, NULL, "The system calls of this sandbox are not seen or counted");
  return true;
}

static void ready(struct sandbox *s, json_t *message, struct packet *packet) {
  struct service *gateway = service_find("gateway");
  timer_stop(&s->patience);
  char err[300] = "";
  bool known = know(s, message, packet);
  if (!known) text_format(err, sizeof err, "the sandbox's view cannot be opened: %s", strerror(errno));
  if (!known || lsm_begin(s, json_object_get(message, "lsm"), err, sizeof err) < 0 || holds_start(s) < 0) {
    log_line("sandbox %s was not made: %s", s->id, err);
    if (gateway && s->create_request) reply_error(gateway, s->create_request, "internal", "%s", err[0] ? err : strerror(errno));
    s->create_request = 0;
    sandbox_gone(s, NULL);
    return;
  }
  if (s->state == SANDBOX_ENDING) return;
  s->state = SANDBOX_READY;
  s->synced = true;
  if (!s->create_request) {
    /* The gateway that asked is gone, and the next one does not know of it. */
    s->state = SANDBOX_ENDING;
    shim_say(s, json_pack("{s:s}", "t", "destroy"), NULL, 0);
    return;
  }
  log_line("sandbox %s runs: init %d uid %u worker %s", s->id, s->init, s->uid, s->worker);
  event_emit("applicationLifecycle", 3, 1, s->id, "openshelld", NULL, json_pack("{s:O,s:O}", "probe", json_object_get(message, "probe"), "phases", json_object_get(message, "phases")), "The sandbox was made and its enforcement proven");
  sandbox_attach(s);
  if (gateway && s->create_request)
    reply_ok(gateway, s->create_request, json_pack("{s:s,s:i,s:I,s:O,s:O}", "sandbox", s->id, "init", (int)s->init, "uid", (json_int_t)s->uid, "probe", json_object_get(message, "probe"), "phases", json_object_get(message, "phases")), NULL, 0);
  s->create_request = 0;
}

static void failed(struct sandbox *s, json_t *message) {
  struct service *gateway = service_find("gateway");
  const char *code = json_string_value(json_object_get(message, "code")), *error = json_string_value(json_object_get(message, "error"));
  log_line("sandbox %s was not made: %s: %s", s->id, code ? code : "?", error ? error : "?");
  event_emit("applicationLifecycle", 3, 4, s->id, "openshelld", NULL, json_pack("{s:s}", "code", code ? code : "internal"), "The sandbox could not be made: %s", error ? error : "?");
  if (gateway && s->create_request) reply_error(gateway, s->create_request, code ? code : "internal", "%s", error ? error : "unknown");
  s->create_request = 0;
  sandbox_gone(s, NULL);
}

static void refused(struct sandbox *s, json_t *message) {
  const char *name;
  json_t *count;
  json_object_foreach(json_object_get(message, "counts"), name, count) {
    event_emit("kernelActivity", 99, 3, s->id, "seccomp", "deny", json_pack("{s:s,s:O}", "syscall", name, "count", count), "The system call %s was refused %lld times", name, (long long)json_integer_value(count));
  }
}

/* resources.maxDisk of a workspace that is written directly. */
static void disk(struct sandbox *s, json_t *message) {
  const char *state = json_string_value(json_object_get(message, "state")), *why = json_string_value(json_object_get(message, "why"));
  long long used = json_integer_value(json_object_get(message, "used")), limit = json_integer_value(json_object_get(message, "limit"));
  if (!state || !why) return;
  bool room = strcmp(state, "room") == 0;
  json_t *data = json_pack("{s:s,s:s,s:I,s:I}", "limit", "resources.maxDisk", "state", state, "bytes", (json_int_t)used, "allowed", (json_int_t)limit);
  if (room) event_emit("fileActivity", 99, 1, s->id, "openshelld", "allow", data, "The sandbox goes on: its workspace is %lld bytes larger than at the start, %lld are allowed (resources.maxDisk)", used, limit);
  else if (strcmp(state, "stuck") == 0) event_emit("fileActivity", 99, 4, s->id, "openshelld", "deny", data, "What ran in the sandbox was killed: it went on writing while it was stopped (resources.maxDisk)");
  else if (strcmp(state, "lost") == 0 || why[0]) event_emit("fileActivity", 99, 4, s->id, "openshelld", "deny", data, "Everything in the sandbox was stopped: its workspace cannot be counted (resources.maxDisk): %s", why[0] ? why : "what counted has ended");
  else event_emit("fileActivity", 99, 3, s->id, "openshelld", "deny", data, "Everything in the sandbox was stopped: its workspace is %lld bytes larger than at the start, %lld are allowed (resources.maxDisk). It goes on when there is less, or ends with the sandbox", used, limit);
}

static void answered(struct sandbox *s, json_t *message, struct packet *packet) {
  struct service *gateway = service_find("gateway");
  uint32_t number = (uint32_t)json_integer_value(json_object_get(message, "n"));
  for (struct openshelld_asked **link = &s->asked; *link; link = &(*link)->next) {
    struct openshelld_asked *asked = *link;
    if (asked->number != number) continue;
    *link = asked->next;
    bool ok = json_is_true(json_object_get(message, "ok"));
    if (gateway && asked->request && !ok) reply_error(gateway, asked->request, asked->exec[0] ? "no-exec" : "host", "%s", asked->exec[0] ? "no such command runs" : "the host cannot freeze");
    else if (gateway && asked->request && asked->exec[0]) reply_ok(gateway, asked->request, json_pack("{s:s,s:O}", "execId", asked->exec, "pid", json_object_get(message, "pid")), packet->fds, packet->count);
    else if (gateway && asked->request) reply_ok(gateway, asked->request, json_object(), NULL, 0);
    free(asked);
    return;
  }
}

static void message_from(struct sandbox *s, json_t *message, struct packet *packet) {
  const char *t = json_string_value(json_object_get(message, "t"));
  if (!t) return;
  if (strcmp(t, "ready") == 0) ready(s, message, packet);
  else if (strcmp(t, "failed") == 0) failed(s, message);
  else if (strcmp(t, "hello") == 0) {
    char err[300] = "";
    if (know(s, message, packet)) {
      if (lsm_begin(s, json_object_get(message, "lsm"), err, sizeof err) < 0) {
        log_line("the rules of %s are not in force: %s", s->id, err);
        sandbox_gone(s, "its rules could not be put in force again");
        return;
      }
      execs_adopt(s, json_object_get(message, "execs"));
      log_line("sandbox %s found again: init %d", s->id, s->init);
    }
  } else if (strcmp(t, "synced") == 0) {
    s->synced = true;
    if (holds_start(s) < 0) log_line("the calls of %s cannot be answered: %s", s->id, strerror(errno));
    sandbox_attach(s);
    struct service *gateway = service_find("gateway");
    if (gateway && gateway->hello) sandboxes_tell_inventory();
  } else if (strcmp(t, "lsm.held") == 0) lsm_holds_adopt(s, json_object_get(message, "record"));
  else if (strcmp(t, "held") == 0) holds_adopt(s, message, packet);
  else if (strcmp(t, "ended") == 0) holds_ended(s, (uint64_t)json_integer_value(json_object_get(message, "nid")), json_string_value(json_object_get(message, "why")) ? json_string_value(json_object_get(message, "why")) : "agent-gone");
  else if (strcmp(t, "refused") == 0) refused(s, message);
  else if (strcmp(t, "overtime") == 0) {
    long long ms = json_integer_value(json_object_get(message, "ms"));
    event_emit("processActivity", 2, 3, s->id, "openshelld", "deny", json_pack("{s:s,s:I}", "limit", "resources.timeout", "ms", (json_int_t)ms), "Everything in the sandbox was ended: it ran longer than %lld ms (resources.timeout)", ms);
    shim_say(s, json_pack("{s:s}", "t", "overtime.taken"), NULL, 0);
  }
  else if (strcmp(t, "disk") == 0) disk(s, message);
  else if (strcmp(t, "answer") == 0) answered(s, message, packet);
  else if (strcmp(t, "gone") == 0) {
    const char *why = json_string_value(json_object_get(message, "why"));
    sandbox_gone(s, s->state == SANDBOX_ENDING ? NULL : why ? why : "unknown");
  } else if (!starts_message(s, t, message, packet)) (void)execs_message(s, t, message);
}

static void channel_ready(struct watch *watch, uint32_t events) {
  struct sandbox *s = container_of(watch, struct sandbox, watch);
  struct packet packet;
  if (events & EPOLLOUT) {
    (void)channel_flush(&s->channel);
    if (!s->channel.first) loop_change(watch, EPOLLIN);
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  int got = packet_receive(watch->fd, &packet);
  if (got == 0) return;
  if (got < 0) {
    struct service *gateway = service_find("gateway");
    if (gateway && s->create_request) reply_error(gateway, s->create_request, "internal", "the shim ended before the sandbox was ready");
    s->create_request = 0;
    sandbox_gone(s, s->state == SANDBOX_READY ? "its shim ended" : NULL);
    return;
  }
  json_t *message = json_loadb(packet.data, packet.length, 0, NULL);
  message_from(s, message, &packet);
  json_decref(message);
  packet_close_fds(&packet);
}

int shim_start(struct sandbox *s, json_t *launch, int workspace) {
  int ends[2];
  if (channel_pair(ends) < 0) {
    json_decref(launch);
    return -1;
  }
  /* Above 3, so that dup2 to 3 always makes a new descriptor without close-on-exec. */
  int high = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
  close(ends[1]);
  pid_t pid = high < 0 ? -1 : fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    (void)setpriority(PRIO_PROCESS, 0, 0);
    if (dup2(high, 3) < 0 || syscall(SYS_close_range, 4U, ~0U, 0U) < 0) _exit(126);
    char *argv[] = {"openshell-shim", NULL}, *env[] = {NULL};
    execve(config.shim, argv, env);
    _exit(127);
  }
  int saved = errno;
  if (high >= 0) close(high);
  channel_init(&s->channel, ends[0]);
  s->shim = pid;
  s->child = pid > 0;
  if (config.alone && pid > 0) {
    s->uid = alone_uid(pid);
    (void)json_object_set_new(launch, "uid", json_integer((json_int_t)s->uid));
  }
  errno = saved;
  if (pid < 0) {
    json_decref(launch);
    return -1;
  }
  if (loop_add(&s->watch, ends[0], EPOLLIN, channel_ready) < 0) {
    json_decref(launch);
    return -1;
  }
  shim_say(s, launch, (int[]){workspace, s->manifest, s->layer, s->layer_lock}, workspace < 0 ? 0 : s->layer < 0 ? 2 : s->layer_lock < 0 ? 3 : 4);
  if (s->layer >= 0) close(s->layer);
  s->layer = -1;
  return 0;
}

int shim_connect(struct sandbox *s, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!text_format(address.sun_path, sizeof address.sun_path, "%s", path)) return -1;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  channel_make_room(fd);
  channel_init(&s->channel, fd);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
  return loop_add(&s->watch, fd, EPOLLIN, channel_ready);
}
