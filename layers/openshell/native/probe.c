/* Runs the enforcement probe inside the finished sandbox. */
#include "probe.h"
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

size_t probe_count(void) { return probe_try_count; }

const char *probe_name(size_t index) { return index < probe_try_count ? probe_tries[index].name : NULL; }

bool probe_needs_root(size_t index) { return index < probe_try_count && probe_tries[index].needs_root; }

socklen_t probe_address(struct sockaddr_un *address) {
  static const char name[] = "nemoclaw-probe";
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path + 1, name, sizeof name - 1);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof name);
}

int probe_listen(void) {
  struct sockaddr_un address;
  socklen_t length = probe_address(&address);
  int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (sock >= 0 && (bind(sock, (void *)&address, length) != 0 || listen(sock, 1) != 0)) {
    close(sock);
    return -1;
  }
  return sock;
}

size_t probe_run(const struct plan *plan, const struct launch_in *in, const struct host_facts *host, unsigned char *stopped) {
  struct try_context c = {plan, in, host};
  for (size_t i = 0; i < probe_try_count; i++) stopped[i] = in->rootless && probe_tries[i].needs_root ? PROBE_LEFT_OUT : probe_tries[i].stopped(&c) ? 1 : 0;
  return probe_try_count;
}
