/* A connection into a sandbox for the worker that serves it: the socket is made in the sandbox's network namespace, the descriptor goes to the worker. */
#include "openshelld.h"
#include "openshelld_sandboxes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket belongs to the namespace in which it is made, for good (network_namespaces(7)). -1 with errno. */
static int socket_beside(int listener) {
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  /* Asked of the listener, not of a process: a number of a process may be another's by now. */
  int theirs = own < 0 ? -1 : ioctl(listener, SIOCGSKNS);
  int made = -1, why = errno;
  if (theirs >= 0 && setns(theirs, CLONE_NEWNET) == 0) {
    made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    why = errno;
    /* In the wrong namespace nothing may go on; the supervisor starts the next openshelld. */
    if (setns(own, CLONE_NEWNET) < 0) abort();
  } else if (theirs >= 0) why = errno;
  if (theirs >= 0) close(theirs);
  if (own >= 0) close(own);
  errno = why;
  return made;
}

/* On loopback the answer is there when connect returns, or the agent's backlog is full and the worker waits for it. 0 or an errno. */
static int begin(int made, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(made, (struct sockaddr *)&to, sizeof to) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  struct pollfd one = {.fd = made, .events = POLLOUT};
  int failed = 0;
  socklen_t length = sizeof failed;
  if (poll(&one, 1, 0) > 0 && getsockopt(made, SOL_SOCKET, SO_ERROR, &failed, &length) < 0) return errno;
  return failed;
}

void asked_ingress(struct service *service, json_t *message, json_int_t id) {
  const char *name = NULL;
  json_int_t port = 0;
  if (json_unpack(message, "{s:s,s:I}", "sandbox", &name, "port", &port) < 0 || port < 1 || port > 65535) {
    reply_error(service, id, "protocol", "ingress.connect needs a sandbox and a port");
    return;
  }
  struct sandbox *s = sandbox_find(name);
  /* Only the worker that was given the sandbox's listeners gets into it. */
  if (!sandbox_of_worker(s, service)) {
    reply_error(service, id, "no-sandbox", "no such sandbox is attached to this worker");
    return;
  }
  int made = socket_beside(s->listeners[0]);
  int failed = made < 0 ? errno : begin(made, (int)port);
  if (failed == ECONNREFUSED) reply_error(service, id, "refused", "nothing listens on port %lld in the sandbox", (long long)port);
  else if (failed) reply_error(service, id, "internal", "no connection into the sandbox: %s", strerror(failed));
  else reply_ok(service, id, json_object(), &made, 1);
  if (made >= 0) close(made);
}
