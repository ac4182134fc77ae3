/* Giving the workspace back after a sandbox without a daemon: what the agent left at a protected name is put away and told. */
#include "inside.h"
#include "protect.h"
#include "standalone.h"
#include <stdio.h>
#include <string.h>
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
  if (report >= 0 && json_dumpfd(released, report, JSON_COMPACT) != 0) fprintf(stderr, "openshell: the report could not be written\n");
}

bool release_workspace(const struct launch_in *in, int report) {
  char label[64];
  struct tm parts;
  time_t now = time(NULL);
  pid_t child = -1;
  if (in->workspace_fd < 0 || in->manifest == NULL || json_object_get(in->manifest, "writable") == NULL) return true;
  strftime(label, sizeof label, "openshell-%Y%m%dT%H%M%SZ", gmtime_r(&now, &parts));
  /* The end of a pid namespace's init is the end of everything in it: nobody is left to wait for. */
  int fd = protect_start(in->workspace_fd, in->manifest, label, false, in->workspace_uid, in->workspace_gid, (uid_t)-1, "", &child);
  json_t *released = fd >= 0 ? protect_finish(fd, child) : NULL;
  if (released == NULL) fprintf(stderr, "openshell: THE WORKSPACE WAS NOT CHECKED: look at what changed in it before you open it\n");
  else tell(released, report);
  bool checked = released != NULL && json_is_true(json_object_get(released, "checked"));
  json_decref(released);
  return checked;
}
