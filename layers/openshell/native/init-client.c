/* The shim's side of the init protocol, and packets with descriptors. */
#include "init.h"
#include "inside.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PACKET_FDS_MAX (READY_FDS + LAUNCH_TWINS_MAX)

int send_packet(int sock, const void *data, size_t length, const int *fds, size_t fd_count) {
  union {
    char bytes[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {(void *)data, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd_count > PACKET_FDS_MAX) {
    errno = E2BIG;
    return -1;
  }
  if (fd_count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
  }
  ssize_t n;
  while ((n = sendmsg(sock, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR) continue;
  return n == (ssize_t)length ? 0 : -1;
}

ssize_t receive_packet(int sock, void *data, size_t room, int *fds, size_t *fd_count) {
  union {
    char bytes[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec part = {data, room};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  size_t most = fd_count != NULL ? *fd_count : 0, got = 0;
  ssize_t n;
  while ((n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) continue;
  if (n < 0) return -1;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      if (got < most) fds[got++] = fd;
      else close(fd);
    }
  }
  if (fd_count != NULL) *fd_count = got;
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
    while (got > 0) close(fds[--got]);
    errno = EMSGSIZE;
    return -1;
  }
  return n;
}

/* Appends the NUL-terminated strings of `list`; the new length, or 0 when they do not fit. */
static size_t append(char *packet, size_t at, char *const list[], uint32_t *count) {
  for (; at != 0 && *list != NULL; list++, ++*count) {
    size_t n = strlen(*list) + 1;
    if (n > INIT_PACKET_MAX - at) return 0;
    memcpy(packet + at, *list, n);
    at += n;
  }
  return at;
}

int init_send_exec(int exec_fd, uint32_t id, char *const argv[], char *const envp[], const char *cwd, int flags, const int fds[3]) {
  char *packet = malloc(INIT_PACKET_MAX), *const folder[] = {(char *)cwd, NULL};
  if (packet == NULL) return -1;
  struct init_request request = {.kind = INIT_EXEC, .id = id, .flags = (uint32_t)flags};
  uint32_t one = 0;
  size_t length = append(packet, sizeof request, folder, &one);
  length = append(packet, length, argv, &request.argc);
  length = append(packet, length, envp, &request.envc);
  memcpy(packet, &request, sizeof request);
  int result = -1;
  if (length == 0 || request.argc == 0) errno = length == 0 ? E2BIG : EINVAL;
  else result = send_packet(exec_fd, packet, length, fds, 3);
  int e = errno;
  free(packet);
  errno = e;
  return result;
}

int init_send_signal(int exec_fd, uint32_t id, int signal) {
  struct init_request request = {.kind = INIT_SIGNAL, .id = id, .signal = signal};
  return send_packet(exec_fd, &request, sizeof request, NULL, 0);
}

int init_send_end(int exec_fd) {
  struct init_request request = {.kind = INIT_END};
  return send_packet(exec_fd, &request, sizeof request, NULL, 0);
}

int init_receive(int exec_fd, struct init_event *event) {
  ssize_t n = receive_packet(exec_fd, event, sizeof *event, NULL, NULL);
  if (n < 0 && errno == ECONNRESET) n = receive_packet(exec_fd, event, sizeof *event, NULL, NULL); /* it ended without taking our last packet; what it said before comes after that error */
  if (n <= 0) return n == 0 || errno == ECONNRESET ? 0 : -1;
  if (n == (ssize_t)sizeof *event && event->kind >= INIT_STARTED && event->kind <= INIT_QUIET) return 1;
  errno = EPROTO;
  return -1;
}
