/* When a workspace is given back: what is new or changed at a protected name goes where nothing runs it. Everybody of the sandbox is dead. */
#include "inside.h"
#include "protect.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAMED_MAX 200 /* in the answer; the others are moved and counted */

struct release {
  int root, into; /* into: the folder of this quarantine, -1 until something is moved */
  json_t *known, *found;
  const char *label;
  char name[200]; /* of the quarantine, relative to the workspace */
  unsigned more;
  bool failed, resumed, dry; /* dry: nothing is moved, only named, all of it */
};

/* Renaming a folder changes what it says of its parent, and the one it lies in: their owner may have lost the right to write. */
static void make_writable(int parent, const char *name) {
  struct stat st;
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", parent);
  if (fstat(parent, &st) == 0 && (st.st_mode & 0300) != 0300) (void)chmod(link, (st.st_mode & 07777) | 0700);
  int at = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (at < 0) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  if (fstat(at, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0300) != 0300) (void)chmod(link, (st.st_mode & 07777) | 0700);
  close(at);
}

static int open_quarantine(struct release *r) {
  char name[160];
  if (r->into >= 0) return 0;
  int top = -1, made = -1;
  for (int i = 0; i < 100 && top < 0; i++) {
    snprintf(name, sizeof name, i == 0 ? PROTECT_QUARANTINE : PROTECT_QUARANTINE "-%d", i);
    bool fresh = mkdirat(r->root, name, 0700) == 0;
    if (!fresh && errno != EEXIST) return -1;
    top = openat(r->root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0 || !fresh) continue;
    /* So that git leaves it alone. */
    int ignore = openat(top, ".gitignore", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (ignore >= 0 && write(ignore, "*\n", 2) != 2) r->failed = true;
    if (ignore >= 0) close(ignore);
  }
  if (top < 0) return -1;
  char inner[130];
  for (int i = 0; i < 100 && made != 0; i++) {
    snprintf(inner, sizeof inner, i == 0 ? "%s" : "%s-%d", r->label, i);
    made = mkdirat(top, inner, 0700);
    if (made != 0 && errno != EEXIST) break;
  }
  if (made == 0) r->into = openat(top, inner, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  close(top);
  snprintf(r->name, sizeof r->name, "%.80s/%.110s", name, inner);
  return r->into >= 0 ? 0 : -1;
}

/* The folder in the quarantine that stands for the one a thing was in. */
static int matching_folder(int into, const char *path) {
  int at = fcntl(into, F_DUPFD_CLOEXEC, 3);
  for (const char *slash; at >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
    if (mkdirat(at, name, 0700) != 0 && errno != EEXIST) {
      close(at);
      return -1;
    }
    int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close(at);
    at = next;
  }
  return at;
}

static bool move_away(struct release *r, const char *path) {
  const char *name;
  if (open_quarantine(r) != 0) return false;
  int from = protect_parent(r->root, path, &name), to = from >= 0 ? matching_folder(r->into, path) : -1;
  bool moved = false;
  if (from >= 0 && to >= 0) {
    moved = syscall(SYS_renameat2, from, name, to, name, 1 /* RENAME_NOREPLACE */) == 0;
    if (!moved && (errno == EACCES || errno == EPERM)) {
      make_writable(from, name);
      moved = syscall(SYS_renameat2, from, name, to, name, 1) == 0;
    }
  }
  if (from >= 0) close(from);
  if (to >= 0) close(to);
  return moved;
}

static void quarantine(struct release *r, const char *path, const char *why) {
  bool moved = !r->dry && move_away(r, path);
  if (!moved) r->failed = true;
  if (!r->dry && json_array_size(r->found) >= NAMED_MAX) {
    r->more++;
    return;
  }
  char *text = protect_escape(path);
  if (text != NULL) json_array_append_new(r->found, json_pack("{s:s,s:s,s:b}", "path", text, "why", why, "moved", moved));
  free(text);
}

static const char *fault_of(struct release *r, const struct found *one, const char *before) {
  char now[65];
  if (before != NULL && strcmp(before, "deep") == 0) return NULL;
  if (before != NULL && before[0] != '\0') {
    protect_digest(r->root, one->path, now);
    if (strcmp(now, before) == 0) return NULL;
  }
  if (one->kind == FOUND_DEEP) return "too deep to be checked";
  if (one->kind != FOUND_NAME && one->kind != FOUND_HOOK && git_harmless(r->root, one)) return NULL;
  return before != NULL && before[0] != '\0' ? "changed" : "new";
}

static void check(struct release *r, const struct found_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    struct found *one = &list->all[i];
    if (one->kind == FOUND_HOOKS || one->kind == FOUND_NO_HOOKS) continue;
    char *text = protect_escape(one->path);
    const char *before = text != NULL ? json_string_value(json_object_get(r->known, text)) : NULL, *why = fault_of(r, one, before);
    if (text != NULL) json_object_del(r->known, text); /* before is dead now */
    free(text);
    if (why != NULL) quarantine(r, one->path, why);
  }
  /* Where a link or a setting of git led: found by no name of its own. */
  const char *key;
  json_t *digest;
  void *next;
  json_object_foreach_safe(r->known, next, key, digest) {
    char now[65], *path = protect_unescape(key);
    const char *before = json_string_value(digest);
    if (path != NULL && before != NULL && strcmp(before, "deep") != 0) {
      protect_digest(r->root, path, now);
      if (now[0] != '\0' && strcmp(now, before) != 0) quarantine(r, path, before[0] != '\0' ? "changed" : "new");
    }
    free(path);
  }
}

static void remove_placeholders(int root, json_t *list) {
  size_t index;
  json_t *item;
  json_array_foreach(list, index, item) {
    const char *text = json_string_value(json_object_get(item, "path")), *name;
    char *path = text != NULL ? protect_unescape(text) : NULL;
    int parent = path != NULL ? protect_parent(root, path, &name) : -1;
    struct stat st;
    if (parent >= 0 && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      if (S_ISDIR(st.st_mode)) (void)unlinkat(parent, name, AT_REMOVEDIR); /* only an empty one */
      else if (S_ISREG(st.st_mode) && st.st_size == 0) (void)unlinkat(parent, name, 0);
    }
    if (parent >= 0) close(parent);
    free(path);
  }
}

json_t *protect_look(int root, json_t *manifest) {
  struct release r = {.root = root, .into = -1, .dry = true, .known = json_deep_copy(json_object_get(manifest, "known")), .found = json_array()};
  struct found_list list = {0};
  struct protect_rules *rules = malloc(sizeof *rules);
  bool good = rules != NULL && r.known != NULL && r.found != NULL && protect_rules_of(json_object_get(manifest, "protect"), rules) && protect_walk(root, rules, PROTECT_ENTRIES_RELEASE, false, &list) == 0 && list.whole;
  if (good) check(&r, &list);
  found_free(&list);
  free(rules);
  json_decref(r.known);
  if (good) return r.found;
  json_decref(r.found);
  return NULL;
}

/* An earlier check with this label was killed: the quarantine is ours, and goes on being it. */
static bool interrupted(struct release *r) {
  char path[200];
  struct stat st;
  snprintf(path, sizeof path, PROTECT_QUARANTINE "/%.110s", r->label);
  int at = protect_open(r->root, path, O_PATH | O_DIRECTORY);
  if (at < 0) return false;
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  if (fstat(at, &st) == 0 && chmod(link, 0700) == 0) r->into = open(link, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(at);
  if (r->into >= 0) snprintf(r->name, sizeof r->name, "%s", path);
  r->resumed = r->into >= 0;
  return r->resumed;
}

json_t *protect_release(int root, json_t *manifest, const char *label, bool shared) {
  struct release r = {.root = root, .into = -1, .known = json_deep_copy(json_object_get(manifest, "known")), .found = json_array(), .label = label};
  json_t *protect = json_object_get(manifest, "protect");
  struct found_list list = {.whole = true};
  const char *problem = "";
  struct protect_rules *rules = malloc(sizeof *rules);
  if (json_is_true(json_object_get(manifest, "writable"))) {
    if (!shared) remove_placeholders(root, json_object_get(manifest, "placeholders"));
    if (json_is_object(protect)) {
      if (rules == NULL || r.known == NULL || r.found == NULL || !protect_rules_of(protect, rules) || protect_walk(root, rules, PROTECT_ENTRIES_RELEASE, true, &list) != 0) list.whole = false;
      /* Made by the sandbox: a trap in the place where ours will be. */
      if (list.quarantine && !json_is_true(json_object_get(manifest, "quarantine")) && !interrupted(&r)) {
        char aside[200];
        snprintf(aside, sizeof aside, PROTECT_QUARANTINE "-of-%.100s", label);
        if (syscall(SYS_renameat2, root, PROTECT_QUARANTINE, root, aside, 1) == 0) quarantine(&r, aside, "new");
        else r.failed = true;
      }
      check(&r, &list);
      if (!list.whole) {
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", root);
        problem = chmod(link, 0) == 0 ? "it has too many entries to be checked, so it was closed (mode 0); look at it, then chmod u+rwx" : "it has too many entries to be checked, and could not be closed";
      } else if (r.failed) problem = "not everything could be moved away";
      else if (r.resumed) problem = "an earlier check was interrupted; what it put away is in the same folder";
    }
  }
  if (r.into >= 0) {
    if (fchmod(r.into, 0) != 0) problem = "the quarantine could not be closed";
    close(r.into);
  }
  json_t *out = json_pack("{s:b,s:I,s:s,s:o,s:i,s:s}", "checked", list.whole, "entries", (json_int_t)list.entries, "quarantine", r.name, "found", r.found, "more", (int)r.more, "problem", problem);
  found_free(&list);
  free(rules);
  json_decref(r.known);
  return out;
}
