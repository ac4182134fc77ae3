/* Looks for the devices that the configuration names. */
#include "openshelld_devices.h"
#include "launch.h"
#include "openshelld_config.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

/* Agents have uids of their own and no groups, so that only what everybody may use is of use to them; without root they are this user. */
static bool usable(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0 || !S_ISCHR(st.st_mode)) return false;
  return launch_rootless() ? faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0 : (st.st_mode & 06) == 06;
}

json_t *devices_found(void) {
  json_t *found = json_array(), *pattern;
  size_t index;
  json_array_foreach(config.devices, index, pattern) {
    glob_t all;
    if (glob(json_string_value(pattern), GLOB_NOSORT, NULL, &all) != 0) continue;
    for (size_t i = 0; i < all.gl_pathc && json_array_size(found) < DEVICES_MAX; i++)
      if (usable(all.gl_pathv[i])) json_array_append_new(found, json_string(all.gl_pathv[i]));
    globfree(&all);
  }
  return found;
}
