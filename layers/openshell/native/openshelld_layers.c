/* Looks at, commits, discards and copies layers, each in a process of its own, so that the others do not wait. */
#include "openshelld_layers.h"
#include "layer-image.h"
#include "layer.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "protect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX (2 << 20)
#define SNAPSHOTS_MAX 64
#define PROGRAM_SECONDS 600

/* One request that is being carried out. */
struct work {
  struct work *next;
  char sandbox[72], op[16];
  json_int_t request;
  pid_t child;
  struct watch watch;
  char *text;
  size_t used;
};
static struct work *works;

static bool path_of(char *path, size_t size, const char *sandbox, const char *rest) { return text_format(path, size, "%s/layers/%s%s", config.state, sandbox, rest); }

static bool good_name(const char *name) {
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
  return n > 0 && n <= 40 && name[n] == 0;
}

static json_t *read_about(const char *sandbox) {
  char path[300];
  return path_of(path, sizeof path, sandbox, "/about.json") ? json_load_file(path, 0, NULL) : NULL;
}

static int write_about(const char *sandbox, json_t *about) {
  char path[300], new[310];
  if (!path_of(path, sizeof path, sandbox, "/about.json") || !text_format(new, sizeof new, "%s.new", path)) return -1;
  return json_dump_file(about, new, JSON_COMPACT) == 0 && rename(new, path) == 0 ? 0 : -1;
}

/* How many bytes the layer is to have, 0: as many as the disk. -1 with the reason: it cannot have them. What an earlier policy gave it a size keeps that. */
static json_int_t size_of(const char *sandbox, json_int_t wanted, json_t *about, char *err, size_t errlen) {
  char image[300], upper[300];
  struct stat st;
  errno = ENAMETOOLONG;
  if (!path_of(image, sizeof image, sandbox, "/" IMAGE) || !path_of(upper, sizeof upper, sandbox, "/data/upper")) return text_format(err, errlen, "the layer: %s", strerror(errno)), -1;
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
  int fd = path_of(path, sizeof path, sandbox, "/in-use") ? open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600) : -1; /* the folder's own lock is the image's */
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
  if (!path_of(path, sizeof path, s->id, "") || (mkdir(path, 0700) < 0 && errno != EEXIST)) return -1;
  text_format(err, errlen, "the layer is in use: another command runs in it, or it is being looked at or carried out");
  if (config.alone && (s->layer_lock = lock_alone(s->id)) < 0) return -1;
  text_format(err, errlen, "the layer cannot be made");
  json_t *about = read_about(s->id);
  const char *of = json_string_value(json_object_get(about, "registration"));
  bool ours = !about || (of && strcmp(of, w->id) == 0);
  /* The rules of the policy in force now. */
  if (about && ours) json_object_set(about, "protect", json_object_get(plan, "protect"));
  else if (!about) about = json_pack("{s:I,s:s,s:I,s:I,s:O}", "since", (json_int_t)wall_ms(), "registration", w->id, "uid", (json_int_t)w->uid, "gid", (json_int_t)w->gid, "protect", json_object_get(plan, "protect"));
  json_int_t bytes = -1;
  if (!ours) text_format(err, errlen, "the layer is one of another folder");
  else if (about) bytes = size_of(s->id, json_integer_value(json_object_get(workspace, "bytes")), about, err, errlen);
  bool good = bytes >= 0 && write_about(s->id, about) == 0;
  json_decref(about);
  if (bytes > 0) json_object_set_new(launch, "layerBytes", json_integer(bytes));
  if (!good || !path_of(path, sizeof path, s->id, "/data") || (mkdir(path, 0711) < 0 && errno != EEXIST) || !path_of(path, sizeof path, s->id, bytes > 0 ? "" : "/data")) return -1;
  s->layer = open(path, (bytes > 0 ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return s->layer < 0 ? -1 : 0;
}

/* ---- in the child */

/* On what the agent made, perhaps while it goes on: no pipe may hold it for ever. `confined`: the program goes by names, and must have no way out of this sandbox's layer through a link. */
static bool run_program(const char *confined, char *const argv[]) {
  char layer[300];
  char *env[] = {NULL};
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    alarm(PROGRAM_SECONDS);
    if (!confined || (path_of(layer, sizeof layer, confined, "") && confine_to(layer) == 0)) execve(argv[0], argv, env);
    _exit(127);
  }
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return pid > 0 && status == 0;
}

