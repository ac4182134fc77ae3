/* SEQPACKET packets with descriptors. */
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pending {
  struct pending *next;
  size_t length;
  int count;
  int fds[CHANNEL_FDS_MAX];
  char data[];
};

static char buffer[CHANNEL_PACKET_MAX + 1];

void channel_make_room(int fd) {
  int room = 4 * CHANNEL_PACKET_MAX;
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
}

int channel_pair(int ends[2]) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -1;
  channel_make_room(ends[0]);
  channel_make_room(ends[1]);
  return 0;
}

void packet_close_fds(struct packet *packet) {
  for (int i = 0; i < packet->count; i++)
    if (packet->fds[i] >= 0) close(packet->fds[i]);
  packet->count = 0;
}

int packet_receive(int fd, struct packet *out) {
  char control[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
  struct iovec part = {buffer, CHANNEL_PACKET_MAX};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n;
  do n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  out->count = 0;
  if (n < 0) return errno == EAGAIN ? 0 : -1;
  if (n > 0)
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
      if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        out->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(out->fds, CMSG_DATA(c), (size_t)out->count * sizeof(int));
      }
  if (n == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
    packet_close_fds(out);
    errno = EPROTO;
    return -1;
  }
  buffer[n] = 0;
  out->data = buffer;
  out->length = (size_t)n;
  return 1;
}

int packet_send(int fd, const void *data, size_t length, const int *fds, int count) {
  char control[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
  struct iovec part = {(void *)data, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (length > CHANNEL_PACKET_MAX || count > CHANNEL_FDS_MAX) {
    errno = EMSGSIZE;
    return -1;
  }
  if (count > 0) {
    size_t size = sizeof(int) * (size_t)count;
    memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), fds, size);
  }
  ssize_t n;
  do n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == ENOBUFS) errno = EAGAIN;
  return n < 0 ? -1 : 0;
}

void channel_init(struct channel *channel, int fd) { *channel = (struct channel){.fd = fd}; }

static void drop_first(struct channel *channel) {
  struct pending *p = channel->first;
  channel->first = p->next;
  if (!channel->first) channel->last = NULL;
  channel->queued -= p->length;
  for (int i = 0; i < p->count; i++)
    if (p->fds[i] >= 0) close(p->fds[i]);
  free(p);
}

int channel_flush(struct channel *channel) {
  while (channel->first) {
    struct pending *p = channel->first;
    if (packet_send(channel->fd, p->data, p->length, p->fds, p->count) < 0) return errno == EAGAIN ? 0 : -1;
    drop_first(channel);
  }
  return 0;
}

int channel_send(struct channel *channel, const void *data, size_t length, const int *fds, int count) {
  if (channel->fd < 0) return -1;
  if (!channel->first) {
    if (packet_send(channel->fd, data, length, fds, count) == 0) return 0;
    if (errno != EAGAIN) return -1;
  }
  if (length > CHANNEL_PACKET_MAX || count > CHANNEL_FDS_MAX || channel->queued + length > CHANNEL_QUEUE_MAX) return -1;
  struct pending *p = malloc(sizeof *p + length);
  if (!p) return -1;
  p->next = NULL;
  p->length = length;
  p->count = count;
  memcpy(p->data, data, length);
  for (int i = 0; i < count; i++) p->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
  if (channel->last) channel->last->next = p;
  else channel->first = p;
  channel->last = p;
  channel->queued += length;
  for (int i = 0; i < count; i++)
    if (p->fds[i] < 0) return -1; /* sent later without it would be wrong: the packet fails at flush and ends the channel */
  return 0;
}

int channel_send_json(struct channel *channel, json_t *message, const int *fds, int count) {
  char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
  json_decref(message);
  if (!text) return -1;
  int result = channel_send(channel, text, strlen(text), fds, count);
  free(text);
  return result;
}

void channel_close(struct channel *channel) {
  while (channel->first) drop_first(channel);
  if (channel->fd >= 0) close(channel->fd);
  channel->fd = -1;
}
