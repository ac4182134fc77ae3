/* Looks a refused call up in the plan's table: the nearest path above counts. */
#include "seen_rules.h"
#include <string.h>
#include <sys/syscall.h>

static bool lies_below(const char *path, const char *root) {
  size_t n = strlen(root);
  if (n == 1) return path[0] == '/';
  return strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

json_t *rule_of_path(json_t *rules, const struct seen_event *event, const struct seen_call *call, const char *path) {
  json_t *nearest = NULL, *one;
  size_t index, longest = 0;
  if (path[0] != '/' || strstr(path, "/../")) return NULL;
  json_array_foreach(json_object_get(rules, "paths"), index, one) {
    const char *root = json_string_value(json_object_get(one, "path"));
    if (!root || strlen(root) < longest || !lies_below(path, root)) continue;
    longest = strlen(root);
    nearest = one;
  }
  bool changes = call->changes_parent || call->owner_only || (call->wants(event) & SEEN_WRITE);
  json_t *rule = json_object_get(nearest, call->nr == SYS_execve ? "exec" : changes ? "write" : "read");
  return json_is_object(rule) ? rule : NULL;
}

json_t *rule_of_call(json_t *rules, const char *name) {
  json_t *rule = json_object_get(json_object_get(rules, "calls"), name);
  return json_is_object(rule) ? rule : NULL;
}
