/* Checks workspaces when sandboxes give them back, and tells what was found. The check itself is a process of the folder's owner. */
#include "openshelld_release.h"
#include "openshelld_answer.h"
#include "openshelld_json.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "protect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (8 << 20)

struct release {
  struct release *next;
  char id[72], registration[24], why[120];
  json_t *manifest, *released; /* released: what was found, until the gateway has heard it */
  int file;                    /* alone: the manifest, locked; else -1 */
  json_int_t request;          /* the gateway's destroy; 0: none */
  bool ended;                  /* the gateway is told that the sandbox is gone */
  struct answer check;
};

struct deferred {
  struct deferred *next;
  char service[32], registration[24];
  json_t *message;
  json_int_t id;
};

static struct release *releases;
static struct deferred *deferred;
static bool stopping;

static bool file_of(const char *id, char *path, size_t size) { return text_format(path, size, "%s/workspaces/%s.json", config.state, id); }

/* Who started us made it, empty, and looks at it when we are gone. Locked: nobody else may check the folder meanwhile. */
static int open_given(const char *path) {
  struct stat st;
  int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

int release_prepare(struct sandbox *s, const char *given) {
  char path[300];
  if (config.alone) s->manifest = open_given(given);
  else if (file_of(s->id, path, sizeof path)) s->manifest = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  return s->manifest;
}

json_t *release_owner(const struct sandbox *s, const struct registration *w) {
  return json_pack("{s:s,s:s,s:I,s:I,s:s,s:I}", "sandbox", s->id, "registration", w->id, "uid", (json_int_t)w->uid, "gid", (json_int_t)w->gid, "path", w->path, "ino", (json_int_t)w->ino);
}

static const char *text_in(json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static json_t *read_file(const char *id) {
  char path[300];
  int fd = !config.alone && file_of(id, path, sizeof path) ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
  json_t *json = json_read_whole(fd);
  if (fd >= 0) close(fd);
  return json;
}

static void forget_file(const char *id) {
  char path[300];
  if (!config.alone && file_of(id, path, sizeof path)) (void)unlink(path);
}

/* Nothing is left to be checked. */
static void forget(const struct release *r) {
  if (r->file >= 0 && ftruncate(r->file, 0) < 0) log_line("the manifest of %s: %s", r->id, strerror(errno));
  forget_file(r->id);
}

/* What was found outlives us. */
static void keep_file(const struct release *r) {
  char path[300];
  json_t *all = json_pack("{s:s,s:O}", "sandbox", r->id, "released", r->released);
  int fd = all && file_of(r->id, path, sizeof path) ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
  if (fd >= 0 && (json_write_whole(fd, all) != 0 || fsync(fd) < 0)) log_line("what %s left could not be kept: %s", r->id, strerror(errno));
  if (fd >= 0) close(fd);
  json_decref(all);
}

void release_recall(struct sandbox *s) {
  json_t *manifest = read_file(s->id);
  text_format(s->registration, sizeof s->registration, "%s", text_in(manifest, "registration"));
  json_decref(manifest);
}

static void drop(struct release *r) {
  for (struct release **link = &releases; *link; link = &(*link)->next)
    if (*link == r) {
      *link = r->next;
      break;
    }
  if (r->file >= 0) close(r->file);
  json_decref(r->manifest);
  json_decref(r->released);
  free(r);
}

/* On the record: each thing (the first twenty), and what became of the folder. */
static void record(const struct release *r) {
  size_t index, total = json_array_size(json_object_get(r->released, "found")) + (size_t)json_integer_value(json_object_get(r->released, "more"));
  json_t *one, *found = json_object_get(r->released, "found");
  const char *into = text_in(r->released, "quarantine"), *problem = text_in(r->released, "problem");
  json_array_foreach(found, index, one) {
    bool moved = json_is_true(json_object_get(one, "moved"));
    if (index >= 20) break;
    event_emit("detectionFinding", 1, moved ? 4 : 5, r->id, "openshelld", "deny", json_pack("{s:O,s:O,s:b,s:s}", "path", json_object_get(one, "path"), "why", json_object_get(one, "why"), "moved", moved, "quarantine", into),
               "The sandbox left %.200s (%s), which shells, git, editors or agents obey by themselves; it was %s", text_in(one, "path"), text_in(one, "why"), moved ? "put away" : "NOT moved away");
  }
  if (total > 20) event_emit("detectionFinding", 1, 4, r->id, "openshelld", "deny", json_pack("{s:i,s:s}", "count", (int)total, "quarantine", into), "The sandbox left %zu things at protected names in all", total);
  if (problem[0]) event_emit("detectionFinding", 1, 5, r->id, "openshelld", "deny", json_pack("{s:b,s:s}", "checked", json_is_true(json_object_get(r->released, "checked")), "problem", problem), "The workspace after the sandbox: %s", problem);
}

static bool worth_telling(const struct release *r) { return r->released && (json_array_size(json_object_get(r->released, "found")) > 0 || text_in(r->released, "problem")[0]); }

static void again(const char *registration, bool checked) {
  struct deferred *now = NULL, **last = &now;
  for (struct deferred **link = &deferred; *link;) {
    struct deferred *one = *link;
    if (strcmp(one->registration, registration) != 0) {
      link = &one->next;
      continue;
    }
    *link = one->next;
    one->next = NULL;
    *last = one;
    last = &one->next;
  }
  while (now) {
    struct deferred *one = now;
    struct service *service = service_find(one->service);
    now = one->next;
    if (service && checked) asked_create(service, one->message, one->id);
    else if (service) reply_error(service, one->id, "registration", "what an earlier sandbox left in this folder cannot be checked");
    json_decref(one->message);
    free(one);
  }
}

/* `released` NULL: nothing was to be checked. Takes it over. */
static void finish(struct release *r, json_t *released, bool checked) {
  struct service *gateway = service_find("gateway");
  bool listens = gateway && gateway->hello && !stopping;
  char registration[24];
  text_format(registration, sizeof registration, "%s", r->registration);
  r->released = released;
  if (released) {
    log_line("the workspace of %s: %zu found, %s", r->id, json_array_size(json_object_get(released, "found")), checked ? "checked" : text_in(released, "problem"));
    record(r);
  }
  bool tell = worth_telling(r);
  /* Before anybody hears of it. */
  if (checked && tell && !listens && !config.alone) keep_file(r);
  else if (checked) forget(r);
  if (tell && listens) tell_gateway(json_pack("{s:s,s:s,s:O}", "t", "workspace.released", "sandbox", r->id, "released", released), NULL, 0);
  if (gateway && r->request) reply_ok(gateway, r->request, json_pack("{s:O?}", "released", released), NULL, 0);
  else if (r->ended) tell_gateway(json_pack("{s:s,s:s,s:s}", "t", "sandbox.gone", "sandbox", r->id, "why", r->why), NULL, 0);
  r->request = 0;
  r->ended = false;
  if (!checked && config.alone) drop(r); /* its file stays, and who started us tries again */
  else if (!checked) {
    /* The manifest stays: the next start, or the next registration of the folder, tries again. */
    json_decref(r->released);
    r->released = NULL;
  } else if (!tell || listens) drop(r);
  again(registration, checked);
}

static json_t *not_checked(const char *problem) { return json_pack("{s:b,s:i,s:s,s:[],s:i,s:s}", "checked", 0, "entries", 0, "quarantine", "", "found", "more", 0, "problem", problem); }

static void end_check(struct answer *check, json_t *released) {
  struct release *r = container_of(check, struct release, check);
  bool answered = json_is_object(released);
  bool again_later = !answered || json_is_true(json_object_get(released, "again"));
  if (answered) json_object_del(released, "again");
  else json_decref(released);
  finish(r, answered ? released : not_checked("the check ended without an answer"), !again_later);
}

static void note_label(struct release *r, const char *label) {
  char path[300], new[310];
  json_object_set_new(r->manifest, "label", json_string(label));
  if (r->file >= 0 && (lseek(r->file, 0, SEEK_SET) < 0 || json_write_whole(r->file, r->manifest) != 0)) log_line("the manifest of %s: %s", r->id, strerror(errno));
  if (config.alone || !file_of(r->id, path, sizeof path) || !text_format(new, sizeof new, "%s.new", path)) return;
  int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0 || json_write_whole(fd, r->manifest) != 0 || rename(new, path) < 0) log_line("the manifest of %s: %s", r->id, strerror(errno));
  if (fd >= 0) close(fd);
}

static void start_check(struct release *r) {
  if (r->check.child) return;
  json_int_t uid = json_integer_value(json_object_get(r->manifest, "uid")), gid = json_integer_value(json_object_get(r->manifest, "gid")), ino = json_integer_value(json_object_get(r->manifest, "ino"));
  json_t *agent = json_object_get(r->manifest, "agent");
  const struct registration *known = registry_find(r->registration);
  char label[120], stamp[32];
  const char *interrupted = text_in(r->manifest, "label");
  time_t now = (time_t)(wall_ms() / 1000);
  struct tm parts;
  bool shared = false;
  for (struct sandbox *s = sandboxes; s; s = s->next) shared |= strcmp(s->id, r->id) != 0 && strcmp(s->registration, r->registration) == 0;
  strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
  /* With a word that the sandbox cannot have guessed, so that the next try knows our quarantine from one that was put there. */
  if (interrupted[0]) text_format(label, sizeof label, "%s", interrupted);
  else text_format(label, sizeof label, "%s-%s-%08x", r->id, stamp, randombytes_random());
  if (!interrupted[0]) note_label(r, label);
  pid_t child = 0;
  int fd = protect_start(known && known->ino == (ino_t)ino ? known->fd : -1, r->manifest, label, shared, (uid_t)uid, (gid_t)gid, agent && geteuid() == 0 ? (uid_t)json_integer_value(agent) : (uid_t)-1, config.instance, &child);
  if (fd >= 0 && answer_await(&r->check, child, fd, TEXT_MAX, end_check) == 0) return;
  finish(r, not_checked("the check could not be started"), false);
}

static struct release *add(const char *id) {
  struct release *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->file = -1;
  text_format(r->id, sizeof r->id, "%s", id);
  r->next = releases;
  return releases = r;
}

static struct release *find(const char *id) {
  for (struct release *r = releases; r; r = r->next)
    if (strcmp(r->id, id) == 0) return r;
  return NULL;
}

void release_begin(struct sandbox *s, const char *why) {
  struct release *r = add(s->id);
  if (!r) {
    if (s->manifest >= 0) close(s->manifest);
    return again(s->registration, false);
  }
  r->request = s->destroy_request;
  r->ended = why != NULL;
  text_format(r->why, sizeof r->why, "%s", why ? why : "");
  text_format(r->registration, sizeof r->registration, "%s", s->registration);
  if (s->registration[0]) r->manifest = s->manifest >= 0 ? json_read_whole(s->manifest) : read_file(s->id);
  if (config.alone) r->file = s->manifest;
  else if (s->manifest >= 0) close(s->manifest);
  s->manifest = -1;
  /* Nothing was written: it ended before it could start anything. */
  if (!json_is_true(json_object_get(r->manifest, "writable"))) finish(r, NULL, true);
  else start_check(r);
}

bool release_first(struct service *service, json_t *message, json_int_t id, const char *registration) {
  bool waits = false;
  /* Also for one that has not ended yet: its check begins when it has. */
  for (const struct sandbox *s = sandboxes; s; s = s->next) waits |= s->state == SANDBOX_ENDING && strcmp(s->registration, registration) == 0;
  for (struct release *r = releases; r; r = r->next) waits |= r->manifest && !r->released && strcmp(r->registration, registration) == 0;
  struct deferred *one = waits ? calloc(1, sizeof *one) : NULL;
  if (!one) return false;
  text_format(one->service, sizeof one->service, "%s", service->name);
  text_format(one->registration, sizeof one->registration, "%s", registration);
  one->message = json_incref(message);
  one->id = id;
  one->next = deferred;
  deferred = one;
  releases_retry(registration);
  return true;
}

void releases_retry(const char *registration) {
  for (struct release *r = releases, *next; r; r = next) {
    next = r->next;
    if (r->manifest && !r->check.child && !r->released && strcmp(r->registration, registration) == 0) start_check(r);
  }
}

void releases_open(void) {
  char path[300];
  DIR *dir = text_format(path, sizeof path, "%s/workspaces", config.state) ? opendir(path) : NULL;
  for (struct dirent *one; dir && (one = readdir(dir));) {
    char id[72];
    char *dot = strrchr(one->d_name, '.');
    if (one->d_name[0] == '.' || !dot || strcmp(dot, ".json") != 0 || !text_format(id, sizeof id, "%.*s", (int)(dot - one->d_name), one->d_name) || sandbox_find(id) || find(id)) continue;
    json_t *json = read_file(id), *released = json_object_get(json, "released");
    struct release *r = json ? add(id) : NULL;
    if (!r) {
      if (!json) forget_file(id); /* empty: it was made for a sandbox that never ran */
      json_decref(json);
      continue;
    }
    if (released) r->released = json_incref(released);
    else {
      r->manifest = json_incref(json);
      text_format(r->registration, sizeof r->registration, "%s", text_in(json, "registration"));
    }
    json_decref(json);
  }
  if (dir) closedir(dir);
  for (struct release *r = releases, *next; r; r = next) {
    next = r->next;
    if (r->check.child) continue;
    if (r->released) record(r);
    else if (json_is_true(json_object_get(r->manifest, "writable"))) start_check(r);
    else finish(r, NULL, true);
  }
}

void releases_tell(void) {
  for (struct release *r = releases, *next; r; r = next) {
    next = r->next;
    if (!r->released) continue;
    tell_gateway(json_pack("{s:s,s:s,s:O}", "t", "workspace.released", "sandbox", r->id, "released", r->released), NULL, 0);
    forget_file(r->id);
    drop(r);
  }
}

void releases_stopping(void) { stopping = true; }

void releases_close(void) {
  stopping = true;
  for (struct release *r = releases, *next; r; r = next) {
    next = r->next;
    if (r->check.child) answer_wait(&r->check);
  }
}
