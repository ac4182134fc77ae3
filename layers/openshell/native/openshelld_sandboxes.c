/* The table of sandboxes and what the gateway asks of them. */
#include "lsm_holds.h"
#include "holds_starts.h"
#include "lsm_kernel.h"
#include "openshelld_lsm.h"
#include "openshelld_descriptors.h"
#include "openshelld_devices.h"
#include "cgroup.h"
#include "openshelld_alone.h"
#include "openshelld_layers.h"
#include "openshelld_release.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_refusals.h"
#include "seen_watch.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREATE_PATIENCE_MS 20000
#define DESTROY_PATIENCE_MS 3000
#define SYNC_PATIENCE_MS 1000
#define ENDS_PATIENCE_MS 1000 /* in which a gateway that has come takes up the outputs of commands that ended meanwhile */
#define INVENTORY_HOLDS 16 /* two paths of 4 KiB each at most, escaped */

struct sandbox *sandboxes;
static bool inventory_due;
static struct timer sync_patience, stop_patience, ends_patience;
static void (*when_none_left)(void);
static uid_t next_uid;
static pid_t ended_shims[1024];

struct sandbox *sandbox_find(const char *id) {
  for (struct sandbox *s = sandboxes; s; s = s->next)
    if (id && strcmp(s->id, id) == 0) return s;
  return NULL;
}

bool sandbox_of_worker(const struct sandbox *s, const struct service *worker) {
  return s && s->state == SANDBOX_READY && s->listeners[0] >= 0 && s->attached == worker->pid;
}

static struct sandbox *make(const char *id) {
  struct sandbox *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  text_format(s->id, sizeof s->id, "%s", id);
  s->notify = s->listeners[0] = s->listeners[1] = s->pts = s->view.root = s->view.whole = s->channel.fd = s->watch.fd = s->manifest = s->layer = s->layer_lock = -1;
  s->next = sandboxes;
  sandboxes = s;
  return s;
}

/* A number that no sandbox has now, and the one least recently used, so that files of a gone one stay nobody's for long. */
static uid_t free_uid(void) {
  if (config.alone) return alone_uid(0); /* the shim's number, once it has one */
  for (uid_t i = 0; i < config.agent_count; i++) {
    uid_t uid = config.agent_first + (next_uid + i) % config.agent_count;
    bool taken = false;
    for (struct sandbox *s = sandboxes; s && !taken; s = s->next) taken = s->uid == uid;
    if (taken) continue;
    next_uid = (next_uid + i + 1) % config.agent_count;
    return uid;
  }
  return 0;
}

static bool good_id(const char *id) {
  size_t n = strlen(id);
  for (const char *p = id; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("-_.", *p)) return false;
  return n > 0 && n <= 64 && id[0] != '.';
}

static void create_late(struct timer *timer) {
  struct sandbox *s = container_of(timer, struct sandbox, patience);
  struct service *gateway = service_find("gateway");
  if (gateway && s->create_request) reply_error(gateway, s->create_request, "timeout", "the sandbox was not ready in %d s", CREATE_PATIENCE_MS / 1000);
  s->create_request = 0;
  sandbox_gone(s, NULL);
}

