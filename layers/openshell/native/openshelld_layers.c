/* Layers that are kept: given to a sandbox at its start, and the requests about them, each carried out by a process of its own so that the others do not wait. */
#include "openshelld_layers.h"
#include "layer-image.h"
#include "openshelld_answer.h"
#include "openshelld_layer_work.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX (2 << 20)

/* One request that is being carried out. */
struct work {
  struct work *next;
  char sandbox[72], op[16];
  json_int_t request;
  struct answer answer;
};
static struct work *works;

/* How many bytes the layer is to have, 0: as many as the disk. -1 with the reason: it cannot have them. What an earlier policy gave it a size keeps that. */
static json_int_t size_of(const char *sandbox, json_int_t wanted, json_t *about, char *err, size_t errlen) {
  char image[300], upper[300];
  struct stat st;
  errno = ENAMETOOLONG;
  if (!layer_path(image, sizeof image, sandbox, "/" IMAGE) || !layer_path(upper, sizeof upper, sandbox, "/data/upper")) return text_format(err, errlen, "the layer: %s", strerror(errno)), -1;
  bool there = lstat(image, &st) == 0;
  if (there && wanted == 0) return (json_int_t)st.st_size;
  if (there && (json_int_t)st.st_size > wanted + 4096) return text_format(err, errlen, "the layer has %lld bytes already and cannot have fewer (resources.maxDisk); commit and discard it first, or allow it that many", (long long)st.st_size), -1;
  /* Where all was committed nothing is lost. */
  if (!there && wanted > 0 && rmdir(upper) < 0 && errno != ENOENT) return text_format(err, errlen, "the layer was begun without a size and cannot have one now (resources.maxDisk); commit and discard it first"), -1;
  if (wanted > 0) json_object_set_new(about, "bytes", json_integer(wanted));
  else json_object_del(about, "bytes");
  return wanted;
}

/* Alone others may use the same layer at the same time, each with an openshelld of its own; only one of them gets it. A descriptor that holds it, or -1. */
static int lock_alone(const char *sandbox) {
  char path[300];
  int fd = layer_path(path, sizeof path, sandbox, "/in-use") ? open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600) : -1; /* the folder's own lock is the image's */
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  int e = errno;
  if (fd >= 0) close(fd);
  errno = e;
  return -1;
}

