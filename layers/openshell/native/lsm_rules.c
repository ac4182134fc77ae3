/* The plan's `lsm` as entries of the kernel's maps: each path is resolved once, in the sandbox's own view. */
#include "lsm_kernel.h"
#include "openshelld_text.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES_MAX 512
#define NAMES_MAX 512

struct lsm_armed {
  uint32_t id;
  int cgroup;
};

struct work {
  const struct lsm_target *target;
  char *err;
  size_t size;
};

static int fail(const struct work *work, const char *what, const char *which, int error) {
  snprintf(work->err, work->size, "lsm: %s %s%s%s", what, which, error ? ": " : "", error ? strerror(error) : "");
  return -1;
}

static int open_inside(int root, const char *path) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* A list of rights' words as bits; false: a word is none. */
static bool rights_of(json_t *list, uint32_t *bits) {
  size_t i;
  json_t *word;
  *bits = 0;
  if (!json_is_array(list)) return false;
  json_array_foreach(list, i, word) {
    uint32_t bit = lsm_right(json_string_value(word));
    if (!bit) return false;
    *bits |= bit;
  }
  return true;
}

/* Two rules on one object (a folder that is shown twice): what either forbids is forbidden. */
static int put_rule(const struct work *work, const struct lsm_rule_key *key, struct lsm_rule rule, bool fresh) {
  struct lsm_rule there;
  if (fresh && bpf_map_lookup_elem(lsm_map(LSM_RULE_MAP), key, &there) == 0) {
    rule.deny |= there.deny;
    rule.ask |= there.ask;
    rule.flags |= there.flags;
  }
  return bpf_map_update_elem(lsm_map(LSM_RULE_MAP), key, &rule, BPF_ANY) < 0 ? fail(work, "a rule", "does not fit", errno) : 0;
}

/* The name in its folder gets the rule too: what is made there later is under it from its first moment. */
static int put_name(const struct work *work, const char *path, const struct lsm_rule *rule) {
  char above[4096];
  const char *name = strrchr(path, '/') + 1, *end = path + strlen(path);
  struct lsm_rule there, value = *rule;
  struct lsm_child_key key = {.sandbox = work->target->id};
  struct lsm_rule_key folder = {.sandbox = work->target->id};
  struct lsm_rule its;
  int fd = -1;
  for (;;) {
    memset(key.name, 0, sizeof key.name);
    if (!text_format(above, sizeof above, "%.*s", name - path > 1 ? (int)(name - path - 1) : 1, path) || !text_format(key.name, sizeof key.name, "%.*s", (int)(end - name), name)) return fail(work, "too long a name:", path, 0);
    fd = open_inside(work->target->root, above);
    if (fd >= 0) break;
    if ((errno != ENOENT && errno != ENOTDIR) || name == path + 1) return fail(work, "cannot open", above, errno);
    /* The folder is missing too: whatever is made in its place has the rule, and so all that is below. */
    end = name - 1;
    while (name[-1] != '/' || name == end + 1) name--;
  }
  bool whole = *end == 0;
  int error = lsm_identify(fd, &key.dev, &key.ino);
  close(fd);
  if (error) return fail(work, "cannot identify", above, error);
  folder.dev = key.dev;
  folder.ino = key.ino;
  if (bpf_map_lookup_elem(lsm_map(LSM_RULE_MAP), &folder, &its) < 0) return fail(work, "the plan has no rule for the folder of", path, 0);
  its.flags |= LSM_RULE_NAMES;
  if (!whole && bpf_map_lookup_elem(lsm_map(LSM_NAMED_MAP), &key, &there) == 0) {
    value.deny |= there.deny;
    value.ask |= there.ask;
  }
  if (bpf_map_update_elem(lsm_map(LSM_RULE_MAP), &folder, &its, BPF_ANY) < 0 || bpf_map_update_elem(lsm_map(LSM_NAMED_MAP), &key, &value, BPF_ANY) < 0) return fail(work, "a name", "does not fit", errno);
  return 0;
}