void asked_create(struct service *service, json_t *message, json_int_t id) {
  const char *name = NULL, *registration = NULL, *worker = NULL;
  char path[128], err[400] = "";
  json_t *plan = NULL;
  int count = 0, used;
  if (json_unpack(message, "{s:s,s:o,s:s,s:s}", "sandbox", &name, "plan", &plan, "registration", &registration, "worker", &worker) < 0 || !good_id(name) || !json_is_object(plan)) {
    reply_error(service, id, "protocol", "sandbox.create needs a sandbox id, a plan, a registration and a worker");
    return;
  }
  for (struct sandbox *s = sandboxes; s; s = s->next) count++;
  const struct registration *workspace = registration[0] ? registry_find(registration) : NULL;
  struct service *owner = service_find(worker);
  if (sandbox_find(name)) reply_error(service, id, "exists", "there is already a sandbox %s", name);
  else if (count >= config.max_sandboxes) reply_error(service, id, "full", "this host allows %d sandboxes", config.max_sandboxes);
  else if (!descriptors_suffice(&used)) reply_error(service, id, "full", "openshelld has %d files open and may have %d (RLIMIT_NOFILE): there is no room for another sandbox", used, descriptors_most());
  else if (registration[0] && !workspace) reply_error(service, id, "registration", "no workspace is registered as %s", registration);
  else if (registration[0] && release_first(service, message, id, registration)) return;
  else if (worker[0] && (!owner || owner->role != ROLE_WORKER)) reply_error(service, id, "worker", "there is no worker %s", worker);
  else if (!text_format(path, sizeof path - 20, config.alone ? "" : "%s/shims/%s.sock", config.run, name)) reply_error(service, id, "protocol", "the name is too long for a socket");
  else {
    struct sandbox *s = make(name);
    uid_t uid = s ? free_uid() : 0;
    json_t *roots = json_array();
    for (int i = 0; config.bind_roots[i]; i++) json_array_append_new(roots, json_string(config.bind_roots[i]));
    json_t *launch = json_pack("{s:s,s:s,s:I,s:O,s:s,s:s,s:I,s:o,s:o,s:b,s:b,s:I,s:I,s:{s:I,s:I,s:I},s:s}", "t", "launch", "sandbox", name, "uid", (json_int_t)uid, "plan", plan, "instance", config.instance, "worker", worker, "holdMs",
                               (json_int_t)config.hold_ms, "bindRoots", roots, "devices", devices_found(), "testing", config.testing, "alone", config.alone, "workspaceUid", (json_int_t)(workspace ? workspace->uid : 0), "workspaceGid",
                               (json_int_t)(workspace ? workspace->gid : 0), "limits", "memoryBytes", (json_int_t)config.memory_bytes, "pids", (json_int_t)config.pids, "cpuMillis", (json_int_t)config.cpu_millis, "socket", path);
    if (s) {
      s->uid = uid;
      s->create_request = id;
      s->plan = json_incref(plan);
      text_format(s->worker, sizeof s->worker, "%s", worker);
    }
    if (s && workspace) {
      text_format(s->registration, sizeof s->registration, "%s", registration);
      json_object_set_new(launch, "owner", release_owner(s, workspace));
    }
    if (!s || uid == 0 || !launch || (workspace && (release_prepare(s) < 0 || layer_prepare(s, plan, launch, workspace, err, sizeof err) < 0)) || shim_start(s, launch, workspace ? workspace->fd : -1) < 0) {
      if (err[0]) reply_error(service, id, "host", "%s", err);
      else reply_error(service, id, "internal", "the shim cannot be started: %s", uid == 0 ? "no uid is free" : strerror(errno));
      if (s) s->create_request = 0;
      if (s) sandbox_gone(s, NULL);
      return;
    }
    timer_set(&s->patience, CREATE_PATIENCE_MS, create_late);
  }
}

void sandbox_attach(struct sandbox *s) {
  struct service *worker = service_find(s->worker);
  if (s->state != SANDBOX_READY || s->listeners[0] < 0 || !worker || !worker->hello || worker->pid <= 0 || s->attached == worker->pid) return;
  if (service_send(worker, json_pack("{s:s,s:s}", "t", "attach", "sandbox", s->id), s->listeners, 2) < 0) return;
  s->attached = worker->pid;
  /* The shim remembers whom the listeners went to, for the next openshelld. */
  shim_say(s, json_pack("{s:s,s:s,s:i}", "t", "attached", "worker", s->worker, "pid", (int)worker->pid), NULL, 0);
}

void sandboxes_attach_worker(struct service *worker) {
  for (struct sandbox *s = sandboxes; s; s = s->next)
    if (strcmp(s->worker, worker->name) == 0) sandbox_attach(s);
}

void sandboxes_detach_worker(struct service *worker) {
  for (struct sandbox *s = sandboxes; s; s = s->next)
    if (strcmp(s->worker, worker->name) == 0) s->attached = 0;
}

void sandboxes_gateway_gone(void) {
  for (struct sandbox *s = sandboxes; s; s = s->next) {
    s->create_request = s->destroy_request = 0;
    for (struct openshelld_asked *a = s->asked; a; a = a->next) a->request = 0;
    for (struct openshelld_exec *e = s->execs; e; e = e->next) {
      e->request = 0;
      for (int i = 0; i < e->count; i++) close(e->fds[i]);
      e->count = 0;
    }
  }
}

