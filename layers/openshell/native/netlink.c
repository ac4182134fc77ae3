/* Raw netlink, and the network of a sandbox: loopback, every address local, our two sockets. */
#include "netlink.h"
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LISTEN_PORT 15001
#define DNS_PORT 53
/* Bytes that the kernel keeps of an answer whose client does not read; it takes twice that with its own. Up to 4 MiB are usual, which the data plane would have to carry for each client that never reads them. */
#define UNREAD (128 << 10)

static void *reserve(struct batch *b, size_t length) {
  size_t padded = (length + 3) & ~(size_t)3;
  if (b->overflow || b->length + padded > sizeof b->bytes) {
    b->overflow = true;
    return NULL;
  }
  void *at = b->bytes + b->length;
  memset(at, 0, padded);
  b->length += padded;
  return at;
}

void batch_begin(struct batch *b, uint16_t type, uint16_t flags, const void *header, size_t header_length) {
  b->message = b->length;
  struct nlmsghdr *h = reserve(b, sizeof *h);
  void *rest = reserve(b, header_length);
  if (h == NULL || rest == NULL) return;
  h->nlmsg_type = type;
  h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  h->nlmsg_seq = ++b->sequence;
  memcpy(rest, header, header_length);
}

void batch_end(struct batch *b) {
  if (!b->overflow) ((struct nlmsghdr *)(void *)(b->bytes + b->message))->nlmsg_len = (uint32_t)(b->length - b->message);
}

void batch_attr(struct batch *b, uint16_t type, const void *data, size_t length) {
  struct nlattr *a = reserve(b, sizeof *a + length);
  if (a == NULL) return;
  a->nla_type = type;
  a->nla_len = (uint16_t)(sizeof *a + length);
  memcpy(a + 1, data, length);
}

void batch_string(struct batch *b, uint16_t type, const char *text) { batch_attr(b, type, text, strlen(text) + 1); }

void batch_u32(struct batch *b, uint16_t type, uint32_t value) {
  value = htonl(value);
  batch_attr(b, type, &value, sizeof value);
}

void batch_u64(struct batch *b, uint16_t type, uint64_t value) {
  value = htobe64(value);
  batch_attr(b, type, &value, sizeof value);
}

void batch_open(struct batch *b, uint16_t type) {
  b->nested[b->depth++] = b->length;
  struct nlattr *a = reserve(b, sizeof *a);
  if (a != NULL) a->nla_type = type | NLA_F_NESTED;
}

void batch_close(struct batch *b) {
  size_t start = b->nested[--b->depth];
  if (!b->overflow) ((struct nlattr *)(void *)(b->bytes + start))->nla_len = (uint16_t)(b->length - start);
}

/* Sends, then reads answers until the acknowledgement of the last message (which must ask for one) or the first error. */
int netlink_exchange(int protocol, const void *message, size_t length) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  struct timeval patience = {.tv_sec = 2};
  int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (sock < 0) return -errno;
  uint32_t last = 0;
  for (size_t at = 0; at < length;) {
    const struct nlmsghdr *h = (const void *)((const char *)message + at);
    last = h->nlmsg_seq;
    at += NLMSG_ALIGN(h->nlmsg_len);
  }
  int result = setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 && sendto(sock, message, length, 0, (void *)&kernel, sizeof kernel) >= 0 ? 1 : -errno;
  while (result == 1) {
    _Alignas(8) char answer[8192];
    ssize_t n = recv(sock, answer, sizeof answer, 0);
    if (n < 0) result = errno == EINTR ? 1 : -errno;
    size_t left = n > 0 ? (size_t)n : 0;
    for (const struct nlmsghdr *h = (void *)answer; result == 1 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type != NLMSG_ERROR) continue;
      int error = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
      if (error != 0) result = error;
      else if (h->nlmsg_seq == last) result = 0;
    }
  }
  close(sock);
  return result;
}

/* `local 0.0.0.0/0 dev lo src 127.0.0.1`, and `local ::/0 dev lo src ::1`: every address is ours, so that nothing is ever routed out. */
static int every_address_local(int family) {
  struct batch b = {.length = 0};
  struct rtmsg route = {.rtm_family = (unsigned char)family, .rtm_table = RT_TABLE_LOCAL, .rtm_type = RTN_LOCAL, .rtm_scope = RT_SCOPE_HOST, .rtm_protocol = RTPROT_BOOT};
  uint32_t loopback = 1, source = htonl(INADDR_LOOPBACK);
  batch_begin(&b, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &route, sizeof route);
  batch_attr(&b, RTA_OIF, &loopback, sizeof loopback);
  if (family == AF_INET) batch_attr(&b, RTA_PREFSRC, &source, sizeof source);
  else batch_attr(&b, RTA_PREFSRC, &in6addr_loopback, sizeof in6addr_loopback);
  batch_end(&b);
  return netlink_exchange(NETLINK_ROUTE, b.bytes, b.length);
}

/* One socket for both families; IPv4 alone where the kernel has no IPv6. */
static int bound(int family, int type, uint16_t port) {
  int one = 1, zero = 0, unread = UNREAD, sock = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (sock < 0) return -1;
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  bool failed = family == AF_INET6 && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero) != 0;
  if (type == SOCK_STREAM) failed = failed || setsockopt(sock, SOL_IP, IP_TRANSPARENT, &one, sizeof one) != 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0;
  /* What is accepted has it from the socket that listens. */
  if (type == SOCK_STREAM) failed = failed || setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &unread, sizeof unread) != 0;
  failed = failed || bind(sock, family == AF_INET6 ? (void *)&six : (void *)&four, family == AF_INET6 ? sizeof six : sizeof four) != 0 || (type == SOCK_STREAM && listen(sock, 1024) != 0);
  if (!failed) return sock;
  int e = errno;
  close(sock);
  errno = e;
  return -1;
}

int network_loopback(struct fault *f) {
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0) return fault(f, "network", errno, "network: socket");
  int failed = ioctl(sock, SIOCSIFFLAGS, &lo) != 0 ? errno : 0;
  close(sock);
  return failed ? fault(f, "network", failed, "network: loopback up") : 0;
}

int network_capture(int listeners[2], bool again, struct fault *f) {
  int e, family = AF_INET6;
  if (!again && (e = every_address_local(AF_INET)) != 0) return fault(f, "network", -e, "network: local route");
  if ((listeners[0] = bound(family, SOCK_STREAM, LISTEN_PORT)) < 0 && errno == EAFNOSUPPORT) listeners[0] = bound(family = AF_INET, SOCK_STREAM, LISTEN_PORT);
  if (listeners[0] < 0) return fault(f, "network", errno, "network: tcp listener");
  if ((listeners[1] = bound(family, SOCK_DGRAM, DNS_PORT)) < 0) return fault(f, "network", errno, "network: dns socket");
  if (nftables_capture(AF_INET, LISTEN_PORT, DNS_PORT, again, f) != 0) return -1;
  /* In front of a namespace that has other routes, the rules stand before everything is led to them. */
  if (again && (e = every_address_local(AF_INET)) != 0) return fault(f, "network", -e, "network: local route");
  if (family == AF_INET) return 0;
  if (nftables_capture(AF_INET6, LISTEN_PORT, DNS_PORT, again, f) != 0) return -1;
  e = every_address_local(AF_INET6);
  /* EACCES: a person turned IPv6 off in this namespace, so that it leads nowhere. */
  return e != 0 && e != -EACCES && e != -EEXIST ? fault(f, "network", -e, "network: local route of IPv6") : 0;
}