static int put(const struct work *work, json_t *item, size_t index, bool names) {
  const char *path = json_string_value(json_object_get(item, "path"));
  struct lsm_rule rule = {.index = (uint32_t)index};
  if (!path || path[0] != '/' || !rights_of(json_object_get(item, "deny"), &rule.deny) || !rights_of(json_object_get(item, "ask"), &rule.ask)) return fail(work, "malformed rule for", path ? path : "?", 0);
  rule.ask &= ~rule.deny;
  if (json_is_true(json_object_get(item, "protect"))) rule.flags |= LSM_RULE_PROTECT;
  if (strcmp(path, "/workspace") == 0) rule.flags |= LSM_RULE_WORKSPACE;
  if (!rights_of(json_object_get(item, "askSelf"), &rule.ask_self)) return fail(work, "malformed rule for", path, 0);
  json_t *shown = json_object_get(item, "escalate");
  if (json_is_integer(shown)) rule.index = (uint32_t)json_integer_value(shown);
  if (names) return path[1] && json_is_true(json_object_get(item, "named")) ? put_name(work, path, &rule) : 0;
  int fd = open_inside(work->target->root, path);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : fail(work, "cannot open", path, errno);
  struct lsm_rule_key key = {.sandbox = work->target->id};
  int error = lsm_identify(fd, &key.dev, &key.ino);
  if (error) {
    close(fd);
    return fail(work, "cannot identify", path, error);
  }
  if (work->target->keep) work->target->keep(fd, work->target->arg);
  close(fd);
  return put_rule(work, &key, rule, true);
}

/* All names, with what is known of each. */
struct names {
  size_t count, pairs;
  struct {
    struct lsm_name_key key;
    struct lsm_name value;
  } known[2 * NAMES_MAX];
};

static struct lsm_name *name_of(const struct work *work, struct names *all, const char *name, size_t length) {
  struct lsm_name_key key = {.sandbox = work->target->id};
  size_t k = 0;
  if (length == 0 || length >= sizeof key.name || memchr(name, '/', length)) {
    (void)fail(work, "too long or empty a protected name:", name, 0);
    return NULL;
  }
  memcpy(key.name, name, length);
  while (k < all->count && memcmp(&all->known[k].key, &key, sizeof key) != 0) k++;
  if (k == all->count) {
    if (k == 2 * NAMES_MAX) {
      (void)fail(work, "too many", "protected names", 0);
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
  if (!json_is_array(list)) return fail(work, "malformed", "protected names", 0);
  json_array_foreach(list, i, item) {
    const char *text = json_string_value(item), *slash = text ? strchr(text, '/') : NULL;
    struct lsm_name *first = text ? name_of(work, all, text, slash ? (size_t)(slash - text) : strlen(text)) : NULL;
    if (!first) return text ? -1 : fail(work, "malformed", "protected names", 0);
    if (!slash) {
      if (!alone) return fail(work, "not two names:", text, 0);
      first->flags |= alone;
      continue;
    }
    struct lsm_name *second = name_of(work, all, slash + 1, strlen(slash + 1));
    if (!second) return -1;
    if (all->pairs > 63) return fail(work, "too many", "protected names in folders", 0);
    uint64_t bit = 1ull << all->pairs++;
    first->parent |= bit;
    second->child |= bit;
    if (deep) first->deep |= bit;
    if (top) first->top |= bit;
  }
  return 0;
}

static int protect(const struct work *work, json_t *lsm, bool *some) {
  struct names *all = calloc(1, sizeof *all);
  json_t *holder = json_object_get(lsm, "hooksBelow");
  int result = !all ? fail(work, "no", "memory", 0) : 0;
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "protectedNames"), LSM_NAME_ALONE, false, false);
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "topNames"), LSM_NAME_TOP, false, true);
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "hooks"), 0, true, false);
  *some = result == 0 && all->count > 0;
  if (result == 0) result = add_names(work, all, json_object_get(lsm, "unprotectedFolders"), LSM_NAME_ENDS, false, false);
  if (result == 0) result = add_names(work, all, holder, LSM_NAME_HOLDS, false, false);
  for (size_t i = 0; result == 0 && i < all->count; i++)
    if (bpf_map_update_elem(lsm_map(LSM_PROTECTED_MAP), &all->known[i].key, &all->known[i].value, BPF_ANY) < 0) result = fail(work, "protected names", "do not fit", errno);
  free(all);
  return result;
}

