/* A descriptor sent to whoever reads the other end of a socket. */
#pragma once
#include <string.h>
#include <sys/socket.h>

union descriptor_space {
  char bytes[CMSG_SPACE(sizeof(int))];
  struct cmsghdr header;
};

/* -1: not sent, errno says why. */
static inline int send_descriptor(int to, int fd) {
  union descriptor_space control = {0};
  char byte = 'x';
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  return sendmsg(to, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

/* -1: none came. */
static inline int take_descriptor(int from) {
  union descriptor_space control = {0};
  char byte;
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  int fd = -1;
  if (recvmsg(from, &message, 0) == 1 && control.header.cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
  return fd;
}