static bool remove_all(char *path) { return run_program(NULL, (char *[]){"/bin/rm", "-rf", "--one-file-system", "--", path, NULL}); }
/* With owners, times, links, extended attributes and whiteouts. */
static bool copy_all(const char *sandbox, char *from, char *to) { return run_program(sandbox, (char *[]){"/bin/cp", "-a", "--reflink=auto", "-T", "--", from, to, NULL}); }

static json_t *failure(const char *code, const char *text) { return json_pack("{s:s,s:s}", "code", code, "error", text); }

static int open_folder(const char *sandbox, const char *rest) {
  char path[300];
  return path_of(path, sizeof path, sandbox, rest) ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
}

/* The file system of a layer with a size, mounted nowhere; -2: the layer has none. -1 with the reason. It stays until this process ends. */
static int mount_of(const char *sandbox, const char *image, char *err, size_t errlen) {
  int folder = open_folder(sandbox, "");
  text_format(err, errlen, "the layer: %s", strerror(errno));
  bool there = folder >= 0 && faccessat(folder, image, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  int tree = there ? layer_image_mount(folder, image, err, errlen) : folder < 0 ? -1 : -2;
  if (folder >= 0) close(folder);
  return tree;
}

/* For programs that go by names: at `data`, for nobody but this process and what it starts. */
static bool show_mount(const char *sandbox, int tree) {
  char path[300];
  return path_of(path, sizeof path, sandbox, "/data") && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 && syscall(429 /* move_mount */, tree, "", AT_FDCWD, path, 4 /* F_EMPTY_PATH */) == 0;
}

static json_t *look_or_commit(const char *sandbox, json_t *about, bool commit) {
  const struct registration *w = registry_find(json_string_value(json_object_get(about, "registration")) ?: "");
  char link[40];
  text_format(link, sizeof link, "/proc/self/fd/%d", w ? w->fd : -1);
  char err[300];
  int tree = mount_of(sandbox, IMAGE, err, sizeof err);
  if (tree == -1) return failure("host", err);
  int upper = tree >= 0 ? openat(tree, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : open_folder(sandbox, "/data/upper"), lower = w ? open(link, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (!w || lower < 0) return failure("registration", "the folder is not registered");
  if (upper < 0) return commit ? json_pack("{s:i,s:[],s:i,s:b}", "committed", 0, "left", "more", 0, "checked", 1) : json_pack("{s:[],s:i,s:b}", "changes", "more", 0, "checked", 1);
  if (!commit) return layer_diff(upper, lower);
  json_int_t uid = json_integer_value(json_object_get(about, "uid")), gid = json_integer_value(json_object_get(about, "gid"));
  json_t *out = layer_commit(upper, lower, (uid_t)uid, (gid_t)gid, json_integer_value(json_object_get(about, "since")), json_object_get(about, "protect"));
  bool conflict = false;
  size_t index;
  json_t *one;
  json_array_foreach(json_object_get(out, "left"), index, one) conflict |= strcmp(json_string_value(json_object_get(one, "why")) ?: "", "conflict") == 0;
  if (!conflict && json_is_true(json_object_get(out, "checked"))) {
    /* What we have just written is not the owner's change. */
    json_object_set_new(about, "since", json_integer(wall_ms() + 1));
    (void)write_about(sandbox, about);
  }
  return out;
}

static json_t *snapshots(const char *sandbox) {
  json_t *list = json_array();
  char path[300];
  DIR *dir = path_of(path, sizeof path, sandbox, "/snapshots") ? opendir(path) : NULL;
  for (struct dirent *one; dir && (one = readdir(dir));) {
    struct stat st;
    if (good_name(one->d_name) && fstatat(dirfd(dir), one->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) json_array_append_new(list, json_pack("{s:s,s:I}", "name", one->d_name, "at", (json_int_t)st.st_ctim.tv_sec * 1000));
  }
  if (dir) closedir(dir);
  return json_pack("{s:o}", "snapshots", list);
}

static json_t *take_snapshot(const char *sandbox, const char *name) {
  char upper[300], all[300], one[300], part[310];
  if (!path_of(upper, sizeof upper, sandbox, "/data/upper") || !path_of(all, sizeof all, sandbox, "/snapshots") || !text_format(one, sizeof one, "%s/%s", all, name) || !text_format(part, sizeof part, "%s/.part", all)) return failure("protocol", "the name is too long");
  json_t *there = snapshots(sandbox);
  size_t count = json_array_size(json_object_get(there, "snapshots"));
  json_decref(there);
  if (count >= SNAPSHOTS_MAX) return failure("full", "there are too many snapshots");
  if (mkdir(all, 0700) < 0 && errno != EEXIST) return failure("host", strerror(errno));
  char err[300];
  int tree = mount_of(sandbox, IMAGE, err, sizeof err);
  if (tree == -1) return failure("host", err);
  if (tree >= 0 && !show_mount(sandbox, tree)) return failure("host", "the layer cannot be shown to the program that copies it");
  if (access(one, F_OK) == 0) return failure("exists", "there is a snapshot of that name");
  if (!remove_all(part) || !copy_all(sandbox, upper, part) || rename(part, one) < 0) return failure("host", "the layer could not be copied");
  return json_pack("{s:s}", "name", name);
}

/* Into a new file system of the same size, which then takes the place of the old one, so that room for one is enough. */
static json_t *restore_image(const char *sandbox, char *from, char *upper, const char *name, json_int_t bytes) {
  char err[300];
  int folder = open_folder(sandbox, "");
  if (folder < 0 || layer_image_make(folder, IMAGE_NEW, (uint64_t)bytes, err, sizeof err) < 0) return failure("host", folder < 0 ? strerror(errno) : err);
  int tree = mount_of(sandbox, IMAGE_NEW, err, sizeof err);
  const char *problem = tree < 0 ? err : !show_mount(sandbox, tree) ? "the layer cannot be shown to the program that copies into it" : !copy_all(sandbox, from, upper) ? "the snapshot could not be copied back; is it larger than resources.maxDisk?" : NULL;
  int root = problem ? -1 : openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!problem && (root < 0 || syncfs(root) < 0 || renameat(folder, IMAGE_NEW, folder, IMAGE) < 0)) problem = "the snapshot could not take the layer's place";
  if (!problem) return json_pack("{s:s}", "name", name);
  (void)unlinkat(folder, IMAGE_NEW, 0);
  return failure("host", problem);
}

static json_t *restore(const char *sandbox, const char *name, json_int_t bytes) {
  char upper[300], one[300], part[300], old[300], work[300];
  if (!path_of(upper, sizeof upper, sandbox, "/data/upper") || !path_of(one, sizeof one, sandbox, "/snapshots/") || !text_format(one + strlen(one), sizeof one - strlen(one), "%s", name) || !path_of(part, sizeof part, sandbox, "/data/new") || !path_of(old, sizeof old, sandbox, "/data/old") ||
      !path_of(work, sizeof work, sandbox, "/data/work"))
    return failure("protocol", "the name is too long");
  if (access(one, F_OK) < 0) return failure("no-snapshot", "there is no snapshot of that name");
  if (bytes > 0) return restore_image(sandbox, one, upper, name, bytes);
  if (!remove_all(part) || !remove_all(old) || !copy_all(sandbox, one, part) || (rename(upper, old) < 0 && errno != ENOENT) || rename(part, upper) < 0) return failure("host", "the snapshot could not be copied back");
  (void)remove_all(old);
  (void)remove_all(work);
  return json_pack("{s:s}", "name", name);
}

static json_t *carry_out(const char *sandbox, const char *op, const char *name) {
  char path[300];
  json_t *about = read_about(sandbox);
  if (strcmp(op, "remove") == 0) return path_of(path, sizeof path, sandbox, "") && remove_all(path) ? json_object() : failure("host", "the layer could not be removed");
  if (!about) return failure("no-layer", "this sandbox has no layer of its own");
  if (strcmp(op, "diff") == 0) return look_or_commit(sandbox, about, false);
  if (strcmp(op, "commit") == 0) return look_or_commit(sandbox, about, true);
  if (strcmp(op, "snapshots") == 0) return snapshots(sandbox);
  if (strcmp(op, "snapshot") == 0) return take_snapshot(sandbox, name);
  if (strcmp(op, "restore") == 0) return restore(sandbox, name, json_integer_value(json_object_get(about, "bytes")));
  if (!path_of(path, sizeof path, sandbox, "/data") || !remove_all(path) || !path_of(path, sizeof path, sandbox, "/" IMAGE) || (unlink(path) < 0 && errno != ENOENT)) return failure("host", "the layer could not be emptied");
  json_object_set_new(about, "since", json_integer(wall_ms()));
  return write_about(sandbox, about) == 0 ? json_object() : failure("host", "the layer could not be emptied");
}

/* ---- in openshelld */

static void done(struct work *w) {
  struct service *gateway = service_find("gateway");
  int fd = w->watch.fd, status = -1;
  loop_remove(&w->watch);
  close(fd);
  while (waitpid(w->child, &status, 0) < 0 && errno == EINTR) continue;
  json_t *out = status == 0 && w->text ? json_loadb(w->text, w->used, 0, NULL) : NULL;
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
  free(w->text);
  free(w);
}

static void answer_ready(struct watch *watch, uint32_t events) {
  struct work *w = container_of(watch, struct work, watch);
  (void)events;
  if (!w->text) w->text = malloc(TEXT_MAX);
  ssize_t n = w->text && w->used < TEXT_MAX ? read(watch->fd, w->text + w->used, TEXT_MAX - w->used) : 0;
  if (n > 0) w->used += (size_t)n;
  else if (n == 0 || errno != EINTR) done(w);
}

static _Noreturn void in_child(const char *sandbox, const char *op, const char *name, int answer) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  json_t *out = carry_out(sandbox, op, name);
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
  valid = valid && which < count && strlen(sandbox) <= 64 && sandbox[0] != '.' && !strchr(sandbox, '/') && (name[0] == 0 || good_name(name)) && (name[0] != 0 || (which != 2 && which != 5));
  char path[300];
  struct stat st;
  if (valid && which == 6 && path_of(path, sizeof path, sandbox, "") && lstat(path, &st) < 0 && errno == ENOENT) {
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
  else if (config.alone && which > 1 && (lock = lock_alone(sandbox)) < 0 && errno != ENOENT) reply_error(service, id, "running", "a command runs in it");
  else if (!(w = calloc(1, sizeof *w)) || pipe2(ends, O_CLOEXEC) < 0) reply_error(service, id, "internal", "%s", strerror(errno));
  else {
    text_format(w->sandbox, sizeof w->sandbox, "%s", sandbox);
    text_format(w->op, sizeof w->op, "%s", op);
    w->request = id;
    w->child = fork();
    if (w->child == 0) in_child(sandbox, op, name, ends[1]);
    if (lock >= 0) close(lock); /* the child's own holds it on */
    lock = -1;
    close(ends[1]);
    if (w->child > 0 && loop_add(&w->watch, ends[0], EPOLLIN, answer_ready) == 0) {
      w->next = works;
      works = w;
      return;
    }
    close(ends[0]);
    reply_error(service, id, "internal", "%s", strerror(errno));
  }
  if (lock >= 0) close(lock);
  free(w);
}
