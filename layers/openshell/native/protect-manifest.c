/* What is protected in a workspace before the sandbox starts, kept for the comparison afterwards. */
#include "inside.h"
#include "protect.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int no_memory(char *err, size_t errlen) {
  snprintf(err, errlen, "protect: out of memory");
  return -1;
}

static bool exists(int root, const char *path) {
  int at = protect_open(root, path, O_PATH | O_NOFOLLOW);
  if (at >= 0) close(at);
  return at >= 0 || errno != ENOENT;
}

/* Where a link in the workspace leads, if it stays inside: that must not change either. */
static char *target_of(int root, const char *path) {
  struct open_rules how = {.flags = O_PATH | O_CLOEXEC, .resolve = RULE_BENEATH | RULE_NO_MAGICLINKS};
  char link[40], base[4200], target[4200], *result = NULL;
  struct stat st;
  int at = protect_open(root, path, O_PATH | O_NOFOLLOW);
  bool is_link = at >= 0 && fstat(at, &st) == 0 && S_ISLNK(st.st_mode);
  if (at >= 0) close(at);
  if (!is_link || (at = sys_openat2(root, path, &how)) < 0) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", root);
  ssize_t n = readlink(link, base, sizeof base - 1), m;
  snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  m = readlink(link, target, sizeof target - 1);
  close(at);
  if (n > 0 && m > n) {
    base[n] = target[m] = '\0';
    if (strncmp(base, target, (size_t)n) == 0 && target[n] == '/') result = strdup(target + n + 1);
  }
  return result;
}

static int placeholder(json_t *list, const char *path, bool folder) {
  char *text = protect_escape(path);
  int r = text != NULL ? json_array_append_new(list, json_pack("{s:s,s:b}", "path", text, "folder", folder)) : -1;
  free(text);
  return r;
}

static int know(json_t *known, const char *path, const char *digest) {
  char *text = protect_escape(path);
  int r = text != NULL ? json_object_set_new(known, text, json_string(digest)) : -1;
  free(text);
  return r;
}

/* Adds what belongs to it: where it leads, the hooks it names. */
static int remember(int root, struct found_list *list, size_t i, json_t *known, json_t *placeholders) {
  struct found one = list->all[i];
  char digest[65];
  if (one.kind == FOUND_HOOKS) return 0;
  if (one.kind == FOUND_NO_HOOKS) return placeholder(placeholders, one.path, true);
  if (one.kind == FOUND_DEEP) return know(known, one.path, "deep");
  protect_digest(root, one.path, digest);
  if (know(known, one.path, digest) != 0) return -1;
  char *more = one.kind == FOUND_GIT_CONFIG ? git_hooks_of(root, one.path) : target_of(root, one.path);
  if (more == NULL) return 0;
  protect_digest(root, more, digest);
  char *text = protect_escape(more);
  bool new = text != NULL && json_object_get(known, text) == NULL;
  int r = text == NULL ? -1 : !new ? 0 : know(known, more, digest) != 0 ? -1 : found_add(list, more, FOUND_HOOKS, true);
  free(text);
  free(more);
  return r;
}

/* Denied or frozen names that are not there: an empty thing is made in their place. */
static int denied(int root, json_t *view, const char *workspace, json_t *placeholders) {
  size_t index, n = strlen(workspace);
  json_t *step;
  json_array_foreach(view, index, step) {
    const char *path = json_string_value(json_object_get(step, "path")), *missing = json_string_value(json_object_get(step, "missing"));
    if (path == NULL || missing == NULL || strcmp(missing, "skip") == 0 || strncmp(path, workspace, n) != 0 || path[n] != '/') continue;
    if (!exists(root, path + n + 1) && placeholder(placeholders, path + n + 1, strcmp(missing, "create-dir") == 0) != 0) return -1;
  }
  return 0;
}

int protect_take(int root, json_t *plan, json_t *manifest, struct found_list *list, char *err, size_t errlen) {
  json_t *view = json_object_get(plan, "view"), *protect = json_object_get(plan, "protect"), *known = json_object(), *placeholders = json_array(), *step;
  const char *workspace = NULL;
  bool writable = false;
  size_t index;
  json_array_foreach(view, index, step) {
    const char *what = json_string_value(json_object_get(step, "do"));
    if (what == NULL) continue;
    if (strcmp(what, "workspace") == 0) {
      workspace = json_string_value(json_object_get(step, "path"));
      writable |= !json_is_true(json_object_get(step, "readOnly"));
    }
    writable |= strcmp(what, "thaw") == 0;
  }
  /* What is written to a layer has not reached the folder. */
  if (strcmp(json_string_value(json_object_get(json_object_get(plan, "workspace"), "kind")) ?: "", "overlay") == 0) writable = false;
  json_object_set_new(manifest, "writable", json_boolean(writable));
  json_object_set(manifest, "protect", protect != NULL ? protect : json_null());
  json_object_set_new(manifest, "known", known);
  json_object_set_new(manifest, "placeholders", placeholders);
  if (known == NULL || placeholders == NULL) return no_memory(err, errlen);
  if (workspace == NULL || !writable) return 0;
  if (denied(root, view, workspace, placeholders) != 0) return no_memory(err, errlen);
  if (!json_is_object(protect)) return 0;
  struct protect_rules *rules = malloc(sizeof *rules);
  if (rules == NULL) return no_memory(err, errlen);
  int r = 0;
  if (!protect_rules_of(protect, rules)) r = -1, snprintf(err, errlen, "plan: protect is malformed");
  else if (protect_walk(root, rules, PROTECT_ENTRIES_START, false, list) != 0) r = no_memory(err, errlen);
  else if (!list->whole) r = -1, snprintf(err, errlen, "protect: the workspace has more than %d entries; what is protected in it cannot be found (filesystem.protect: off starts it without)", PROTECT_ENTRIES_START);
  for (size_t i = 0; r == 0 && i < list->count; i++)
    if (remember(root, list, i, known, placeholders) != 0) r = no_memory(err, errlen);
  json_object_set_new(manifest, "quarantine", json_boolean(list->quarantine));
  free(rules);
  return r;
}
