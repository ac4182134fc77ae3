/* A netlink message batch under construction (overflow is remembered, not written), and what is built of them: the network of a namespace. */
#ifndef NEMOCLAW_NETLINK_H
#define NEMOCLAW_NETLINK_H

#include "fault.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch {
  _Alignas(8) unsigned char bytes[12288];
  size_t length, message; /* `message`: start of the current one */
  size_t nested[8];
  int depth;
  uint32_t sequence;
  bool overflow;
};

void batch_begin(struct batch *b, uint16_t type, uint16_t flags, const void *header, size_t header_length);
void batch_end(struct batch *b);
void batch_attr(struct batch *b, uint16_t type, const void *data, size_t length);
void batch_string(struct batch *b, uint16_t type, const char *text);
void batch_u32(struct batch *b, uint16_t type, uint32_t value); /* big-endian, as nftables wants; the next too */
void batch_u64(struct batch *b, uint16_t type, uint64_t value);
void batch_open(struct batch *b, uint16_t type);
void batch_close(struct batch *b);

int netlink_exchange(int protocol, const void *message, size_t length); /* 0 or -errno */

int network_loopback(struct fault *f);
/* Routes, sockets and rules in the network namespace we are in. `again`: it may have routes and our former rules already. */
int network_capture(int listeners[2], bool again, struct fault *f);
int nftables_capture(int family, uint16_t tcp_port, uint16_t dns_port, bool again, struct fault *f);

#endif
