/* The plan's protected names as entries of the kernel's map: a name alone, or a name in a folder of a name, as one bit that both have. */
#include "lsm_rules.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#define NAMES_MAX 512

/* All names, with what is known of each. */
struct names {
  size_t count, pairs;
  struct {
    struct lsm_name_key key;
    struct lsm_name value;
  } known[2 * NAMES_MAX];
};

static struct lsm_name *name_of(const struct work *work, struct names *all, const char *name, size_t length) {
  struct lsm_name_key key = {.rules = work->rules};
  size_t k = 0;
  if (length == 0 || length >= sizeof key.name || memchr(name, '/', length)) {
    (void)lsm_fail(work, "too long or empty a protected name:", name, 0);
    return NULL;
  }
  memcpy(key.name, name, length);
  while (k < all->count && memcmp(&all->known[k].key, &key, sizeof key) != 0) k++;
  if (k == all->count) {
    if (k == 2 * NAMES_MAX) {
      (void)lsm_fail(work, "too many", "protected names", 0);
      return NULL;
    }
    all->known[k].key = key;
    all->known[all->count++].value = (struct lsm_name){0};
  }
  return &all->known[k].value;
}

/* A list of the plan: `.envrc`, or `.config/mise`, a name in a folder of that name. `alone` for the former; of the latter `deep` or `top`. */
static int add_names(const struct work *work, struct names *all, json_t *list, uint32_t alone, bool deep, bool top) {
  size_t i;
  json_t *item;
  if (!json_is_array(list)) return lsm_fail(work, "malformed", "protected names", 0);
  json_array_foreach(list, i, item) {
    const char *text = json_string_value(item), *slash = text ? strchr(text, '/') : NULL;
    struct lsm_name *first = text ? name_of(work, all, text, slash ? (size_t)(slash - text) : strlen(text)) : NULL;
    if (!first) return text ? -1 : lsm_fail(work, "malformed", "protected names", 0);
    if (!slash) {
      if (!alone) return lsm_fail(work, "not two names:", text, 0);
      first->flags |= alone;
      continue;
    }
    struct lsm_name *second = name_of(work, all, slash + 1, strlen(slash + 1));
    if (!second) return -1;
    if (all->pairs > 63) return lsm_fail(work, "too many", "protected names in folders", 0);
    uint64_t bit = 1ull << all->pairs++;
    first->parent |= bit;
    second->child |= bit;
    if (deep) first->deep |= bit;
    if (top) first->top |= bit;
  }
  return 0;
}

int lsm_put_protected(const struct work *work, json_t *lsm, bool *some) {
  struct names *all = calloc(1, sizeof *all);
  json_t *holder = json_object_get(lsm, "hooksBelow");
  int result = !all ? lsm_fail(work, "no", "memory", 0) : 0;
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "protectedNames"), LSM_NAME_ALONE, false, false);
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "topNames"), LSM_NAME_TOP, false, true);
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "hooks"), 0, true, false);
  *some = result == 0 && all->count > 0;
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "unprotectedFolders"), LSM_NAME_ENDS, false, false);
  if (result == 0) result = add_names(work, all, holder, LSM_NAME_HOLDS, false, false);
  for (size_t i = 0; result == 0 && i < all->count; i++)
    if (bpf_map_update_elem(lsm_map(LSM_PROTECTED_MAP), &all->known[i].key, &all->known[i].value, BPF_ANY) < 0) result = lsm_fail(work, "protected names", "do not fit", errno);
  free(all);
  return result;
}
