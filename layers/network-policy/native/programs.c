/* Tells which program opened a connection, of those that are opened from now on (connected.h): one question a line, each answer ends with NUL. Ends with its questions. */
#include "connected.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "NETWORK MOUNTS SOURCE PORT DESTINATION PORT": cookie of the network namespace, inode of the mount namespace in which paths count. The path; "" where nothing is known. */
static void answer(const char *question, char path[CONNECTED_PATH + 1]) {
  char source[64], destination[64];
  uint32_t mounts = 0;
  struct connected_key key = {0};
  struct connected_value value;
  path[0] = 0;
  if (sscanf(question, "%" SCNu64 " %" SCNu32 " %63s %" SCNu16 " %63s %" SCNu16, &key.netns, &mounts, source, &key.source_port, destination, &key.destination_port) != 6) return;
  if (!connected_address(source, key.source) || !connected_address(destination, key.destination)) return;
  if (connected_find(&key, &value) == 0 && value.mounts == mounts) connected_path(&value, path);
}

int main(void) {
  char why[400] = "", line[256], path[CONNECTED_PATH + 1] = "";
  if (connected_start((struct connected_range){0, UINT32_MAX}, why, sizeof why) < 0) {
    fprintf(stderr, "network-policy: which program connects is not seen: %s\n", why);
    return 1;
  }
  /* The first, to nobody's question, says that it has begun. */
  while (fwrite(path, strlen(path) + 1, 1, stdout) == 1 && fflush(stdout) == 0 && fgets(line, sizeof line, stdin)) answer(line, path);
  return 0;
}
