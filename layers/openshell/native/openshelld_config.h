/*
 * openshelld's configuration, one JSON file owned by root:
 * {
 *   "instance": "default",                       names the cgroups: nemoclaw-<instance>
 *   "run": "/run/nemoclaw", "state": "/var/lib/nemoclaw", "prefix": "/opt/nemoclaw",
 *   "node": "/opt/nemoclaw/node/bin/node",
 *   "operatorsGid": 995,
 *   "identities": {"gateway": {"uid": 991, "gid": 991}, "worker": {…}, "ledger": {…}, "demo": {…}},
 *   "agentUids": {"first": 200000, "count": 4096},
 *   "workers": 1,
 *   "services": [{"name": "ledger", "role": "ledger", "argv": ["{node}", "{lib}/gateway/src/processes/ledger.ts"], "env": {"K": "V"}}, …],
 *   "limits": {"sandboxes": 512, "registrations": 1024, "asks": 6000 (of a sandbox, a minute; what goes beyond is denied at once), "memoryBytes": 0, "pids": 0, "cpuMillis": 0},   a plan may ask for less, never for more (0: no bound)
 *   "holdSeconds": 900,
 *   "bindRoots": ["/usr", "/opt", "/etc"],
 *   "devices": ["/dev/nvidia*", "/dev/dri/renderD*"],    what gpuAccess: full may show, if it is a character device that agents may open (left out: none)
 *   "testing": false
 * }
 * In argv and env, {node}, {lib} (= prefix/lib, or "lib" where given), {run}, {state}, {prefix} are filled in. A service with role "worker" is
 * started `workers` times, as worker:1, worker:2 …; the others keep their name. Roles: gateway, worker, ledger, demo (a demo service gets no links).
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

enum role { ROLE_GATEWAY, ROLE_WORKER, ROLE_LEDGER, ROLE_DEMO, ROLES };
extern const char *const role_names[ROLES];

struct identity {
  uid_t uid;
  gid_t gid;
};

struct config {
  const char *instance, *run, *state, *prefix, *lib, *node;
  gid_t operators;
  struct identity identity[ROLES];
  uid_t agent_first, agent_count;
  int workers;
  json_t *services; /* array, kept */
  int max_sandboxes, max_registrations, asks;
  long long memory_bytes, pids, cpu_millis;
  int64_t hold_ms;
  const char *bind_roots[17];
  json_t *devices; /* patterns, or NULL: none */
  bool testing;
  bool alone; /* one program started us for itself: openshelld_alone.h */
  char shim[4096]; /* the shim program, beside openshelld */
};

extern struct config config;

/* Fills `config`. 0, or -1 with `err`. Refuses unknown keys, identities of root, overlapping identities. */
int config_load(const char *file, char *err, size_t errlen);
/* The parts that both ways to configure have: limits, bind roots, the shim beside us. 0, or -1 with `err`. */
int config_limits(json_t *limits, char *err, size_t errlen);
int config_surroundings(json_t *roots);
/* Patterns of devices: below /dev, `*` within one name. 0, or -1 with `err`. */
int config_devices(json_t *patterns, char *err, size_t errlen);
/* `text` with {node} and the like filled in; to be freed. NULL: unknown name, or no memory. */
char *config_expand(const char *text);
/* A uid that openshelld runs services or agents under, never a person's. */
bool config_is_ours(uid_t uid);
/* Makes the run and state folders with their owners. 0, or -1 with `err`. */
int config_make_folders(char *err, size_t errlen);
