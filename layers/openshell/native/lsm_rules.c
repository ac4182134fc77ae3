/* The plan's `lsm` as entries of the kernel's maps: each path is resolved once, in the sandbox's own view. */
#include "lsm_rules.h"
#include "openshelld_text.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES_MAX 512

struct lsm_armed {
  uint32_t rules;
  int cgroup;
};

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
  return bpf_map_update_elem(lsm_map(LSM_RULE_MAP), key, &rule, BPF_ANY) < 0 ? lsm_fail(work, "a rule", "does not fit", errno) : 0;
}

/* The name in its folder gets the rule too: what is made there later is under it from its first moment. */
static int put_name(const struct work *work, const char *path, const struct lsm_rule *rule) {
  char above[4096];
  const char *name = strrchr(path, '/') + 1, *end = path + strlen(path);
  struct lsm_rule there, value = *rule;
  struct lsm_child_key key = {.rules = work->rules};
  struct lsm_rule_key folder = {.rules = work->rules};
  struct lsm_rule its;
  int fd = -1;
  for (;;) {
    memset(key.name, 0, sizeof key.name);
    if (!text_format(above, sizeof above, "%.*s", name - path > 1 ? (int)(name - path - 1) : 1, path) || !text_format(key.name, sizeof key.name, "%.*s", (int)(end - name), name)) return lsm_fail(work, "too long a name:", path, 0);
    fd = open_inside(work->target->root, above);
    if (fd >= 0) break;
    if ((errno != ENOENT && errno != ENOTDIR) || name == path + 1) return lsm_fail(work, "cannot open", above, errno);
    /* The folder is missing too: whatever is made in its place has the rule, and so all that is below. */
    end = name - 1;
    while (name[-1] != '/' || name == end + 1) name--;
  }
  bool whole = *end == 0;
  int error = lsm_identify(fd, &key.dev, &key.ino);
  close(fd);
  if (error) return lsm_fail(work, "cannot identify", above, error);
  folder.dev = key.dev;
  folder.ino = key.ino;
  if (bpf_map_lookup_elem(lsm_map(LSM_RULE_MAP), &folder, &its) < 0) return lsm_fail(work, "the plan has no rule for the folder of", path, 0);
  its.flags |= LSM_RULE_NAMES;
  if (!whole && bpf_map_lookup_elem(lsm_map(LSM_NAMED_MAP), &key, &there) == 0) {
    value.deny |= there.deny;
    value.ask |= there.ask;
  }
  if (bpf_map_update_elem(lsm_map(LSM_RULE_MAP), &folder, &its, BPF_ANY) < 0 || bpf_map_update_elem(lsm_map(LSM_NAMED_MAP), &key, &value, BPF_ANY) < 0) return lsm_fail(work, "a name", "does not fit", errno);
  return 0;
}

static int put(const struct work *work, json_t *item, size_t index, bool names) {
  const char *path = json_string_value(json_object_get(item, "path"));
  struct lsm_rule rule = {.index = (uint32_t)index};
  if (!path || path[0] != '/' || !rights_of(json_object_get(item, "deny"), &rule.deny) || !rights_of(json_object_get(item, "ask"), &rule.ask)) return lsm_fail(work, "malformed rule for", path ? path : "?", 0);
  rule.ask &= ~rule.deny;
  if (json_is_true(json_object_get(item, "protect"))) rule.flags |= LSM_RULE_PROTECT;
  if (strcmp(path, "/workspace") == 0) rule.flags |= LSM_RULE_WORKSPACE;
  if (!rights_of(json_object_get(item, "askSelf"), &rule.ask_self)) return lsm_fail(work, "malformed rule for", path, 0);
  json_t *shown = json_object_get(item, "escalate");
  if (json_is_integer(shown)) rule.index = (uint32_t)json_integer_value(shown);
  if (names) return path[1] && json_is_true(json_object_get(item, "named")) ? put_name(work, path, &rule) : 0;
  int fd = open_inside(work->target->root, path);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : lsm_fail(work, "cannot open", path, errno);
  struct lsm_rule_key key = {.rules = work->rules};
  int error = lsm_identify(fd, &key.dev, &key.ino);
  if (error) {
    close(fd);
    return lsm_fail(work, "cannot identify", path, error);
  }
  /* What a former set has a rule for is kept already. */
  struct lsm_rule_key before = {.rules = work->former, .dev = key.dev, .ino = key.ino};
  struct lsm_rule its;
  if (work->target->keep && bpf_map_lookup_elem(lsm_map(LSM_RULE_MAP), &before, &its) < 0) work->target->keep(fd, work->target->arg);
  close(fd);
  return put_rule(work, &key, rule, true);
}

