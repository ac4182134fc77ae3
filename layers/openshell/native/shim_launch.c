/* Making the sandbox: limits, cgroup, launch; and saying what came of it. */
#include "openshelld_text.h"
#include "shim.h"
#include "layer-image.h"
#include "shim_starts.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A plan may ask for less than the host's bound, never for more; 0 is no bound. */
static long long bounded(json_t *plan, json_t *bounds, const char *name) {
  long long asked = json_integer_value(json_object_get(plan, name)), bound = json_integer_value(json_object_get(bounds, name));
  if (asked < 0) asked = 0;
  return bound > 0 && (asked == 0 || asked > bound) ? bound : asked;
}

void shim_layer_free(void) {
  if (shim.layer_lock >= 0) close(shim.layer_lock);
  shim.layer_lock = -1;
}

static int fail(const char *code, const char *error) {
  shim_layer_free();
  shim_tell(json_pack("{s:s,s:s,s:s}", "t", "failed", "code", code, "error", error), NULL, 0);
  return -1;
}

static void take_text(char *out, size_t size, json_t *message, const char *name) {
  const char *text = json_string_value(json_object_get(message, name));
  text_format(out, size, "%s", text ? text : "");
}

static int launch(json_t *message, int workspace, int manifest, int layer) {
  char err[400] = "";
  const char *roots[17] = {0}, *devices[DEVICES_MAX + 1] = {0};
  int procs[CGROUP_MAX];
  json_t *plan = json_object_get(message, "plan"), *limits = json_object_get(plan, "limits"), *bounds = json_object_get(message, "limits");
  take_text(shim.id, sizeof shim.id, message, "sandbox");
  take_text(shim.socket, sizeof shim.socket, message, "socket");
  take_text(shim.instance, sizeof shim.instance, message, "instance");
  take_text(shim.worker, sizeof shim.worker, message, "worker");
  shim.uid = (uid_t)json_integer_value(json_object_get(message, "uid"));
  shim.alone = json_is_true(json_object_get(message, "alone"));
  shim.hold_ms = json_integer_value(json_object_get(message, "holdMs"));
  shim.timeout_ms = json_integer_value(json_object_get(limits, "timeoutMs"));
  shim.escalate = json_incref(json_object_get(plan, "escalate"));
  shim.locks = json_incref(json_object_get(plan, "locks"));
  shim.lsm = json_incref(json_object_get(plan, "lsm"));
  shim.record_rules = json_incref(json_object_get(plan, "recordRules"));
  const char *mode = json_string_value(json_object_get(plan, "mode"));
  shim.monitor = mode && strcmp(mode, "monitor") == 0;
  shim.no_tcp = json_is_true(json_object_get(json_object_get(plan, "landlock"), "handleTcp"));
  shim.asks = json_is_object(shim.lsm) ? json_array_size(shim.escalate) > 0 : shim_rules_by_calls(shim.escalate);
  json_t *list = json_object_get(message, "bindRoots");
  for (size_t i = 0; i < json_array_size(list) && i < 16; i++) roots[i] = json_string_value(json_array_get(list, i));
  list = json_object_get(message, "devices");
  for (size_t i = 0; i < json_array_size(list) && i < DEVICES_MAX; i++) devices[i] = json_string_value(json_array_get(list, i));
  struct cgroup_limits bound = {.memory_bytes = bounded(limits, bounds, "memoryBytes"), .pids = bounded(limits, bounds, "pids"), .cpus = (double)bounded(limits, bounds, "cpuMillis") / 1000};
  if (cgroup_create(&shim.group, shim.instance, shim.id, &bound, err, sizeof err) < 0) return fail("host", err);
  for (int i = 0; i < shim.group.count; i++) procs[i] = shim.group.place[i].procs;
  struct launch_in in = {.workspace_fd = workspace, .layer_fd = layer,
                         .workspace_uid = (uid_t)json_integer_value(json_object_get(message, "workspaceUid")),
                         .workspace_gid = (gid_t)json_integer_value(json_object_get(message, "workspaceGid")),
                         .agent_uid = shim.uid,
                         .agent_gid = launch_rootless() ? getegid() : (gid_t)shim.uid,
                         .procs_fds = procs,
                         .procs_count = (size_t)shim.group.count,
                         .bind_roots = roots,
                         .devices = devices,
                         .allow_layer_switches = json_is_true(json_object_get(message, "testing"))};
  json_int_t layer_bytes = json_integer_value(json_object_get(message, "layerBytes"));
  if (layer >= 0 && layer_bytes > 0) {
    in.layer_mounted = true;
    in.layer_fd = layer_image_open(layer, (uint64_t)layer_bytes, err, sizeof err);
    if (in.layer_fd < 0) {
      (void)cgroup_remove(&shim.group, 500);
      return fail("host", err);
    }
  }
  if (manifest >= 0) {
    in.manifest = json_deep_copy(json_object_get(message, "owner"));
    in.manifest_fd = manifest;
    json_object_set_new(in.manifest, "agent", json_integer((json_int_t)shim.uid));
  }
  json_int_t disk_bytes = json_integer_value(json_object_get(limits, "diskBytes"));
  in.disk_measured = disk_bytes > 0;
  int made = disk_bytes > 0 && workspace >= 0 ? shim_disk_start((uint64_t)disk_bytes, workspace, err, sizeof err) : 0;
  if (made == 0) made = launch_sandbox(plan, &in, &shim.sandbox, err, sizeof err);
  json_decref(in.manifest);
  /* From here on only the sandbox keeps it. */
  if (in.layer_mounted) close(in.layer_fd);
  if (made == 0 && shim_disk_counted(err, sizeof err) == 0) return 0;
  if (made == 0) {
    launch_destroy(&shim.sandbox);
    shim.sandbox.code = "host";
  }
  shim_disk_close();
  (void)cgroup_kill(&shim.group);
  (void)cgroup_remove(&shim.group, 500);
  return fail(shim.sandbox.code ? shim.sandbox.code : "internal", err);
}

