/* Locks what is protected in the workspace: read-only mounts, and every folder above one a mount too, so that it cannot be renamed away. */
#include "protect.h"
#include "steps.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOCKS_MAX 2048 /* mounts for one workspace; more are refused, never left out */

struct locks {
  struct build *b;
  const char *workspace; /* relative to the new root */
  char **pinned;
  size_t count, room;
};

static bool known(const struct locks *l, const char *path) {
  for (size_t i = 0; i < l->count; i++)
    if (strcmp(l->pinned[i], path) == 0) return true;
  for (size_t i = 0; i < l->b->plan->step_count; i++) {
    const struct step *s = &l->b->plan->steps[i];
    if ((s->kind == STEP_PIN || s->kind == STEP_FREEZE || s->kind == STEP_THAW) && strcmp(s->path, path) == 0) return true;
  }
  return false;
}

static int lock(struct locks *l, enum step_kind kind, const char *path, struct fault *f) {
  struct step step = {.kind = kind, .path = path, .missing = MISSING_SKIP};
  if (l->count >= LOCKS_MAX) return fault(f, "view", 0, "view: more than %d protected names in the workspace", LOCKS_MAX);
  if (l->count == l->room) {
    char **more = realloc(l->pinned, (l->room + 128) * sizeof *more);
    if (more == NULL) return fault(f, "view", ENOMEM, "view: protect");
    l->pinned = more;
    l->room += 128;
  }
  if ((l->pinned[l->count] = strdup(path)) == NULL) return fault(f, "view", ENOMEM, "view: protect");
  l->count++;
  return view_step(l->b, &step, -1, f);
}

static int pin_above(struct locks *l, const char *path, struct fault *f) {
  char above[4200];
  for (const char *slash = strchr(path + strlen(l->workspace) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    snprintf(above, sizeof above, "%.*s", (int)(slash - path), path);
    if (!known(l, above) && lock(l, STEP_PIN, above, f) != 0) return -1;
  }
  return 0;
}

static int lock_one(struct locks *l, const struct found *one, struct fault *f) {
  char path[4200];
  struct stat st;
  if ((size_t)snprintf(path, sizeof path, "%s/%s", l->workspace, one->path) >= sizeof path) return fault(f, "view", ENAMETOOLONG, "view: protect");
  if (one->kind == FOUND_NO_HOOKS) {
    const struct step empty = {.path = path, .missing = MISSING_DIR};
    forget_parent(l->b);
    if (view_placeholder(l->b, &empty) != 0) return errno == EROFS || errno == EEXIST ? 0 : fault(f, "view", errno, "view: placeholder for /%s", path);
  }
  int at = open_inside(l->b->root, path, O_PATH | O_NOFOLLOW);
  /* Covered by a mask, gone meanwhile, or a link, which nothing can be mounted on: its target is locked by itself. */
  bool skip = at < 0 || fstat(at, &st) != 0 || S_ISLNK(st.st_mode);
  if (at >= 0) close(at);
  if (skip) return 0;
  return pin_above(l, path, f) != 0 ? -1 : known(l, path) ? 0 : lock(l, STEP_FREEZE, path, f);
}

static int by_path(const void *a, const void *b) { return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path); }

int protect_lock(struct build *b, const char *workspace, struct fault *f) {
  struct found_list *list = b->plan->found;
  struct locks l = {.b = b, .workspace = workspace};
  int r = 0;
  if (list == NULL) return 0;
  if (list->count > 1) qsort(list->all, list->count, sizeof *list->all, by_path);
  for (size_t i = 0; r == 0 && i < list->count; i++)
    if (list->all[i].lock) r = lock_one(&l, &list->all[i], f);
  if (r == 0 && list->quarantine) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", workspace, PROTECT_QUARANTINE);
    r = lock(&l, STEP_MASK, path, f);
  }
  for (size_t i = 0; i < l.count; i++) free(l.pinned[i]);
  free(l.pinned);
  return r;
}
