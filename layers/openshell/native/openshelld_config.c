/* openshelld's configuration. */
#include "openshelld_config.h"
#include "openshelld_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const role_names[ROLES] = {"gateway", "worker", "ledger", "demo"};
struct config config;

static bool good_path(const char *path) { return path && path[0] == '/' && strlen(path) < 90 && !strstr(path, "/../"); }

static int load_identities(json_t *identities, char *err, size_t errlen) {
  for (int r = 0; r < ROLES; r++) {
    json_int_t uid = 0, gid = 0;
    json_t *one = json_object_get(identities, role_names[r]);
    if (!one && r == ROLE_DEMO) continue;
    if (!one || json_unpack(one, "{s:I,s:I}", "uid", &uid, "gid", &gid) < 0 || uid <= 0 || gid <= 0) {
      text_format(err, errlen, "identities.%s: needs a uid and a gid that are not root's", role_names[r]);
      return -1;
    }
    config.identity[r] = (struct identity){(uid_t)uid, (gid_t)gid};
    for (int k = 0; k < r; k++)
      if (config.identity[k].uid == (uid_t)uid) {
        text_format(err, errlen, "identities.%s: same uid as %s", role_names[r], role_names[k]);
        return -1;
      }
    if ((uid_t)uid >= config.agent_first && (uid_t)uid - config.agent_first < config.agent_count) {
      text_format(err, errlen, "identities.%s: lies in agentUids", role_names[r]);
      return -1;
    }
  }
  return 0;
}

static int check_services(char *err, size_t errlen) {
  size_t i, k;
  json_t *service, *argument;
  json_array_foreach(config.services, i, service) {
    const char *name = json_string_value(json_object_get(service, "name"));
    const char *role = json_string_value(json_object_get(service, "role"));
    json_t *argv = json_object_get(service, "argv");
    bool known = false;
    for (int r = 0; r < ROLES; r++)
      if (role && strcmp(role, role_names[r]) == 0) known = config.identity[r].uid != 0;
    bool good = name && role && known && strlen(name) < 24 && !strchr(name, '/') && json_array_size(argv) > 0;
    json_array_foreach(argv, k, argument) {
      char *text = json_is_string(argument) ? config_expand(json_string_value(argument)) : NULL;
      good = good && text && (k > 0 || text[0] == '/');
      free(text);
    }
    if (!good) {
      text_format(err, errlen, "services[%zu]: needs a name, a known role with an identity, and an argv that starts with an absolute path", i);
      return -1;
    }
  }
  return 0;
}

int config_limits(json_t *limits, char *err, size_t errlen) {
  json_error_t error;
  json_int_t memory = 0, pids = 0, cpu = 0;
  config.max_sandboxes = 512;
  config.asks = 6000;
  config.max_registrations = 1024;
  if (limits && json_unpack_ex(limits, &error, JSON_STRICT, "{s?i,s?i,s?i,s?I,s?I,s?I}", "asks", &config.asks, "sandboxes", &config.max_sandboxes, "registrations", &config.max_registrations, "memoryBytes", &memory, "pids", &pids, "cpuMillis", &cpu) < 0) {
    text_format(err, errlen, "limits: %s", error.text);
    return -1;
  }
  config.memory_bytes = memory;
  config.pids = pids;
  config.cpu_millis = cpu;
  return 0;
}

int config_surroundings(json_t *roots) {
  static const char *const plain[] = {"/usr", "/opt", "/etc"};
  size_t n = roots ? json_array_size(roots) : 3;
  for (size_t i = 0; i < n && i < 16; i++) config.bind_roots[i] = roots ? json_string_value(json_array_get(roots, i)) : plain[i];
  ssize_t length = readlink("/proc/self/exe", config.shim, sizeof config.shim - 20);
  char *slash = length > 0 ? strrchr(config.shim, '/') : NULL;
  if (!slash) return -1;
  memcpy(slash + 1, "openshell-shim", sizeof "openshell-shim");
  return 0;
}

int config_devices(json_t *patterns, char *err, size_t errlen) {
  size_t i;
  json_t *one;
  if (patterns && (!json_is_array(patterns) || json_array_size(patterns) > 64)) {
    text_format(err, errlen, "devices: a list of at most 64 patterns");
    return -1;
  }
  json_array_foreach(patterns, i, one) {
    const char *text = json_string_value(one);
    if (text && strncmp(text, "/dev/", 5) == 0 && text[5] && !strstr(text, "/.") && !strpbrk(text, "?[\\")) continue;
    text_format(err, errlen, "devices[%zu]: must lie below /dev, with no other wildcard than *", i);
    return -1;
  }
  config.devices = patterns;
  return 0;
}

