/* What is done with a layer that is kept, in a process of its own: looked at, committed, discarded, copied and restored. */
#include "openshelld_layer_work.h"
#include "layer-image.h"
#include "layer.h"
#include "openshelld_text.h"
#include "registry.h"
#include "services.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SNAPSHOTS_MAX 64
#define PROGRAM_SECONDS 600

bool layer_path(char *path, size_t size, const char *sandbox, const char *rest) { return text_format(path, size, "%s/layers/%s%s", config.state, sandbox, rest); }

bool layer_good_name(const char *name) {
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
  return n > 0 && n <= 40 && name[n] == 0;
}

json_t *layer_about(const char *sandbox) {
  char path[300];
  return layer_path(path, sizeof path, sandbox, "/about.json") ? json_load_file(path, 0, NULL) : NULL;
}

int layer_about_write(const char *sandbox, json_t *about) {
  char path[300], new[310];
  if (!layer_path(path, sizeof path, sandbox, "/about.json") || !text_format(new, sizeof new, "%s.new", path)) return -1;
  return json_dump_file(about, new, JSON_COMPACT) == 0 && rename(new, path) == 0 ? 0 : -1;
}

/* On what the agent made, perhaps while it goes on: no pipe may hold it for ever. `confined`: the program goes by names, and must have no way out of this sandbox's layer through a link. */
static bool run_program(const char *confined, char *const argv[]) {
  char layer[300];
  char *env[] = {NULL};
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    alarm(PROGRAM_SECONDS);
    if (!confined || (layer_path(layer, sizeof layer, confined, "") && confine_to(layer) == 0)) execve(argv[0], argv, env);
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
  return layer_path(path, sizeof path, sandbox, rest) ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
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
  return layer_path(path, sizeof path, sandbox, "/data") && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 && syscall(429 /* move_mount */, tree, "", AT_FDCWD, path, 4 /* F_EMPTY_PATH */) == 0;
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
    (void)layer_about_write(sandbox, about);
  }
  return out;
}

static json_t *snapshots(const char *sandbox) {
  json_t *list = json_array();
  char path[300];
  DIR *dir = layer_path(path, sizeof path, sandbox, "/snapshots") ? opendir(path) : NULL;
  for (struct dirent *one; dir && (one = readdir(dir));) {
    struct stat st;
    if (layer_good_name(one->d_name) && fstatat(dirfd(dir), one->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) json_array_append_new(list, json_pack("{s:s,s:I}", "name", one->d_name, "at", (json_int_t)st.st_ctim.tv_sec * 1000));
  }
  if (dir) closedir(dir);
  return json_pack("{s:o}", "snapshots", list);
}

static json_t *take_snapshot(const char *sandbox, const char *name) {
  char upper[300], all[300], one[300], part[310];
  if (!layer_path(upper, sizeof upper, sandbox, "/data/upper") || !layer_path(all, sizeof all, sandbox, "/snapshots") || !text_format(one, sizeof one, "%s/%s", all, name) || !text_format(part, sizeof part, "%s/.part", all)) return failure("protocol", "the name is too long");
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
  if (!layer_path(upper, sizeof upper, sandbox, "/data/upper") || !layer_path(one, sizeof one, sandbox, "/snapshots/") || !text_format(one + strlen(one), sizeof one - strlen(one), "%s", name) || !layer_path(part, sizeof part, sandbox, "/data/new") || !layer_path(old, sizeof old, sandbox, "/data/old") ||
      !layer_path(work, sizeof work, sandbox, "/data/work"))
    return failure("protocol", "the name is too long");
  if (access(one, F_OK) < 0) return failure("no-snapshot", "there is no snapshot of that name");
  if (bytes > 0) return restore_image(sandbox, one, upper, name, bytes);
  if (!remove_all(part) || !remove_all(old) || !copy_all(sandbox, one, part) || (rename(upper, old) < 0 && errno != ENOENT) || rename(part, upper) < 0) return failure("host", "the snapshot could not be copied back");
  (void)remove_all(old);
  (void)remove_all(work);
  return json_pack("{s:s}", "name", name);
}

json_t *layer_carry_out(const char *sandbox, const char *op, const char *name) {
  char path[300];
  json_t *about = layer_about(sandbox);
  if (strcmp(op, "remove") == 0) return layer_path(path, sizeof path, sandbox, "") && remove_all(path) ? json_object() : failure("host", "the layer could not be removed");
  if (!about) return failure("no-layer", "this sandbox has no layer of its own");
  if (strcmp(op, "diff") == 0) return look_or_commit(sandbox, about, false);
  if (strcmp(op, "commit") == 0) return look_or_commit(sandbox, about, true);
  if (strcmp(op, "snapshots") == 0) return snapshots(sandbox);
  if (strcmp(op, "snapshot") == 0) return take_snapshot(sandbox, name);
  if (strcmp(op, "restore") == 0) return restore(sandbox, name, json_integer_value(json_object_get(about, "bytes")));
  if (!layer_path(path, sizeof path, sandbox, "/data") || !remove_all(path) || !layer_path(path, sizeof path, sandbox, "/" IMAGE) || (unlink(path) < 0 && errno != ENOENT)) return failure("host", "the layer could not be emptied");
  json_object_set_new(about, "since", json_integer(wall_ms()));
  return layer_about_write(sandbox, about) == 0 ? json_object() : failure("host", "the layer could not be emptied");
}
