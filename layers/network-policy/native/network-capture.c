/* Makes the network of a command, or takes the one of a namespace, hands its two sockets to whoever started us, and becomes the command when it says so; or hands over a connection into such a network. */
#include "capture.h"
#include "netlink.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHANNEL 3
#define LISTENER 4

/* One packet: `text` says why not, or comes with up to two sockets. */
static int tell(const char *text, const int *fds, size_t count) {
  char control[CMSG_SPACE(2 * sizeof(int))] = {0}, byte = 0;
  struct iovec part = {text[0] ? (void *)(size_t)text : &byte, text[0] ? strlen(text) : 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
  }
  return sendmsg(CHANNEL, &message, MSG_NOSIGNAL) > 0 ? 0 : -1;
}

/* With the listeners goes what their network is called for ever (socket(7), SO_NETNS_COOKIE); 0 where the kernel does not say. */
static int tell_listeners(const int listeners[2]) {
  char text[24];
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  (void)getsockopt(listeners[0], SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length);
  snprintf(text, sizeof text, "%" PRIu64, cookie);
  return tell(text, listeners, 2);
}

static unsigned number(const char *text) {
  char *end = NULL;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno != 0 || *text == '\0' || *end != '\0' || value >= 0xffffffffUL) exit(2);
  return (unsigned)value;
}

static int dial(unsigned port, struct fault *f) {
  int made = dial_loopback(LISTENER, port, f);
  return made < 0 ? tell(f->text, NULL, 0), 1 : tell("", &made, 1) != 0;
}

/* run [--bind FROM OVER]... [--user UID GID] -- COMMAND...; serve PATH; dial PORT, beside the listener. Our caller is a program: what is wrong ends at once. */
int main(int argc, char **argv) {
  struct options o = {.drop = 0};
  char text[400] = "";
  struct fault f = {text, sizeof text, "internal"};
  int listeners[2] = {-1, -1}, failed;
  char go = 0;
  if (argc < 3) return 2;
  if (strcmp(argv[1], "dial") == 0) return dial(number(argv[2]), &f);
  int serve = strcmp(argv[1], "serve") == 0;
  for (int i = 2; !serve && i < argc; i++) {
    if (strcmp(argv[i], "--bind") == 0 && i + 2 < argc && o.binds < BINDS_MAX) o.from[o.binds] = argv[i + 1], o.over[o.binds++] = argv[i + 2], i += 2;
    else if (strcmp(argv[i], "--user") == 0 && i + 2 < argc) o.uid = number(argv[i + 1]), o.gid = number(argv[i + 2]), o.drop = 1, i += 2;
    else if (strcmp(argv[i], "--") == 0 && i + 1 < argc) {
      o.command = argv + i + 1;
      break;
    } else return 2;
  }
  if (!serve && o.command == NULL) return 2;
  if (fcntl(CHANNEL, F_SETFD, FD_CLOEXEC) != 0) return 2;
  failed = serve ? namespace_enter(argv[2], &f) : namespace_new(&f) || namespace_binds(&o, &f);
  failed = failed || network_loopback(&f) || network_capture(listeners, serve, &f);
  if (failed) return tell(text, NULL, 0), 1;
  if (tell_listeners(listeners) != 0) return 1;
  if (serve) return 0;
  close(listeners[0]);
  close(listeners[1]);
  /* Nothing starts before somebody answers its connections. */
  if (recv(CHANNEL, &go, 1, 0) != 1) return 125;
  return command_become(&o);
}