int config_load(const char *file, char *err, size_t errlen) {
  json_error_t error;
  json_t *root = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
  if (!root) {
    text_format(err, errlen, "%s:%d:%d: %s", file, error.line, error.column, error.text);
    return -1;
  }
  json_t *identities, *agents, *limits = NULL, *roots = NULL, *devices = NULL;
  int testing = 0, workers = 1, hold = 900;
  json_int_t operators = 0, first = 0, count = 0;
  config.instance = "default";
  if (json_unpack_ex(root, &error, JSON_STRICT, "{s?s,s:s,s:s,s:s,s?s,s:s,s:I,s:o,s:o,s?i,s:o,s?o,s?i,s?o,s?o,s?b}", "instance", &config.instance, "run", &config.run, "state", &config.state,
                     "prefix", &config.prefix, "lib", &config.lib, "node", &config.node, "operatorsGid", &operators, "identities", &identities, "agentUids", &agents, "workers", &workers,
                     "services", &config.services, "limits", &limits, "holdSeconds", &hold, "bindRoots", &roots, "devices", &devices, "testing", &testing) < 0) {
    text_format(err, errlen, "%s: %s", file, error.text);
    return -1;
  }
  if (!config.lib) {
    char *lib = malloc(strlen(config.prefix) + 5);
    if (!lib) return -1;
    stpcpy(stpcpy(lib, config.prefix), "/lib");
    config.lib = lib;
  }
  config.operators = (gid_t)operators;
  config.workers = workers;
  config.hold_ms = (int64_t)hold * 1000;
  config.testing = testing;
  char why[200] = "";
  if (config_limits(limits, why, sizeof why) < 0 || config_devices(devices, why, sizeof why) < 0) {
    text_format(err, errlen, "%s: %s", file, why);
    return -1;
  }
  if (!good_path(config.run) || !good_path(config.state) || !good_path(config.prefix) || strlen(config.instance) > 40 || strpbrk(config.instance, "/ \n") || workers < 1 || workers > 64 || hold < 1 || !json_is_array(config.services)) {
    text_format(err, errlen, "%s: run, state and prefix must be absolute and under 90 bytes; instance a plain word; workers 1 to 64; holdSeconds at least 1", file);
    return -1;
  }
  if (json_unpack(agents, "{s:I,s:I}", "first", &first, "count", &count) < 0 || first < 1000 || count < 1 || first + count > 0x7fffffff) {
    text_format(err, errlen, "%s: agentUids: needs first (from 1000) and count", file);
    return -1;
  }
  config.agent_first = (uid_t)first;
  config.agent_count = (uid_t)count;
  if (config_surroundings(roots) < 0) return -1;
  if (load_identities(identities, err, errlen) < 0) return -1;
  return check_services(err, errlen);
}

char *config_expand(const char *text) {
  const struct {
    const char *name, *value;
  } names[] = {{"{node}", config.node}, {"{lib}", config.lib}, {"{run}", config.run}, {"{state}", config.state}, {"{prefix}", config.prefix}};
  size_t room = strlen(text) + 8 * 4096, used = 0;
  char *out = malloc(room + 1);
  if (!out) return NULL;
  while (*text && used < room) {
    bool filled = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && *text == '{'; i++) {
      size_t length = strlen(names[i].name), value = strlen(names[i].value);
      if (strncmp(text, names[i].name, length) != 0 || used + value > room) continue;
      memcpy(out + used, names[i].value, value);
      used += value;
      text += length;
      filled = true;
      break;
    }
    if (!filled) out[used++] = *text++;
  }
  out[used] = 0;
  return out;
}

bool config_is_ours(uid_t uid) {
  for (int r = 0; r < ROLES; r++)
    if (config.identity[r].uid != 0 && config.identity[r].uid == uid) return true;
  return uid >= config.agent_first && uid - config.agent_first < config.agent_count;
}

static int make_folder(const char *base, const char *name, uid_t uid, gid_t gid, mode_t mode, char *err, size_t errlen) {
  char path[512];
  struct stat found;
  bool ok = text_format(path, sizeof path, "%s%s%s", base, name[0] ? "/" : "", name);
  if (ok && mkdir(path, 0700) < 0 && errno == ENOENT && !name[0]) {
    /* The parents of run and state, for an instance under a new root. */
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
      *slash = 0;
      (void)mkdir(path, 0755);
      *slash = '/';
    }
    (void)mkdir(path, 0700);
  }
  /* lchown and not chown: a service could have put a link there while we were away. */
  if (ok && lstat(path, &found) == 0 && S_ISDIR(found.st_mode) && lchown(path, uid, gid) == 0 && chmod(path, mode) == 0) return 0;
  text_format(err, errlen, "%s: %s", path, strerror(errno ? errno : ENOTDIR));
  return -1;
}

int config_make_folders(char *err, size_t errlen) {
  const struct identity *gateway = &config.identity[ROLE_GATEWAY], *ledger = &config.identity[ROLE_LEDGER];
  /* The gateway makes its own socket in `run`; sticky, so that it cannot touch what others put there. */
  if (make_folder(config.run, "", 0, gateway->gid, 01775, err, errlen) < 0) return -1;
  if (make_folder(config.run, "openshelld", gateway->uid, gateway->gid, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.run, "shims", 0, 0, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.state, "", 0, 0, 0755, err, errlen) < 0) return -1;
  if (make_folder(config.state, "gateway", gateway->uid, gateway->gid, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.state, "ledger", ledger->uid, ledger->gid, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.state, "checkpoints", 0, 0, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.state, "layers", 0, 0, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.state, "workspaces", 0, 0, 0700, err, errlen) < 0) return -1;
  if (make_folder(config.state, "log", 0, 0, 0755, err, errlen) < 0) return -1;
  return make_folder(config.state, "agents", 0, 0, 0755, err, errlen);
}