/* From the top down: a group that is made meanwhile takes what the one above it has, which has the new set already. Takes `dir` over. */
static int put_below(int dir, const struct lsm_sandbox *sandbox) {
  int result = bpf_map_update_elem(lsm_map(LSM_SANDBOX_MAP), &dir, sandbox, BPF_ANY);
  DIR *list = result == 0 ? fdopendir(dir) : NULL;
  if (!list) {
    close(dir);
    return -1;
  }
  for (struct dirent *entry; result == 0 && (entry = readdir(list));) {
    int below = entry->d_type == DT_DIR && entry->d_name[0] != '.' ? openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (below >= 0) result = put_below(below, sandbox);
  }
  closedir(list);
  return result;
}

/* Each call is decided by one whole set: the one that its hook found in the group. */
static int put_sandbox(const struct work *work, const struct lsm_sandbox *sandbox) {
  int dir = openat(work->target->cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return dir < 0 || put_below(dir, sandbox) < 0 ? lsm_fail(work, "the control group", "takes no policy", errno) : 0;
}

static int arm(const struct work *work, json_t *lsm) {
  struct lsm_sandbox sandbox = {.id = work->target->id, .rules = work->rules, .netns = work->target->netns};
  json_t *list = json_object_get(lsm, "rules"), *elsewhere = json_object_get(lsm, "elsewhere"), *item;
  bool names;
  size_t i;
  if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > RULES_MAX) return lsm_fail(work, "malformed", "plan", 0);
  if (!rights_of(json_object_get(elsewhere, "deny"), &sandbox.elsewhere_deny) || !rights_of(json_object_get(elsewhere, "ask"), &sandbox.elsewhere_ask)) return lsm_fail(work, "malformed", "elsewhere", 0);
  json_array_foreach(json_object_get(lsm, "families"), i, item) {
    json_int_t family = json_integer_value(item);
    if (family <= 0 || family > 63) return lsm_fail(work, "malformed", "families", 0);
    sandbox.families |= 1ull << family;
  }
  json_array_foreach(list, i, item) if (put(work, item, i, false) < 0) return -1;
  json_array_foreach(list, i, item) if (put(work, item, i, true) < 0) return -1;
  if (lsm_put_protected(work, lsm, &names) < 0) return -1;
  if (names) sandbox.flags |= LSM_NAMES;
  return put_sandbox(work, &sandbox);
}

struct lsm_armed *lsm_arm(const struct lsm_target *target, json_t *lsm, char *err, size_t size) {
  struct lsm_sandbox former = {0};
  bool again = bpf_map_lookup_elem(lsm_map(LSM_SANDBOX_MAP), &target->cgroup, &former) == 0 && former.id == target->id;
  struct work work = {target, lsm_fresh_set(), again ? former.rules : 0, err, size};
  struct lsm_armed *armed = calloc(1, sizeof *armed);
  if (!armed) return NULL;
  armed->rules = work.rules;
  armed->cgroup = fcntl(target->cgroup, F_DUPFD_CLOEXEC, 3);
  if (armed->cgroup >= 0 && work.rules && arm(&work, lsm) == 0) {
    /* Only when no hook can be in the middle of the former set any more, which is what this waits for (membarrier(2)); where it cannot, the former set stays in the maps, of use to nobody. */
    if (again && syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) lsm_sweep_set(former.rules);
    return armed;
  }
  if (armed->cgroup < 0 || !work.rules) lsm_fail(&work, "control group or number:", "none", errno);
  if (!again) {
    lsm_disarm(armed);
    return NULL;
  }
  /* The former set stays in force whole, also where a group below had got the new one. */
  char nothing[300];
  (void)put_sandbox(&(struct work){target, former.rules, 0, nothing, sizeof nothing}, &former);
  if (work.rules && syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) lsm_sweep_set(work.rules);
  lsm_forget(armed);
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
    lsm_sweep_set(armed->rules);
  }
  lsm_forget(armed);
}
