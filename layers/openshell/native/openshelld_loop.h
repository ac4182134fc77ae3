/* The event loop: descriptors, timers, clocks. One thread; a callback may remove any watch, also its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

struct watch {
  int fd;
  void (*ready)(struct watch *watch, uint32_t events);
};

struct timer {
  int64_t at; /* CLOCK_BOOTTIME ms */
  void (*fire)(struct timer *timer);
  struct timer *next;
  bool set;
};

int loop_open(void);
int loop_add(struct watch *watch, int fd, uint32_t events, void (*ready)(struct watch *, uint32_t));
void loop_change(struct watch *watch, uint32_t events);
/* Stops watching; the descriptor stays open. */
void loop_remove(struct watch *watch);
void timer_set(struct timer *timer, int64_t in_ms, void (*fire)(struct timer *));
void timer_stop(struct timer *timer);
/* Runs until *stop. */
void loop_run(const bool *stop);
/* Other threads may use what callbacks use only between these; the loop holds the lock but while it waits. */
void loop_lock(void);
void loop_unlock(void);
/* CLOCK_BOOTTIME and wall time in ms. */
int64_t boottime_ms(void);
int64_t wall_ms(void);
