/* The table of sandboxes: who is in it, who has its listeners, and how one leaves it. */
#include "holds_starts.h"
#include "openshelld_lsm.h"
#include "cgroup.h"
#include "openshelld_release.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_refusals.h"
#include "seen_watch.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESTROY_PATIENCE_MS 3000

struct sandbox *sandboxes;
static struct timer stop_patience;
static void (*when_none_left)(void);
static pid_t ended_shims[1024];

struct sandbox *sandbox_find(const char *id) {
  for (struct sandbox *s = sandboxes; s; s = s->next)
    if (id && strcmp(s->id, id) == 0) return s;
  return NULL;
}

bool sandbox_of_worker(const struct sandbox *s, const struct service *worker) {
  return s && s->state == SANDBOX_READY && s->listeners[0] >= 0 && s->attached == worker->pid;
}

struct sandbox *sandbox_make(const char *id) {
  struct sandbox *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  text_format(s->id, sizeof s->id, "%s", id);
  s->notify = s->listeners[0] = s->listeners[1] = s->pts = s->view.root = s->view.whole = s->channel.fd = s->watch.fd = s->manifest = s->layer = s->layer_lock = -1;
  s->next = sandboxes;
  sandboxes = s;
  return s;
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
    struct sandbox *s = sandbox_make(id);
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