int shim_launch(void) {
  struct packet packet;
  struct pollfd ready = {shim.daemon.fd, POLLIN, 0};
  if (poll(&ready, 1, 10000) <= 0 || packet_receive(shim.daemon.fd, &packet) <= 0) return -1;
  json_t *message = json_loadb(packet.data, packet.length, 0, NULL);
  if (packet.count > 3) {
    shim.layer_lock = packet.fds[3];
    packet.fds[3] = -1;
  }
  int result = message ? launch(message, packet.count > 0 ? packet.fds[0] : -1, packet.count > 1 ? packet.fds[1] : -1, packet.count > 2 ? packet.fds[2] : -1) : fail("plan", "not JSON");
  json_decref(message);
  packet_close_fds(&packet);
  return result;
}

json_t *shim_describe(const char *t) {
  static const char *const names[] = {"calls", "notify", "tcp", "udp", "pts", "root"};
  const int all[] = {shim.calls_fd, shim.sandbox.notify_fd, shim.sandbox.listener_fds[0], shim.sandbox.listener_fds[1], shim.sandbox.pts_fd, shim.sandbox.root_fd};
  json_t *fds = json_array(), *probe = json_object(), *phases = json_object();
  for (int i = 0; i < SHIM_OWN_FDS; i++)
    if (all[i] >= 0) json_array_append_new(fds, json_string(names[i]));
  for (size_t i = 0; i < shim.sandbox.twins.count; i++) json_array_append_new(fds, json_string("twin"));
  for (size_t i = 0; i < shim.sandbox.probe_count; i++) json_object_set_new(probe, shim.sandbox.probe[i].name, json_boolean(shim.sandbox.probe[i].stopped));
  for (size_t i = 0; i < shim.sandbox.phase_count; i++) json_object_set_new(phases, shim.sandbox.phases[i].name, json_real(shim.sandbox.phases[i].ms));
  return json_pack("{s:s,s:s,s:i,s:i,s:I,s:s,s:i,s:o,s:o,s:o,s:O?,s:O?,s:O?,s:O?,s:b,s:b,s:b,s:o}", "t", t, "sandbox", shim.id, "shim", (int)getpid(), "init", (int)shim.sandbox.init, "uid", (json_int_t)shim.uid, "worker", shim.worker,
                   "workerPid", shim.worker_pid, "probe", probe, "phases", phases, "fds", fds, "escalate", shim.escalate, "locks", shim.locks, "lsm", shim.lsm, "recordRules", shim.record_rules, "asks", shim.asks, "noTcp", shim.no_tcp, "monitor", shim.monitor, "execs", shim_execs());
}

int shim_fds(int fds[SHIM_FDS]) {
  const int all[] = {shim.calls_fd, shim.sandbox.notify_fd, shim.sandbox.listener_fds[0], shim.sandbox.listener_fds[1], shim.sandbox.pts_fd, shim.sandbox.root_fd};
  int count = 0;
  for (int i = 0; i < SHIM_OWN_FDS; i++)
    if (all[i] >= 0) fds[count++] = all[i];
  for (size_t i = 0; i < shim.sandbox.twins.count; i++) fds[count++] = shim.sandbox.twins.fds[i];
  return count;
}
