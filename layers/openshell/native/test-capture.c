/* For the tests of network capture: launches the plan on fd 3, runs a command in it and plays the worker on the sandbox's two sockets. */
#include "init.h"
#include "launch.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNREAD_PORT 7777

/* Prints how many bytes the kernel takes for a client that reads none. */
static void fill(int connection) {
  static const char bytes[1 << 16];
  size_t taken = 0;
  for (ssize_t n; (n = send(connection, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;) taken += (size_t)n;
  printf("taken %zu\n", taken);
  fflush(stdout);
}

/* Prints where the connection was meant to go, as a worker sees it, and says the same to the agent. */
static void answer_tcp(int listener) {
  struct sockaddr_in6 to;
  socklen_t length = sizeof to;
  char text[96], address[INET6_ADDRSTRLEN];
  int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (connection < 0 || getsockname(connection, (void *)&to, &length) != 0) return perror("accept");
  int n = snprintf(text, sizeof text, "tcp %s:%d\n", strncmp(inet_ntop(AF_INET6, &to.sin6_addr, address, sizeof address), "::ffff:", 7) == 0 ? address + 7 : address, ntohs(to.sin6_port));
  if (write(connection, text, (size_t)n) != n || write(1, text, (size_t)n) != n) perror("write");
  if (ntohs(to.sin6_port) == UNREAD_PORT) fill(connection);
  close(connection);
}

/* Returns each datagram as it came. */
static void answer_udp(int sock) {
  char text[512];
  struct sockaddr_in6 from;
  socklen_t length = sizeof from;
  ssize_t n = recvfrom(sock, text, sizeof text, 0, (void *)&from, &length);
  if (n < 0 || sendto(sock, text, (size_t)n, 0, (void *)&from, length) != n) return perror("dns");
  printf("udp %.*s\n", (int)n, text);
  fflush(stdout);
}

int main(int argc, char **argv) {
  json_error_t bad;
  char err[512] = "", *const env[] = {"PATH=/usr/bin:/bin:/opt/node/bin", NULL};
  const char *roots[] = {"/usr", "/opt", "/etc", argc > 1 ? argv[1] : "/usr", NULL};
  json_t *plan = json_loadfd(3, 0, &bad);
  unsigned own = 0x72000000u + (unsigned)getpid();
  struct launch_in in = {.workspace_fd = -1, .layer_fd = -1, .agent_uid = launch_rootless() ? geteuid() : own, .agent_gid = launch_rootless() ? getegid() : own, .bind_roots = roots};
  struct launched out;
  if (argc < 3 || plan == NULL) return fprintf(stderr, "usage: test-capture NODE-FOLDER COMMAND... 3<plan: %s\n", bad.text), 2;
  if (launch_sandbox(plan, &in, &out, err, sizeof err) != 0) return fprintf(stderr, "%s\n", err), 1;
  int stdio[3] = {0, 1, 2}, code = -1;
  if (init_send_exec(out.exec_fd, 1, argv + 2, env, "/", 0, stdio) != 0) return perror("exec"), 1;
  while (code < 0) {
    struct init_event event;
    struct pollfd wait[4] = {{out.exec_fd, POLLIN, 0}, {out.notify_fd, POLLIN, 0}, {out.listener_fds[0], POLLIN, 0}, {out.listener_fds[1], POLLIN, 0}};
    if (poll(wait, 4, 20000) <= 0) code = 99;
    if (wait[1].revents & POLLIN) launch_refuse(out.notify_fd);
    if (wait[2].revents & POLLIN) answer_tcp(out.listener_fds[0]);
    if (wait[3].revents & POLLIN) answer_udp(out.listener_fds[1]);
    if (wait[0].revents == 0) continue;
    int got = init_receive(out.exec_fd, &event);
    if (got != 1) code = 98;
    else if (event.kind == INIT_EXITED) code = event.code;
    else if (event.kind == INIT_FAILED) code = 97;
  }
  launch_destroy(&out);
  json_decref(plan);
  return code;
}
