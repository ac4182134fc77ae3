/* Reads the host's table of listening TCP sockets, proc_net(5); kept for a second, so that a scan of ports costs nothing. */
#include "seen_ports.h"
#include "openshelld_loop.h"

#include <stdio.h>
#include <string.h>

enum { KNOWN_MS = 1000, LISTEN = 0x0a };

static void read_table(const char *path, uint8_t *ports) {
  char line[512];
  unsigned port, state;
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &port, &state) == 2 && state == LISTEN && port < 65536) ports[port / 8] |= (uint8_t)(1 << port % 8);
  if (file) fclose(file);
}

bool host_listens(uint16_t port) {
  static uint8_t ports[65536 / 8];
  static int64_t until;
  if (boottime_ms() >= until) {
    memset(ports, 0, sizeof ports);
    read_table("/proc/net/tcp", ports);
    read_table("/proc/net/tcp6", ports);
    until = boottime_ms() + KNOWN_MS;
  }
  return (ports[port / 8] >> port % 8 & 1) != 0;
}
