/* Ways out of the sandbox that are sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "attempt.h"

static int sent_token(ssize_t n) { return n <= 0; }

/* KIND ADDRESS PORT TOKEN; KIND: tcp, udp, udp-many (sendmmsg), udp-lite, fastopen, sctp, dccp, bound (to a device). An address with ':' is IPv6. */
ATTEMPT(reach, 4) {
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(arg[2]))};
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[2]))};
  int is_six = strchr(arg[1], ':') != NULL;
  struct sockaddr *to = is_six ? (void *)&six : (void *)&four;
  socklen_t size = is_six ? sizeof six : sizeof four;
  if (inet_pton(is_six ? AF_INET6 : AF_INET, arg[1], is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr) != 1) return 1;
  const char *kind = arg[0];
  int datagrams = strncmp(kind, "udp", 3) == 0, protocol = strcmp(kind, "udp-lite") == 0 ? IPPROTO_UDPLITE : strcmp(kind, "sctp") == 0 ? IPPROTO_SCTP : strcmp(kind, "dccp") == 0 ? IPPROTO_DCCP : 0;
  int sock = socket(is_six ? AF_INET6 : AF_INET, datagrams ? SOCK_DGRAM : strcmp(kind, "dccp") == 0 ? SOCK_DCCP : SOCK_STREAM, protocol);
  if (sock < 0) return 1;
  if (strcmp(kind, "bound") == 0 && setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) != 0) return 1;
  if (strcmp(kind, "fastopen") == 0) return sent_token(sendto(sock, arg[3], strlen(arg[3]), MSG_FASTOPEN, to, size));
  if (strcmp(kind, "late") == 0) { /* connect(2) is put off until the first write */
    int one = 1;
    setsockopt(sock, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof one);
  }
  if (strcmp(kind, "udp") == 0) return sent_token(sendto(sock, arg[3], strlen(arg[3]), 0, to, size));
  if (strcmp(kind, "udp-many") == 0) {
    struct iovec data = {arg[3], strlen(arg[3])};
    struct mmsghdr m = {.msg_hdr = {.msg_name = to, .msg_namelen = size, .msg_iov = &data, .msg_iovlen = 1}};
    return sendmmsg(sock, &m, 1, 0) != 1;
  }
  return connect(sock, to, size) != 0 || sent_token(write(sock, arg[3], strlen(arg[3])));
}
/* stream|datagram|packet NAME TOKEN: an abstract Unix socket. */
ATTEMPT(abstract, 3) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  size_t n = strlen(arg[1]);
  memcpy(a.sun_path + 1, arg[1], n);
  int sock = socket(AF_UNIX, arg[0][0] == 's' ? SOCK_STREAM : arg[0][0] == 'd' ? SOCK_DGRAM : SOCK_SEQPACKET, 0);
  return connect(sock, (void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) != 0 || sent_token(write(sock, arg[2], strlen(arg[2])));
}
/* The loopback device's state, set to what it is. */
ATTEMPT(set_device, 0) {
  struct ifreq r = {.ifr_name = "lo"};
  int sock = socket(AF_INET, SOCK_DGRAM, 0);
  return ioctl(sock, SIOCGIFFLAGS, &r) != 0 || ioctl(sock, SIOCSIFFLAGS, &r) != 0 || puts("set") < 0;
}
/* An option that only root may set: LEVEL NAME VALUE */
ATTEMPT(option, 3) {
  int value = atoi(arg[2]), sock = socket(AF_INET, SOCK_STREAM, 0);
  return setsockopt(sock, atoi(arg[0]), atoi(arg[1]), &value, sizeof value) != 0 || puts("set") < 0;
}
