/* Giving the workspace back after a sandbox without a daemon: what the agent left at a protected name is put away and told. */
#include "inside.h"
#include "openshelld_json.h"
#include "protect.h"
#include "standalone.h"
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/* On stderr for a person; on `report` (-1: nobody) for a program. */
static void tell(json_t *released, int report) {
  size_t index;
  json_t *one;
  const char *problem = json_string_value(json_object_get(released, "problem"));
  json_array_foreach(json_object_get(released, "found"), index, one) {
    if (index < 20) fprintf(stderr, "openshell: %s %s: %s\n", json_string_value(json_object_get(one, "why")), json_string_value(json_object_get(one, "path")), json_is_true(json_object_get(one, "moved")) ? "moved away" : "COULD NOT BE MOVED AWAY");
  }
  size_t total = json_array_size(json_object_get(released, "found")) + (size_t)json_integer_value(json_object_get(released, "more"));
  if (total > 0) {
    const char *into = json_string_value(json_object_get(released, "quarantine"));
    fprintf(stderr, "openshell: the command left %zu of these at names that your shell, git, editor or agents obey by themselves. They are in %s; to take one back: chmod u+rwx that folder, look at it, move it.\n", total, into);
  }
  if (problem != NULL && problem[0] != '\0') fprintf(stderr, "openshell: the workspace: %s\n", problem);
  /* EPIPE: who asked for it is gone. */
  if (report >= 0 && json_dumpfd(released, report, JSON_COMPACT) != 0 && errno != EPIPE) fprintf(stderr, "openshell: the report could not be written\n");
}

int release_lock(int manifest_fd) { return fcntl(manifest_fd, F_SETFD, FD_CLOEXEC) == 0 ? flock(manifest_fd, LOCK_EX | LOCK_NB) : -1; }

/* On the manifest before anything is moved, so that another try knows our quarantine from one that was put there. */
static int note_label(json_t *manifest, int manifest_fd, char *label, size_t size) {
  const char *before = json_string_value(json_object_get(manifest, "label"));
  struct tm parts;
  char stamp[32];
  time_t now = time(NULL);
  if (before != NULL) return snprintf(label, size, "%s", before) < (int)size ? 0 : -1;
  strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
  snprintf(label, size, "openshell-%s-%08x", stamp, randombytes_random());
  if (json_object_set_new(manifest, "label", json_string(label)) != 0) return -1;
  return manifest_fd < 0 || (lseek(manifest_fd, 0, SEEK_SET) == 0 && json_write_whole(manifest_fd, manifest) == 0) ? 0 : -1;
}

/* `root` -1: as protect_start. */
static bool check(int root, json_t *manifest, int manifest_fd, int report) {
  char label[64];
  pid_t child = -1;
  uid_t uid = (uid_t)json_integer_value(json_object_get(manifest, "uid"));
  gid_t gid = (gid_t)json_integer_value(json_object_get(manifest, "gid"));
  int fd = note_label(manifest, manifest_fd, label, sizeof label) == 0 ? protect_start(root, manifest, label, false, uid, gid, (uid_t)-1, "", &child) : -1;
  json_t *released = fd >= 0 ? protect_finish(fd, child) : NULL;
  bool settled = released != NULL && !json_is_true(json_object_get(released, "again")), checked = json_is_true(json_object_get(released, "checked"));
  json_object_del(released, "again");
  if (settled && manifest_fd >= 0 && ftruncate(manifest_fd, 0) != 0) perror("openshell: the manifest");
  if (!settled) fprintf(stderr, "openshell: THE WORKSPACE WAS NOT CHECKED: look at what changed in it before you open it\n");
  if (released != NULL) tell(released, report);
  json_decref(released);
  return checked;
}

bool release_workspace(const struct launch_in *in, int report) {
  /* Nothing of it was looked at yet: nothing ran. */
  if (in->workspace_fd < 0 || in->manifest == NULL || json_object_get(in->manifest, "writable") == NULL) return true;
  return check(in->workspace_fd, in->manifest, in->manifest_fd, report);
}

int release_left(int manifest_fd, const char *workspace, int report) {
  struct stat st, folder;
  if (fstat(manifest_fd, &st) != 0 || !S_ISREG(st.st_mode)) return fprintf(stderr, "openshell: the manifest is not a file\n"), 1;
  if (st.st_size == 0) return 0;
  json_t *manifest = json_read_whole(manifest_fd);
  if (manifest == NULL) return fprintf(stderr, "openshell: the manifest cannot be read\n"), 1;
  int root = workspace != NULL ? open(workspace, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (root >= 0 && (fstat(root, &folder) != 0 || folder.st_ino != (ino_t)json_integer_value(json_object_get(manifest, "ino")))) {
    close(root);
    root = -1;
  }
  bool checked = check(root, manifest, manifest_fd, report);
  if (root >= 0) close(root);
  json_decref(manifest);
  return checked ? 0 : 1;
}
