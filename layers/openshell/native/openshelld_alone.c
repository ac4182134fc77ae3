/* Alone mode: the configuration that the starting program hands over, the uids, and its own requests. */
#include "openshelld_alone.h"
#include "cgroup.h"
#include "openshelld.h"
#include "openshelld_sandboxes.h"
#include "openshelld_text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UID_BASE 0x70000000u /* plus a pid, as openshell-launch does: in nobody's range, and free again only when the process is gone */

/* Root's, and nobody else may put anything there or in its place: whoever may rename a folder above could make root write where they like. In a sticky folder they cannot. */
static bool roots_alone(char *path) {
  struct stat st;
  bool good = true, leaf = true;
  for (char *end; good; leaf = false, *end = '\0') {
    const char *at = path[0] ? path : "/";
    good = lstat(at, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 && ((st.st_mode & 022) == 0 || (!leaf && st.st_mode & S_ISVTX));
    if (!path[0] || !(end = strrchr(path, '/'))) break;
  }
  return good;
}

/* Where layers are kept: below the folder that `state` leads to now, whatever becomes of the links in it. NULL with the reason. */
static const char *state_open(const char *state, char *err, size_t errlen) {
  char path[200], way[PATH_MAX], *found = NULL;
  if (geteuid() == 0 && state[0] == '/' && (mkdir(state, 0700) == 0 || errno == EEXIST)) found = realpath(state, NULL);
  bool good = found && text_format(way, sizeof way, "%s", found) && roots_alone(way) && text_format(path, sizeof path, "%s/layers", found) && (mkdir(path, 0700) == 0 || errno == EEXIST);
  if (good) return found;
  free(found);
  text_format(err, errlen, "configuration: layers cannot be kept in %.150s: it and the folders above it must be root's, and nobody else may write to them", state);
  return NULL;
}

int alone_load(int fd, char *err, size_t errlen) {
  json_error_t error;
  json_t *limits = NULL, *roots = NULL, *devices = NULL, *root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
  int hold = 900, testing = 0;
  const char *state = "";
  if (!root || json_unpack_ex(root, &error, JSON_STRICT, "{s:s,s?o,s?o,s?i,s?o,s?b,s?s}", "instance", &config.instance, "bindRoots", &roots, "devices", &devices, "holdSeconds", &hold, "limits", &limits, "testing", &testing, "state", &state) < 0) {
    text_format(err, errlen, "configuration: %s", error.text);
    return -1;
  }
  if (strlen(config.instance) == 0 || strlen(config.instance) > 40 || strpbrk(config.instance, "/ \n.") || hold < 1 || hold > 30 * 24 * 3600) {
    text_format(err, errlen, "configuration: instance must be a plain word, holdSeconds at least 1");
    return -1;
  }
  config.alone = true;
  if (state[0] && !(state = state_open(state, err, errlen))) return -1;
  config.state = state;
  config.run = config.prefix = config.lib = config.node = "";
  config.services = json_array();
  config.hold_ms = (int64_t)hold * 1000;
  config.testing = testing;
  if (config_limits(limits, err, errlen) < 0 || config_devices(devices, err, errlen) < 0) return -1;
  if (config_surroundings(roots) < 0) {
    text_format(err, errlen, "/proc is not there");
    return -1;
  }
  return 0;
}

/* Empties of a program that was killed together with its openshelld: a shim alone may not remove them. The kernel refuses what is still in use. */
void alone_sweep(void) {
  struct cgroup_tree trees[CGROUP_MAX];
  int count = cgroup_trees(trees, CGROUP_MAX);
  for (int i = 0; i < count; i++) {
    DIR *parent = opendir(trees[i].parent), *group;
    for (struct dirent *entry; parent && (entry = readdir(parent));) {
      int pid;
      char path[600], inner[900];
      if (sscanf(entry->d_name, "nemoclaw-alone-%d", &pid) != 1 || pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH || !text_format(path, sizeof path, "%s/%s", trees[i].parent, entry->d_name)) continue;
      group = opendir(path);
      for (struct dirent *one; group && (one = readdir(group));)
        if (one->d_type == DT_DIR && one->d_name[0] != '.' && text_format(inner, sizeof inner, "%s/%s", path, one->d_name)) (void)rmdir(inner);
      if (group) closedir(group);
      (void)rmdir(path);
    }
    if (parent) closedir(parent);
  }
}

uid_t alone_uid(pid_t shim) { return geteuid() == 0 ? UID_BASE + (uid_t)shim : geteuid(); }

/* A folder that the program has opened itself: it has no more rights through us than it had. */
void asked_workspace_register(struct service *service, json_t *message, json_int_t id, const int *fds, int count) {
  const char *path = json_string_value(json_object_get(message, "path"));
  struct stat folder;
  bool fresh;
  if (!path || count != 1 || fstat(fds[0], &folder) < 0 || !S_ISDIR(folder.st_mode)) {
    reply_error(service, id, "protocol", "workspace.register needs a path and an open folder");
    return;
  }
  int own = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
  const struct registration *one = own < 0 ? NULL : registry_add(folder.st_uid, folder.st_gid, path, own, &fresh);
  if (!one) reply_error(service, id, "full", "no more folders can be registered");
  else reply_ok(service, id, json_pack("{s:s,s:I,s:I,s:s}", "id", one->id, "uid", (json_int_t)one->uid, "gid", (json_int_t)one->gid, "path", one->path), NULL, 0);
}