/* Every key of a map begins with the sandbox's number. */
static void sweep(enum lsm_map map, uint32_t id, size_t key_size) {
  char key[sizeof(struct lsm_child_key)], next[sizeof(struct lsm_child_key)];
  bool first = true;
  while (bpf_map_get_next_key(lsm_map(map), first ? NULL : key, next) == 0) {
    uint32_t owner;
    memcpy(&owner, next, sizeof owner);
    if (owner == id) {
      /* The place before it stays a place to go on from. */
      if (bpf_map_delete_elem(lsm_map(map), next) == 0) continue;
    }
    memcpy(key, next, key_size);
    first = false;
  }
}

static void sweep_all(uint32_t id) {
  sweep(LSM_RULE_MAP, id, sizeof(struct lsm_rule_key));
  sweep(LSM_NAMED_MAP, id, sizeof(struct lsm_child_key));
  sweep(LSM_PROTECTED_MAP, id, sizeof(struct lsm_name_key));
}

static int arm(const struct work *work, json_t *lsm) {
  struct lsm_sandbox sandbox = {.id = work->target->id, .netns = work->target->netns};
  json_t *list = json_object_get(lsm, "rules"), *elsewhere = json_object_get(lsm, "elsewhere"), *item;
  bool names;
  size_t i;
  if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > RULES_MAX) return fail(work, "malformed", "plan", 0);
  if (!rights_of(json_object_get(elsewhere, "deny"), &sandbox.elsewhere_deny) || !rights_of(json_object_get(elsewhere, "ask"), &sandbox.elsewhere_ask)) return fail(work, "malformed", "elsewhere", 0);
  json_array_foreach(json_object_get(lsm, "families"), i, item) {
    json_int_t family = json_integer_value(item);
    if (family <= 0 || family > 63) return fail(work, "malformed", "families", 0);
    sandbox.families |= 1ull << family;
  }
  if (json_is_true(json_object_get(lsm, "monitor"))) sandbox.flags |= LSM_MONITOR;
  json_array_foreach(list, i, item) if (put(work, item, i, false) < 0) return -1;
  json_array_foreach(list, i, item) if (put(work, item, i, true) < 0) return -1;
  if (protect(work, lsm, &names) < 0) return -1;
  if (names) sandbox.flags |= LSM_NAMES;
  return bpf_map_update_elem(lsm_map(LSM_SANDBOX_MAP), &work->target->cgroup, &sandbox, BPF_ANY) < 0 ? fail(work, "the control group", "takes no policy", errno) : 0;
}

struct lsm_armed *lsm_arm(const struct lsm_target *target, json_t *lsm, char *err, size_t size) {
  struct work work = {target, err, size};
  struct lsm_armed *armed = calloc(1, sizeof *armed);
  if (!armed) return NULL;
  armed->id = target->id;
  armed->cgroup = fcntl(target->cgroup, F_DUPFD_CLOEXEC, 3);
  if (armed->cgroup >= 0 && arm(&work, lsm) == 0) return armed;
  if (armed->cgroup < 0) fail(&work, "control", "group", errno);
  lsm_disarm(armed);
  return NULL;
}

void lsm_forget(struct lsm_armed *armed) {
  if (!armed) return;
  if (armed->cgroup >= 0) close(armed->cgroup);
  free(armed);
}

void lsm_disarm(struct lsm_armed *armed) {
  if (!armed) return;
  if (lsm_active()) {
    if (armed->cgroup >= 0) (void)bpf_map_delete_elem(lsm_map(LSM_SANDBOX_MAP), &armed->cgroup);
    sweep_all(armed->id);
  }
  lsm_forget(armed);
}
