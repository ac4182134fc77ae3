/* sandbox.create: what is asked is checked against the host's bounds, a uid is found, and a shim begins. */
#include "openshelld_alone.h"
#include "openshelld_descriptors.h"
#include "openshelld_devices.h"
#include "openshelld_layers.h"
#include "openshelld_release.h"
#include "openshelld_text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define CREATE_PATIENCE_MS 20000

static uid_t next_uid;

/* A number that no sandbox has now, and the one least recently used, so that files of a gone one stay nobody's for long. */
static uid_t free_uid(void) {
  if (config.alone) return alone_uid(0); /* the shim's number, once it has one */
  for (uid_t i = 0; i < config.agent_count; i++) {
    uid_t uid = config.agent_first + (next_uid + i) % config.agent_count;
    bool taken = false;
    for (struct sandbox *s = sandboxes; s && !taken; s = s->next) taken = s->uid == uid;
    if (taken) continue;
    next_uid = (next_uid + i + 1) % config.agent_count;
    return uid;
  }
  return 0;
}

static bool good_id(const char *id) {
  size_t n = strlen(id);
  for (const char *p = id; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("-_.", *p)) return false;
  return n > 0 && n <= 64 && id[0] != '.';
}

static void create_late(struct timer *timer) {
  struct sandbox *s = container_of(timer, struct sandbox, patience);
  struct service *gateway = service_find("gateway");
  if (gateway && s->create_request) reply_error(gateway, s->create_request, "timeout", "the sandbox was not ready in %d s", CREATE_PATIENCE_MS / 1000);
  s->create_request = 0;
  sandbox_gone(s, NULL);
}

void asked_create(struct service *service, json_t *message, json_int_t id) {
  const char *name = NULL, *registration = NULL, *worker = NULL, *manifest = "";
  char path[128], err[400] = "";
  json_t *plan = NULL;
  int count = 0, used;
  if (json_unpack(message, "{s:s,s:o,s:s,s:s,s?s}", "sandbox", &name, "plan", &plan, "registration", &registration, "worker", &worker, "manifest", &manifest) < 0 || !good_id(name) || !json_is_object(plan)) {
    reply_error(service, id, "protocol", "sandbox.create needs a sandbox id, a plan, a registration and a worker");
    return;
  }
  for (struct sandbox *s = sandboxes; s; s = s->next) count++;
  const struct registration *workspace = registration[0] ? registry_find(registration) : NULL;
  struct service *owner = service_find(worker);
  if (sandbox_find(name)) reply_error(service, id, "exists", "there is already a sandbox %s", name);
  else if (count >= config.max_sandboxes) reply_error(service, id, "full", "this host allows %d sandboxes", config.max_sandboxes);
  else if (!descriptors_suffice(&used)) reply_error(service, id, "full", "openshelld has %d files open and may have %d (RLIMIT_NOFILE): there is no room for another sandbox", used, descriptors_most());
  /* Said now: what the shim could not say again after a restart of openshelld would end the sandbox then. */
  else if (shim_rules_size(plan) > SHIM_RULES_MAX) reply_error(service, id, "plan", "the policy is too large: its rules take %zu bytes, %d at most", shim_rules_size(plan), SHIM_RULES_MAX);
  else if (registration[0] && !workspace) reply_error(service, id, "registration", "no workspace is registered as %s", registration);
  else if (registration[0] && release_first(service, message, id, registration)) return;
  else if (worker[0] && (!owner || owner->role != ROLE_WORKER)) reply_error(service, id, "worker", "there is no worker %s", worker);
  else if (!text_format(path, sizeof path - 20, config.alone ? "" : "%s/shims/%s.sock", config.run, name)) reply_error(service, id, "protocol", "the name is too long for a socket");
  else {
    struct sandbox *s = sandbox_make(name);
    uid_t uid = s ? free_uid() : 0;
    json_t *roots = json_array();
    for (int i = 0; config.bind_roots[i]; i++) json_array_append_new(roots, json_string(config.bind_roots[i]));
    json_t *launch = json_pack("{s:s,s:s,s:I,s:O,s:s,s:s,s:I,s:o,s:o,s:b,s:b,s:I,s:I,s:{s:I,s:I,s:I},s:s}", "t", "launch", "sandbox", name, "uid", (json_int_t)uid, "plan", plan, "instance", config.instance, "worker", worker, "holdMs",
                               (json_int_t)config.hold_ms, "bindRoots", roots, "devices", devices_found(), "testing", config.testing, "alone", config.alone, "workspaceUid", (json_int_t)(workspace ? workspace->uid : 0), "workspaceGid",
                               (json_int_t)(workspace ? workspace->gid : 0), "limits", "memoryBytes", (json_int_t)config.memory_bytes, "pids", (json_int_t)config.pids, "cpuMillis", (json_int_t)config.cpu_millis, "socket", path);
    if (s) {
      s->uid = uid;
      s->create_request = id;
      s->plan = json_incref(plan);
      text_format(s->worker, sizeof s->worker, "%s", worker);
    }
    if (s && workspace) {
      text_format(s->registration, sizeof s->registration, "%s", registration);
      json_object_set_new(launch, "owner", release_owner(s, workspace));
    }
    /* A few bytes more are added below. */
    if (launch && json_dumpb(launch, NULL, 0, JSON_COMPACT) > CHANNEL_PACKET_MAX - 256) text_format(err, sizeof err, "the policy is too large: the shim is told at most %d bytes", CHANNEL_PACKET_MAX - 256);
    if (err[0] || !s || uid == 0 || !launch || (workspace && (release_prepare(s, manifest) < 0 || layer_prepare(s, plan, launch, workspace, err, sizeof err) < 0)) || shim_start(s, launch, workspace ? workspace->fd : -1) < 0) {
      if (err[0]) reply_error(service, id, "host", "%s", err);
      else reply_error(service, id, "internal", "the shim cannot be started: %s", uid == 0 ? "no uid is free" : strerror(errno));
      if (s) s->create_request = 0;
      if (s) sandbox_gone(s, NULL);
      return;
    }
    timer_set(&s->patience, CREATE_PATIENCE_MS, create_late);
  }
}
