/* Alone mode: the configuration that the starting program hands over, the uids, and its own requests. */
#include "openshelld_alone.h"
#include "cgroup.h"
#include "openshelld.h"
#include "openshelld_sandboxes.h"
#include "openshelld_text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UID_BASE 0x70000000u /* plus a pid, as openshell-launch does: in nobody's range, and free again only when the process is gone */

/* Where layers are kept. What lies in it is root's, and nobody else may have put it there. */
static int state_open(const char *state, char *err, size_t errlen) {
  char path[200];
  struct stat st;
  bool good = geteuid() == 0 && state[0] == '/' && text_format(path, sizeof path, "%s/layers", state) && (mkdir(state, 0700) == 0 || errno == EEXIST) && lstat(state, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 && (st.st_mode & 022) == 0 && (mkdir(path, 0700) == 0 || errno == EEXIST);
  if (!good) text_format(err, errlen, "configuration: layers cannot be kept in %.150s: it must be a folder of root's that nobody else may write to", state);
  return good ? 0 : -1;
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
  if (state[0] && state_open(state, err, errlen) < 0) return -1;
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
