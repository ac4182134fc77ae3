/* The supervisor's descriptor store, from openshelld's side. */
#include "openshelld_store.h"
#include "channel.h"
#include "openshelld_loop.h"
#include "openshelld_text.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

static int store = -1;
static struct watch store_end;
static void (*on_gone)(void);

int store_open(int socket, void (*found)(const char *name, const int *fds, int count)) {
  store = socket;
  if (store < 0) return 0;
  for (;;) {
    struct packet packet;
    struct pollfd ready = {store, POLLIN, 0};
    int got = packet_receive(store, &packet);
    if (got < 0) return -1;
    if (got == 0) {
      if (poll(&ready, 1, 5000) <= 0) return -1;
      continue;
    }
    if (packet.data[0] == '.') return 0;
    if (packet.data[0] == '+' && packet.count > 0) found(packet.data + 1, packet.fds, packet.count);
    else packet_close_fds(&packet);
  }
}

static void say(char sign, const char *name, const int *fds, int count) {
  char text[121];
  if (store < 0 || !text_format(text, sizeof text, "%c%s", sign, name)) return;
  struct pollfd room = {store, POLLOUT, 0};
  /* The supervisor does nothing but read this: a full socket is a matter of microseconds. */
  for (int i = 0; i < 100 && packet_send(store, text, strlen(text), fds, count) < 0; i++) (void)poll(&room, 1, 10);
}

void store_keep(const char *name, const int *fds, int count) { say('+', name, fds, count); }
void store_drop(const char *name) { say('-', name, NULL, 0); }

static void store_ready(struct watch *watch, uint32_t events) {
  struct packet packet;
  (void)events;
  if (packet_receive(watch->fd, &packet) >= 0) {
    packet_close_fds(&packet);
    return;
  }
  loop_remove(watch);
  close(store);
  store = -1;
  on_gone();
}

void store_watch(void (*gone)(void)) {
  on_gone = gone;
  if (store >= 0) (void)loop_add(&store_end, store, EPOLLIN, store_ready);
}
