/* A running sandbox under other rules: what a person is asked about, in tier A what the kernel decides, and the limits. */
#include "cgroup.h"
#include "holds_starts.h"
#include "openshelld_lsm.h"
#include "openshelld_sandboxes.h"
#include "openshelld_store.h"
#include "seen_watch.h"

static long long bounded(json_int_t asked, long long bound) { return bound > 0 && asked > bound ? bound : asked; }

void asked_update(struct service *service, json_t *message, json_int_t id) {
  struct sandbox *s = sandbox_find(json_string_value(json_object_get(message, "sandbox")));
  json_t *escalate = NULL, *lsm = NULL, *rule;
  json_int_t memory = 0, pids = 0, cpu = 0;
  char err[256] = "";
  size_t i;
  if (!s || s->state != SANDBOX_READY) {
    reply_error(service, id, "no-sandbox", "no such sandbox is running");
    return;
  }
  bool good = json_unpack(message, "{s:o,s:o,s:{s:I,s:I,s:I}}", "escalate", &escalate, "lsm", &lsm, "limits", "memoryBytes", &memory, "pids", &pids, "cpuMillis", &cpu) == 0 && json_is_array(escalate) && memory >= 0 && pids >= 0 && cpu >= 0;
  if (good) json_array_foreach(escalate, i, rule) good = good && json_is_string(json_object_get(rule, "path")) && json_is_array(json_object_get(rule, "on"));
  if (!good) {
    reply_error(service, id, "protocol", "sandbox.update needs escalate, lsm and limits");
    return;
  }
  if (!s->armed && !starts_same(s->escalate, escalate)) {
    reply_error(service, id, "protocol", "rules on starting programs stay as they were at the start");
    return;
  }
  if (shim_rules_size(message) + s->locks_size > SHIM_RULES_MAX) {
    reply_error(service, id, "plan", "the policy is too large: its rules take %zu bytes, %d at most", shim_rules_size(message) + s->locks_size, SHIM_RULES_MAX);
    return;
  }
  struct cgroup group;
  struct cgroup_limits limits = {.memory_bytes = bounded(memory, config.memory_bytes), .pids = (long)bounded(pids, config.pids), .cpus = (double)bounded(cpu, config.cpu_millis) / 1000};
  (void)cgroup_open(&group, config.instance, s->id);
  int failed = cgroup_limit(&group, &limits, err, sizeof err);
  cgroup_close(&group);
  if (failed) {
    reply_error(service, id, "host", "%s", err);
    return;
  }
  if (lsm_change(s, lsm, err, sizeof err) < 0) {
    reply_error(service, id, "host", "%s", err);
    return;
  }
  if (holds_change(s, escalate) < 0) {
    reply_error(service, id, "internal", "the rules cannot be changed");
    sandbox_gone(s, "its rules could not be changed");
    return;
  }
  watch_rules(s->id, json_object_get(message, "recordRules"));
  shim_say(s, json_pack("{s:s,s:O,s:O,s:O?}", "t", "rules", "escalate", escalate, "lsm", lsm, "recordRules", json_object_get(message, "recordRules")), NULL, 0);
  event_emit("configState", 1, 1, s->id, "openshelld", NULL, json_pack("{s:O}", "escalate", escalate), "The rules and limits of this sandbox changed");
  reply_ok(service, id, json_object(), NULL, 0);
}