int layer_prepare(struct sandbox *s, json_t *plan, json_t *launch, const struct registration *w, char *err, size_t errlen) {
  json_t *workspace = json_object_get(plan, "workspace");
  const char *kind = json_string_value(json_object_get(workspace, "kind")), *end = json_string_value(json_object_get(workspace, "onEnd"));
  char path[300];
  if (!kind || !end || strcmp(kind, "overlay") != 0 || strcmp(end, "keep") != 0 || !w) return 0;
  text_format(err, errlen, "the layer is busy: it is being looked at, carried out or copied, and must stand still");
  for (const struct work *one = works; one; one = one->next)
    if (strcmp(one->sandbox, s->id) == 0) return -1;
  text_format(err, errlen, "nobody keeps a layer for a program alone that names no folder for it");
  if (config.state[0] == 0) return -1;
  text_format(err, errlen, "the layer cannot be made");
  if (!layer_path(path, sizeof path, s->id, "") || (mkdir(path, 0700) < 0 && errno != EEXIST)) return -1;
  text_format(err, errlen, "the layer is in use: another command runs in it, or it is being looked at or carried out");
  if (config.alone && (s->layer_lock = lock_alone(s->id)) < 0) return -1;
  text_format(err, errlen, "the layer cannot be made");
  json_t *about = layer_about(s->id);
  const char *of = json_string_value(json_object_get(about, "registration"));
  bool ours = !about || (of && strcmp(of, w->id) == 0);
  /* The rules of the policy in force now. */
  if (about && ours) json_object_set(about, "protect", json_object_get(plan, "protect"));
  else if (!about) about = json_pack("{s:I,s:s,s:I,s:I,s:O}", "since", (json_int_t)wall_ms(), "registration", w->id, "uid", (json_int_t)w->uid, "gid", (json_int_t)w->gid, "protect", json_object_get(plan, "protect"));
  json_int_t bytes = -1;
  if (!ours) text_format(err, errlen, "the layer is one of another folder");
  else if (about) bytes = size_of(s->id, json_integer_value(json_object_get(workspace, "bytes")), about, err, errlen);
  bool good = bytes >= 0 && layer_about_write(s->id, about) == 0;
  json_decref(about);
  if (bytes > 0) json_object_set_new(launch, "layerBytes", json_integer(bytes));
  if (!good || !layer_path(path, sizeof path, s->id, "/data") || (mkdir(path, 0711) < 0 && errno != EEXIST) || !layer_path(path, sizeof path, s->id, bytes > 0 ? "" : "/data")) return -1;
  s->layer = open(path, (bytes > 0 ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return s->layer < 0 ? -1 : 0;
}

static void done(struct answer *answer, json_t *out) {
  struct work *w = container_of(answer, struct work, answer);
  struct service *gateway = service_find("gateway");
  const char *code = json_string_value(json_object_get(out, "code"));
  if (out && !code && strcmp(w->op, "commit") == 0)
    event_emit("applicationLifecycle", 99, 1, w->sandbox, "openshelld", "allow", json_pack("{s:O,s:i}", "committed", json_object_get(out, "committed"), "left", (int)json_array_size(json_object_get(out, "left"))), "Changes of the layer were carried out in the folder");
  if (gateway && (!out || code)) reply_error(gateway, w->request, code ? code : "internal", "%s", code ? json_string_value(json_object_get(out, "error")) : "it ended without an answer");
  else if (gateway) reply_ok(gateway, w->request, json_incref(out), NULL, 0);
  json_decref(out);
  for (struct work **link = &works; *link; link = &(*link)->next)
    if (*link == w) {
      *link = w->next;
      break;
    }
  free(w);
}

static _Noreturn void in_child(const char *sandbox, const char *op, const char *name, int answer) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  json_t *out = layer_carry_out(sandbox, op, name);
  char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
  size_t length = text ? strlen(text) : 0, sent = 0;
  for (ssize_t n; sent < length && (n = write(answer, text + sent, length - sent)) > 0;) sent += (size_t)n;
  _exit(length > 0 && sent == length ? 0 : 1);
}

void asked_layer(struct service *service, json_t *message, json_int_t id) {
  static const char *const ops[] = {"diff", "snapshots", "snapshot", "commit", "discard", "restore", "remove"}; /* the first three also while it runs */
  const char *sandbox = NULL, *op = NULL, *name = NULL;
  size_t which = 0, count = sizeof ops / sizeof *ops;
  bool valid = json_unpack(message, "{s:s,s:s,s:s}", "sandbox", &sandbox, "op", &op, "name", &name) == 0;
  while (valid && which < count && strcmp(ops[which], op) != 0) which++;
  valid = valid && which < count && strlen(sandbox) <= 64 && sandbox[0] != '.' && !strchr(sandbox, '/') && (name[0] == 0 || layer_good_name(name)) && (name[0] != 0 || (which != 2 && which != 5));
  char path[300];
  struct stat st;
  if (valid && which == 6 && layer_path(path, sizeof path, sandbox, "") && lstat(path, &st) < 0 && errno == ENOENT) {
    reply_ok(service, id, json_object(), NULL, 0);
    return;
  }
  bool busy = false;
  for (struct work *w = works; valid && w; w = w->next) busy |= strcmp(w->sandbox, sandbox) == 0;
  int ends[2], lock = -1;
  struct work *w = NULL;
  if (!valid || config.state[0] == 0) reply_error(service, id, "protocol", "layer needs a sandbox, an op and for snapshots a plain name");
  else if (busy) reply_error(service, id, "busy", "another request for this layer is under way");
  else if (which > 2 && sandbox_find(sandbox)) reply_error(service, id, "running", "the sandbox runs");
  else if (config.alone && which > 1 && (lock = lock_alone(sandbox)) < 0) reply_error(service, id, errno == ENOENT ? "no-layer" : "running", errno == ENOENT ? "this folder has no layer" : "a command runs in it");
  else if (!(w = calloc(1, sizeof *w)) || pipe2(ends, O_CLOEXEC) < 0) reply_error(service, id, "internal", "%s", strerror(errno));
  else {
    text_format(w->sandbox, sizeof w->sandbox, "%s", sandbox);
    text_format(w->op, sizeof w->op, "%s", op);
    w->request = id;
    pid_t child = fork();
    if (child == 0) in_child(sandbox, op, name, ends[1]);
    if (lock >= 0) close(lock); /* the child's own holds it on */
    lock = -1;
    close(ends[1]);
    if (answer_await(&w->answer, child, ends[0], TEXT_MAX, done) == 0) {
      w->next = works;
      works = w;
      return;
    }
    reply_error(service, id, "internal", "%s", strerror(errno));
  }
  if (lock >= 0) close(lock);
  free(w);
}
