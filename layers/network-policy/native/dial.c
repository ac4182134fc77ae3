/* A connection to a port on the loopback of the network that a listener is in. */
#include "capture.h"
#include <errno.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Seconds: on loopback only a full backlog makes us wait. */
#define PATIENCE 10

/* Asked of the listener, not of a process: a number of a process may be another's by now. A plain user enters the user namespace that the network belongs to first. */
static int enter(int listener) {
  int network = ioctl(listener, SIOCGSKNS);
  if (network < 0) return -1;
  if (setns(network, CLONE_NEWNET) == 0) return 0;
  int owner = errno == EPERM ? ioctl(network, NS_GET_USERNS) : -1;
  return owner >= 0 && setns(owner, CLONE_NEWUSER) == 0 ? setns(network, CLONE_NEWNET) : -1;
}

int dial_loopback(int listener, unsigned port, struct fault *f) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (port < 1 || port > 65535) return fault(f, "network", 0, "there is no port %u", port);
  if (enter(listener) != 0) return fault(f, "network", errno, "the network of the command cannot be entered");
  alarm(PATIENCE);
  int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return made < 0 || connect(made, (struct sockaddr *)&to, sizeof to) != 0 ? fault(f, "network", errno, "port %u", port) : made;
}
