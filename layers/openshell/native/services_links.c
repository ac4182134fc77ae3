/* The sockets between services: gateway - worker, gateway - ledger, worker - ledger. */
#include "openshelld_store.h"
#include "services.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool linked(const struct service *a, const struct service *b) {
  return a != b && a->role != b->role && a->role != ROLE_DEMO && b->role != ROLE_DEMO;
}

void links_make(struct service *fresh) {
  for (int i = 0; i < service_count; i++) {
    struct service *peer = &services[i];
    int ends[2];
    if (peer->pid <= 0 || !linked(fresh, peer)) continue;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
      log_line("no link between %s and %s: %s", fresh->name, peer->name, strerror(errno));
      continue;
    }
    (void)service_send(fresh, json_pack("{s:s,s:s}", "t", "link", "peer", peer->name), &ends[0], 1);
    (void)service_send(peer, json_pack("{s:s,s:s}", "t", "link", "peer", fresh->name), &ends[1], 1);
    close(ends[0]);
    close(ends[1]);
  }
}

void links_gone(const struct service *gone) {
  for (int i = 0; i < service_count; i++)
    if (services[i].pid > 0 && linked(gone, &services[i])) (void)service_send(&services[i], json_pack("{s:s,s:s}", "t", "peer.gone", "peer", gone->name), NULL, 0);
}
