/* Which program of a sandbox opened a connection, for the worker that serves it. */
#include "openshelld_connected.h"
#include "connected.h"
#include "openshelld_sandboxes.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* since Linux 5.14 */
#endif

static bool adopted;

bool programs_adopt(const char *name, const int *fds, int count) {
  if (strcmp(name, "connected") != 0) return false;
  adopted = connected_adopt(fds, count) == 0;
  return true;
}

void programs_open(void) {
  char why[400] = "";
  int fds[CONNECTED_FDS];
  if (adopted) return;
  if (connected_start((struct connected_range){config.agent_first, config.agent_count}, why, sizeof why) < 0) {
    log_line("which program connects is not seen: %s", why);
    return;
  }
  /* The supervisor has the link too: connections are kept while we are away. */
  connected_fds(fds);
  store_keep("connected", fds, CONNECTED_FDS);
}

bool programs_seen(void) { return connected_active(); }

/* A path counts only in the sandbox's own mount namespace; in another one its names could be anything. */
static bool own_mounts(const struct sandbox *s, uint32_t mounts) {
  char path[64];
  struct stat st;
  return text_format(path, sizeof path, "/proc/%d/ns/mnt", (int)s->init) && stat(path, &st) == 0 && st.st_ino == mounts;
}

void asked_owner(struct service *service, json_t *message, json_int_t id) {
  const char *name = NULL, *source = NULL, *destination = NULL;
  json_int_t source_port = 0, destination_port = 0;
  struct connected_key key = {0};
  struct connected_value value;
  char path[CONNECTED_PATH + 1] = "";
  if (json_unpack(message, "{s:s,s:s,s:I,s:s,s:I}", "sandbox", &name, "source", &source, "sourcePort", &source_port, "destination", &destination, "destinationPort", &destination_port) < 0 || !connected_address(source, key.source) ||
      !connected_address(destination, key.destination) || source_port < 1 || source_port > 65535 || destination_port < 1 || destination_port > 65535) {
    reply_error(service, id, "protocol", "connection.owner needs a sandbox and both ends of a connection");
    return;
  }
  struct sandbox *s = sandbox_find(name);
  if (!sandbox_of_worker(s, service)) {
    reply_error(service, id, "no-sandbox", "no such sandbox is attached to this worker");
    return;
  }
  if (!connected_active()) {
    reply_error(service, id, "not-seen", "which program connects is not seen on this host");
    return;
  }
  socklen_t length = sizeof key.netns;
  key.source_port = (uint16_t)source_port;
  key.destination_port = (uint16_t)destination_port;
  if (getsockopt(s->listeners[0], SOL_SOCKET, SO_NETNS_COOKIE, &key.netns, &length) < 0 || connected_find(&key, &value) < 0 || value.uid != s->uid) {
    reply_error(service, id, "unknown", "nothing is kept of this connection");
    return;
  }
  if (own_mounts(s, value.mounts)) connected_path(&value, path);
  json_t *exe = json_string(path);
  reply_ok(service, id, json_pack("{s:I,s:o,s:I}", "pid", (json_int_t)value.pid, "exe", exe ? exe : json_string(""), "startTime", (json_int_t)(value.start_ns / 1000)), NULL, 0);
}
