/* SEQPACKET packets with descriptors: one packet is one message; sending never blocks, what does not fit waits in order. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CHANNEL_PACKET_MAX (256 * 1024)
#define CHANNEL_FDS_MAX 40
#define CHANNEL_QUEUE_MAX (32 * 1024 * 1024)

struct packet {
  char *data; /* valid until the next packet_receive of this process; NUL-terminated */
  size_t length;
  int fds[CHANNEL_FDS_MAX]; /* owned by the receiver */
  int count;
};

struct channel {
  int fd;
  struct pending *first, *last;
  size_t queued;
};

/* A connected pair with room for whole packets on both sides. 0 or -1. */
int channel_pair(int ends[2]);
/* Gives a socket that was not made by channel_pair the same room. Needs root. */
void channel_make_room(int fd);
/* 1: a packet; 0: none now; -1: the end, or the other side broke the protocol. */
int packet_receive(int fd, struct packet *out);
void packet_close_fds(struct packet *packet);
/* 0 or -1 with errno (EAGAIN: full). The caller still owns fds. */
int packet_send(int fd, const void *data, size_t length, const int *fds, int count);

void channel_init(struct channel *channel, int fd);
/* Sends or queues (duplicating fds). -1: closed, too long or too much queued; nothing was sent. */
int channel_send(struct channel *channel, const void *data, size_t length, const int *fds, int count);
/* Takes over `message`. */
int channel_send_json(struct channel *channel, json_t *message, const int *fds, int count);
/* Sends what is queued; -1 when the other side is gone. */
int channel_flush(struct channel *channel);
/* Closes the socket and forgets the queue; fd becomes -1. */
void channel_close(struct channel *channel);