static void close_one(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* Whatever a shim left behind when it did not end by itself. */
static void sweep(const char *id) {
  struct cgroup group;
  char path[160];
  if (cgroup_open(&group, config.instance, id) > 0) {
    (void)cgroup_kill(&group);
    if (cgroup_remove(&group, 200) < 0) log_line("cgroups of %s: %s", id, strerror(errno));
  }
  if (text_format(path, sizeof path, "%s/shims/%s.sock", config.run, id)) (void)unlink(path);
}

static void when_all_gone(struct timer *timer) {
  timer_stop(timer);
  if (when_none_left) when_none_left();
}

/* The last word on what it did. */
static void tell_counts(const struct seen_watch *seen) {
  event_emit("kernelActivity", 99, 1, seen->id, "openshelld", NULL, json_pack("{s:o}", "seen", watch_counts(seen)), "The system calls of this sandbox, counted");
}

void sandbox_gone(struct sandbox *s, const char *why) {
  struct seen_watch *seen = watch_by_id(s->id);
  if (seen) {
    refusals_tell_now();
    tell_counts(seen);
    watch_end(seen);
  }
  json_decref(s->plan);
  for (struct sandbox **link = &sandboxes; *link; link = &(*link)->next)
    if (*link == s) {
      *link = s->next;
      break;
    }
  timer_stop(&s->patience);
  loop_remove(&s->watch);
  channel_close(&s->channel);
  if (s->child && s->shim > 0) {
    kill(s->shim, SIGKILL); /* unreaped, so the number is still its own */
    for (size_t i = 0; i < sizeof ended_shims / sizeof *ended_shims; i++)
      if (ended_shims[i] == 0) {
        ended_shims[i] = s->shim;
        break;
      }
    sandboxes_reap();
  }
  sweep(s->id);
  holds_drop(s);
  starts_drop(s);
  lsm_end(s);
  execs_drop(s);
  struct service *worker = service_find(s->worker);
  if (worker && s->attached) (void)service_send(worker, json_pack("{s:s,s:s}", "t", "detach", "sandbox", s->id), NULL, 0);
  close_one(&s->notify);
  close_one(&s->listeners[0]);
  close_one(&s->listeners[1]);
  close_one(&s->pts);
  close_one(&s->layer_lock);
  view_close(&s->view);
  if (s->state != SANDBOX_STARTING) event_emit("applicationLifecycle", 4, why ? 4 : 1, s->id, "openshelld", NULL, NULL, "The sandbox ended: %s", why ? why : "as asked");
  log_line("sandbox %s ended: %s", s->id, why ? why : "as asked");
  release_begin(s, why);
  json_decref(s->created);
  free(s);
  if (!sandboxes && stop_patience.set) timer_set(&stop_patience, 0, when_all_gone);
}

static void destroy_late(struct timer *timer) {
  struct sandbox *s = container_of(timer, struct sandbox, patience);
  log_line("the shim of %s does not end", s->id);
  sandbox_gone(s, NULL);
}

static struct sandbox *named(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = sandbox_find(json_string_value(json_object_get(message, "sandbox")));
  if (s && s->state == SANDBOX_READY) return s;
  reply_error(service, id, "no-sandbox", "no such sandbox is running");
  return NULL;
}

void asked_destroy(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = named(service, message, id);
  if (!s) return;
  s->state = SANDBOX_ENDING;
  s->destroy_request = id;
  shim_say(s, json_pack("{s:s}", "t", "destroy"), NULL, 0);
  timer_set(&s->patience, DESTROY_PATIENCE_MS, destroy_late);
}

void asked_freeze(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = named(service, message, id);
  if (!s) return;
  shim_say(s, json_pack("{s:s,s:i,s:b}", "t", "freeze", "n", (int)shim_ask(s, id, ""), "frozen", json_is_true(json_object_get(message, "frozen"))), NULL, 0);
}

static void tell_ends(struct timer *timer) {
  timer_stop(timer);
  for (struct sandbox *s = sandboxes; s; s = s->next) execs_tell_ends(s);
}

static void tell_now(struct timer *timer) {
  struct service *gateway = service_find("gateway");
  json_t *list = json_array(), *holds = json_array(), *workers = json_array();
  timer_stop(timer);
  inventory_due = false;
  for (struct sandbox *s = sandboxes; s; s = s->next) {
    if (s->state != SANDBOX_READY) continue;
    json_array_append_new(list, json_pack("{s:s,s:i,s:I,s:o}", "sandbox", s->id, "init", (int)s->init, "uid", (json_int_t)s->uid, "execs", execs_names(s)));
    holds_list(s, holds);
    lsm_holds_list(s, holds);
    starts_list(s, holds);
  }
  for (int i = 0; i < service_count; i++)
    if (services[i].role == ROLE_WORKER) json_array_append_new(workers, json_string(services[i].name));
  /* A packet has an end: what waits beyond the first is told one by one. */
  json_t *rest = json_array();
  while (json_array_size(holds) > INVENTORY_HOLDS) {
    json_array_append(rest, json_array_get(holds, INVENTORY_HOLDS));
    json_array_remove(holds, INVENTORY_HOLDS);
  }
  json_t *message = json_pack("{s:s,s:o,s:o,s:o}", "t", "inventory", "sandboxes", list, "holds", holds, "workers", workers);
  if (gateway && gateway->hello) (void)service_send(gateway, message, NULL, 0);
  else json_decref(message);
  for (size_t i = 0; i < json_array_size(rest); i++) tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", json_array_get(rest, i)), NULL, 0);
  json_decref(rest);
  for (struct sandbox *s = sandboxes; s; s = s->next) execs_left(s);
  timer_set(&ends_patience, ENDS_PATIENCE_MS, tell_ends);
  lsm_forget_others();
}

/* Once every shim has said what it knows, or has had its chance. */
void sandboxes_tell_inventory(void) {
  bool waiting = false;
  for (struct sandbox *s = sandboxes; s; s = s->next) waiting |= !s->synced && s->state != SANDBOX_STARTING;
  if (!waiting) tell_now(&sync_patience);
  else if (!inventory_due) {
    inventory_due = true;
    timer_set(&sync_patience, SYNC_PATIENCE_MS, tell_now);
  }
}

void sandboxes_reap(void) {
  for (size_t i = 0; i < sizeof ended_shims / sizeof *ended_shims; i++)
    if (ended_shims[i] != 0 && waitpid(ended_shims[i], NULL, WNOHANG) != 0) ended_shims[i] = 0;
}

int sandboxes_open(char *err, size_t errlen) {
  char path[160];
  if (!text_format(path, sizeof path, "%s/shims", config.run)) return -1;
  DIR *dir = opendir(path);
  if (!dir) {
    text_format(err, errlen, "%s: %s", path, strerror(errno));
    return -1;
  }
  for (struct dirent *entry; (entry = readdir(dir));) {
    char id[72], socket[160];
    char *dot = strrchr(entry->d_name, '.');
    if (entry->d_name[0] == '.' || !dot || strcmp(dot, ".sock") != 0 || !text_format(id, sizeof id, "%.*s", (int)(dot - entry->d_name), entry->d_name)) continue;
    struct sandbox *s = make(id);
    if (!s || !text_format(socket, sizeof socket, "%s/%s", path, entry->d_name)) continue;
    s->state = SANDBOX_READY;
    release_recall(s);
    if (shim_connect(s, socket) < 0) {
      log_line("the shim of %s does not answer: %s", id, strerror(errno));
      sandbox_gone(s, "its shim had ended");
    }
  }
  closedir(dir);
  releases_open();
  return 0;
}

void sandboxes_stop(void (*done)(void)) {
  when_none_left = done;
  if (done) timer_set(&stop_patience, sandboxes ? DESTROY_PATIENCE_MS : 0, when_all_gone);
  for (struct sandbox *s = sandboxes; s; s = s->next) {
    s->state = SANDBOX_ENDING;
    shim_say(s, json_pack("{s:s}", "t", "destroy"), NULL, 0);
  }
}

void sandboxes_close(void) {
  while (sandboxes) sandbox_gone(sandboxes, NULL);
  releases_close();
  cgroup_remove_instance(config.instance);
}
