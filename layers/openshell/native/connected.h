/* Which program opened a TCP connection: kept by the kernel from the moment of connect(2), asked for by the data plane. */
#pragma once
#ifndef __bpf__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

/* Bytes of a path and of one name in it; what is longer is not known. */
#define CONNECTED_PATH 256
#define CONNECTED_NAME 64
#define CONNECTED_STEPS 48 /* names and mounts on the way to the root */
/* Connections that are remembered, of all sandboxes; the ones longest ago make room. */
#define CONNECTED_ENTRIES 16384

/* Shared with connected.bpf.c. IPv4 as ::ffff:a.b.c.d; addresses in network order, ports as numbers. */
struct connected_key {
  uint64_t netns; /* cookie (socket(7), SO_NETNS_COOKIE): never given twice */
  uint8_t source[16], destination[16];
  uint16_t source_port, destination_port;
  uint32_t spare;
};
struct connected_value {
  uint64_t start_ns; /* boot time at which the process began */
  uint32_t pid, uid; /* of the host */
  uint32_t mounts;   /* inode of the mount namespace in which the path is */
  uint32_t length;   /* of the path's parts; 0: the program has no name there any more, or too long a one */
  char parts[CONNECTED_PATH]; /* names, each with its NUL, innermost first */
};
/* The host uids whose connections are kept. */
struct connected_range {
  uint32_t first, count;
};

#ifndef __bpf__
#define CONNECTED_FDS 2 /* the map, the link */

/* Loads the program and attaches it to the top of the cgroup v2 tree that we may use. 0, or -1 with `why`. */
int connected_start(struct connected_range uids, char *why, size_t size);
/* Goes on with what connected_fds gave to a former process. 0, or -1: unusable, and closed. */
int connected_adopt(const int *fds, int count);
void connected_fds(int fds[CONNECTED_FDS]);
bool connected_active(void);
/* An address of a key, from its text. False: it is none. */
bool connected_address(const char *text, uint8_t out[16]);
/* What is kept of a connection. 0, or -1: nothing is. */
int connected_find(const struct connected_key *key, struct connected_value *value);
/* The path, outermost first, or "" where it is not known. */
void connected_path(const struct connected_value *value, char path[CONNECTED_PATH + 1]);
void connected_stop(void);
#endif
