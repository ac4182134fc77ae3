/* Reads a LaunchPlan and refuses whatever is outside the host's bounds. */
#include "inside.h"
#include <stdlib.h>
#include <string.h>

bool plan_path_ok(const char *path, bool root) {
  if (path == NULL || path[0] != '/' || strlen(path) >= 4000) return false;
  if (path[1] == '\0') return root;
  for (const char *p = path; *p != '\0';) {
    const char *end = strchrnul(p + 1, '/');
    size_t n = (size_t)(end - p - 1);
    if (n == 0 || n > 255 || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.')) return false;
    p = end;
  }
  return true;
}

size_t bind_root_of(const char *source, const struct launch_in *in) {
  static const char *const usual[] = {"/usr", "/opt", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache", NULL};
  size_t longest = 0;
  for (const char *const *r = in->bind_roots != NULL ? in->bind_roots : usual; *r != NULL; r++) {
    size_t n = strlen(*r);
    if (n > longest && strncmp(source, *r, n) == 0 && (source[n] == '\0' || source[n] == '/')) longest = n;
  }
  return longest;
}

static bool below_bind_roots(const char *source, const struct launch_in *in) { return bind_root_of(source, in) > 0; }

/* Each device by its own name: a policy gets none that the host does not name. */
static bool permitted_device(const char *path, const struct launch_in *in) {
  for (const char *const *d = in->devices; d != NULL && *d != NULL; d++)
    if (strcmp(*d, path) == 0) return strncmp(path, "/dev/", 5) == 0;
  return false;
}

static const char *string_of(json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }

static bool number_of(json_t *object, const char *key, uint64_t most, uint64_t *out) {
  json_t *v = json_object_get(object, key);
  if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > most) return false;
  *out = (uint64_t)json_integer_value(v);
  return true;
}

static bool flag_of(json_t *object, const char *key, bool *out) {
  json_t *v = json_object_get(object, key);
  if (!json_is_boolean(v)) return false;
  *out = json_boolean_value(v);
  return true;
}

static const struct {
  const char *name;
  enum step_kind kind;
} step_names[] = {
    {"dir", STEP_DIR}, {"file", STEP_FILE}, {"link", STEP_LINK}, {"tmpfs", STEP_TMPFS}, {"bind", STEP_BIND}, {"concat", STEP_CONCAT},
    {"dev", STEP_DEV}, {"proc", STEP_PROC}, {"workspace", STEP_WORKSPACE}, {"pin", STEP_PIN}, {"freeze", STEP_FREEZE}, {"thaw", STEP_THAW}, {"run", STEP_RUN}, {"mask", STEP_MASK}, {"twin", STEP_TWIN}, {"device", STEP_DEVICE},
};

static bool mode_of(json_t *object, uint32_t *mode) {
  uint64_t v;
  if (!number_of(object, "mode", 01777, &v)) return false; /* never set-uid or set-gid */
  *mode = (uint32_t)v;
  return true;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* A file's bytes in hex: what is no text (a trust store of Java). They live as long as the process. */
static bool raw_of(json_t *o, struct step *s) {
  const char *hex = string_of(o, "hex");
  size_t n = hex != NULL ? strlen(hex) : 0;
  if (hex == NULL || n % 2 != 0 || n / 2 > PLAN_RAW_MAX || (s->raw = malloc(n / 2 + 1)) == NULL) return false;
  for (size_t i = 0; i < n; i += 2) {
    int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
    if (high < 0 || low < 0) return false;
    s->raw[i / 2] = (unsigned char)(high << 4 | low);
  }
  s->raw_length = n / 2;
  return true;
}

/* Parses one step; false: a field is missing, of the wrong type or out of bounds. */
static bool step_of(json_t *o, const struct launch_in *in, struct step *s) {
  const char *name = string_of(o, "do"), *path = string_of(o, "path");
  if (name == NULL || !plan_path_ok(path, false)) return false;
  s->path = path + 1;
  size_t i = 0, total = sizeof step_names / sizeof *step_names;
  while (i < total && strcmp(step_names[i].name, name) != 0) i++;
  if (i == total) return false;
  s->kind = step_names[i].kind;
  switch (s->kind) {
  case STEP_DIR: return mode_of(o, &s->mode);
  case STEP_FILE: return mode_of(o, &s->mode) && (json_object_get(o, "hex") != NULL ? raw_of(o, s) : (s->text = string_of(o, "text")) != NULL);
  case STEP_LINK: return (s->source = string_of(o, "to")) != NULL && s->source[0] != '\0';
  case STEP_TMPFS: {
    const char *owner = string_of(o, "owner");
    if (owner == NULL) return false;
    s->agent = strcmp(owner, "agent") == 0;
    return (s->agent || strcmp(owner, "root") == 0) && mode_of(o, &s->mode) && number_of(o, "bytes", 1ULL << 40, &s->bytes) && s->bytes > 0 && flag_of(o, "exec", &s->yes);
  }
  case STEP_BIND:
    s->exec = !json_is_true(json_object_get(o, "noexec"));
    return plan_path_ok(s->source = string_of(o, "source"), false) && below_bind_roots(s->source, in) && flag_of(o, "optional", &s->yes);
  case STEP_CONCAT:
    s->mode = 0644;
    return plan_path_ok(s->source = string_of(o, "source"), false) && below_bind_roots(s->source, in) && (s->text = string_of(o, "text")) != NULL;
  case STEP_DEVICE: return permitted_device(s->source = path, in);
  case STEP_DEV: return number_of(o, "shmBytes", 1ULL << 40, &s->bytes) && s->bytes > 0;
  case STEP_WORKSPACE: return flag_of(o, "readOnly", &s->yes) && flag_of(o, "exec", &s->exec);
  case STEP_FREEZE:
  case STEP_MASK: {
    const char *m = string_of(o, "missing");
    if (m == NULL) return s->kind == STEP_FREEZE && json_object_get(o, "missing") == NULL; /* MISSING_SKIP */
    s->missing = strcmp(m, "create-dir") == 0 ? MISSING_DIR : strcmp(m, "create-file") == 0 ? MISSING_FILE : MISSING_SKIP;
    return s->missing != MISSING_SKIP || strcmp(m, "skip") == 0;
  }
  case STEP_TWIN: {
    const char *m = string_of(o, "missing"), *as = string_of(o, "as");
    if (m == NULL || as == NULL) return false;
    s->missing = strcmp(m, "create-dir") == 0 ? MISSING_DIR : strcmp(m, "create-file") == 0 ? MISSING_FILE : MISSING_SKIP;
    s->yes = strcmp(as, "read-only") == 0;
    s->whole = strcmp(as, "view") == 0;
    return (s->missing != MISSING_SKIP || strcmp(m, "skip") == 0) && (s->yes || s->whole || strcmp(as, "writable") == 0);
  }
  case STEP_PROC:
  case STEP_PIN:
  case STEP_RUN:
  case STEP_THAW: return true;
  }
  return false;
}

static bool filter_of(const char *hex, struct plan *plan) {
  size_t n = hex != NULL ? strlen(hex) : 0;
  if (n == 0 || n % 16 != 0 || n / 16 > PLAN_FILTER_MAX) return false;
  unsigned char *bytes = (unsigned char *)plan->filter;
  for (size_t i = 0; i < n; i += 2) {
    int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i / 2] = (unsigned char)(high << 4 | low);
  }
  plan->filter_length = n / 16;
  return true;
}

static int off_of(json_t *list, const struct launch_in *in, struct plan *plan, struct fault *f) {
  static const char *const names[] = {"landlock", "seccomp", "uid", "caps", "view", "netns", "pidns", "lsm"};
  size_t index;
  json_t *item;
  if (!json_is_array(list)) return fault(f, "plan", 0, "plan: off is not a list");
  json_array_foreach(list, index, item) {
    const char *name = json_string_value(item);
    size_t i = 0, total = sizeof names / sizeof *names;
    while (i < total && (name == NULL || strcmp(names[i], name) != 0)) i++;
    if (i == total) return fault(f, "plan", 0, "plan: off[%zu] is not a layer", index);
    plan->off |= 1u << i;
  }
  if (plan->off != 0 && !in->allow_layer_switches) return fault(f, "plan", 0, "plan: layers may only be switched off where the host says testing: true");
  return 0;
}

int plan_parse(json_t *json, const struct launch_in *in, struct plan *plan, struct fault *f) {
  memset(plan, 0, sizeof *plan);
  uint64_t version;
  if (!number_of(json, "version", 1, &version) || version != 1) return fault(f, "plan", 0, "plan: version must be 1");
  plan->hostname = string_of(json, "hostname");
  if (plan->hostname == NULL || plan->hostname[0] == '\0' || strlen(plan->hostname) > 63) return fault(f, "plan", 0, "plan: hostname must have 1 to 63 bytes");
  const char *network = string_of(json, "network");
  if (network == NULL || (strcmp(network, "none") != 0 && strcmp(network, "capture") != 0)) return fault(f, "plan", 0, "plan: network must be none or capture");
  plan->capture = network[0] == 'c';
  if (!number_of(json, "rootBytes", 64 << 20, &plan->root_bytes) || plan->root_bytes == 0) return fault(f, "plan", 0, "plan: rootBytes must be 1 to 64 MiB");

  json_t *view = json_object_get(json, "view"), *item;
  size_t index;
  if (!json_is_array(view) || json_array_size(view) > PLAN_STEPS_MAX) return fault(f, "plan", 0, "plan: view must be a list of at most %d steps", PLAN_STEPS_MAX);
  json_array_foreach(view, index, item) {
    if (!step_of(item, in, &plan->steps[index])) return fault(f, "plan", 0, "plan: view[%zu] (%s %s) is malformed or outside the host's bounds", index, string_of(item, "do") ?: "?", string_of(item, "path") ?: "?");
    if (plan->steps[index].kind == STEP_WORKSPACE && in->workspace_fd < 0) return fault(f, "plan", 0, "plan: view[%zu] wants a workspace, none was given", index);
  }
  plan->step_count = json_array_size(view);

  json_t *landlock = json_object_get(json, "landlock"), *rules = json_object_get(landlock, "rules");
  if (!json_is_array(rules) || json_array_size(rules) > PLAN_RULES_MAX || !flag_of(landlock, "handleTcp", &plan->landlock_tcp)) return fault(f, "plan", 0, "plan: landlock is malformed");
  json_array_foreach(rules, index, item) {
    struct landlock_rule *r = &plan->rules[index];
    r->path = string_of(item, "path");
    if (!plan_path_ok(r->path, true) || !number_of(item, "rights", UINT32_MAX, &r->rights)) return fault(f, "plan", 0, "plan: landlock.rules[%zu] is malformed", index);
  }
  plan->rule_count = json_array_size(rules);

  if (!filter_of(string_of(json_object_get(json, "seccomp"), "filter"), plan)) return fault(f, "plan", 0, "plan: seccomp.filter must be hex of 1 to %d instructions", PLAN_FILTER_MAX);
  json_t *seen = json_object_get(json_object_get(json, "identity"), "seen");
  uint64_t number = 0;
  if (!json_is_null(seen) && (!number_of(json_object_get(json, "identity"), "seen", 0xfffffffe, &number) || number == 0)) return fault(f, "plan", 0, "plan: identity.seen must be null or a uid other than 0");
  plan->seen = json_is_null(seen) ? -1 : (int64_t)number;
  json_t *limits = json_object_get(json, "limits");
  if (!number_of(limits, "openFiles", 1 << 20, &plan->open_files) || plan->open_files < 16 || !number_of(limits, "pids", 1 << 22, &plan->pids) || plan->pids < 1) return fault(f, "plan", 0, "plan: limits are malformed");
  if (json_object_get(limits, "timeoutMs") != NULL && (!number_of(limits, "timeoutMs", 30ULL * 86400000, &plan->timeout_ms) || plan->timeout_ms == 0)) return fault(f, "plan", 0, "plan: limits.timeoutMs must be 1 ms to 30 days");
  if (json_object_get(limits, "processBytes") != NULL && !number_of(limits, "processBytes", 1ULL << 50, &plan->process_bytes)) return fault(f, "plan", 0, "plan: limits.processBytes is malformed");
  if (json_object_get(limits, "diskBytes") != NULL && (!number_of(limits, "diskBytes", 1ULL << 50, &plan->disk_bytes) || plan->disk_bytes == 0)) return fault(f, "plan", 0, "plan: limits.diskBytes is malformed");
  json_t *workspace = json_object_get(json, "workspace");
  const char *kind = string_of(workspace, "kind"), *end = string_of(workspace, "onEnd");
  plan->overlay = kind != NULL && strcmp(kind, "overlay") == 0;
  plan->layer_kept = end != NULL && strcmp(end, "keep") == 0;
  if (kind == NULL || end == NULL || (!plan->overlay && strcmp(kind, "direct") != 0) || (!plan->layer_kept && strcmp(end, "discard") != 0) || !number_of(workspace, "bytes", 1ULL << 50, &plan->layer_bytes)) return fault(f, "plan", 0, "plan: workspace is malformed");
  json_t *protect = json_object_get(json, "protect");
  if (!json_is_null(protect) && !json_is_object(protect)) return fault(f, "plan", 0, "plan: protect must be null or an object");
  json_t *call;
  size_t k;
  json_array_foreach(json_object_get(json, "escalate"), index, item) json_array_foreach(json_object_get(item, "calls"), k, call) {
    uint64_t nr;
    if (!number_of(call, "nr", sizeof plan->asked - 1, &nr)) return fault(f, "plan", 0, "plan: escalate[%zu].calls[%zu] is malformed", index, k);
    plan->asked[nr] = true;
  }
  return off_of(json_object_get(json, "off"), in, plan, f);
}
