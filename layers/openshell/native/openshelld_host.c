/* Facts about this host, for doctor and status. */
#include "cgroup.h"
#include "holds.h"
#include "launch.h"
#include "openshelld_connected.h"
#include "openshelld_devices.h"
#include "openshelld_lsm.h"
#include "openshelld_store.h"
#include "seen_refusals.h"
#include "seen_watch.h"

#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

void asked_host(struct service *service, json_t *message, json_int_t id) {
  struct utsname kernel = {0};
  struct cgroup_facts cgroup;
  int count = 0;
  (void)message;
  (void)uname(&kernel);
  cgroup_facts(&cgroup);
  for (struct sandbox *s = sandboxes; s; s = s->next) count++;
  long landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U);
  json_t *list = json_array();
  for (int i = 0; i < service_count; i++)
    json_array_append_new(list, json_pack("{s:s,s:i,s:I,s:i}", "name", services[i].name, "pid", (int)services[i].pid, "uid", (json_int_t)config.identity[services[i].role].uid, "restarts", (int)services[i].restarts));
  reply_ok(service, id,
           json_pack("{s:s,s:s,s:i,s:s,s:{s:b,s:b,s:b,s:b,s:b},s:b,s:b,s:b,s:i,s:i,s:o,s:o}", "tier", tier_name(), "tierWhy", tier_why(), "landlock", (int)(landlock < 0 ? 0 : landlock), "kernel", kernel.release, "cgroup", "v2", cgroup.v2, "memory", cgroup.memory, "pids",
                     cgroup.pids, "cpu", cgroup.cpu, "freezer", cgroup.freezer, "seen", watch_seeing(), "programs", programs_seen(), "testing", config.testing, "sandboxes", count, "sandboxLimit", config.max_sandboxes, "services", list, "gpu", devices_found()),
           NULL, 0);
}

static void tell_all(struct sandbox *sandbox) {
  refusals_tell_now();
  if (sandbox) counts_stop(sandbox);
}

/* The end of a run waits for this: what is told once a second is told now. */
void asked_flush(struct service *service, json_t *message, json_int_t id) {
  tell_all(sandbox_find(json_string_value(json_object_get(message, "sandbox"))));
  reply_ok(service, id, json_pack("{s:I}", "seq", (json_int_t)event_sequence()), NULL, 0);
}

/* What was seen of one sandbox until now. The record has it before the answer: whoever asked may read it there. */
void asked_seen(struct service *service, json_t *message, json_int_t id) {
  const char *name = json_string_value(json_object_get(message, "sandbox"));
  tell_all(sandbox_find(name));
  const struct seen_watch *watch = watch_by_id(name);
  if (watch) reply_ok(service, id, watch_counts(watch), NULL, 0);
  else reply_error(service, id, sandbox_find(name) ? "not-seen" : "no-sandbox", "the system calls of %s are not seen", name ? name : "?");
}
