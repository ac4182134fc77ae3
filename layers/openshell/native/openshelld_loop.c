/* The event loop: descriptors, timers, clocks. */
#include "openshelld_loop.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static int epoll = -1;
static struct timer *timers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t owner;
static struct watch nudge; /* makes the loop look at its timers again */

static void nudged(struct watch *watch, uint32_t events) {
  uint64_t count;
  (void)events;
  (void)!read(watch->fd, &count, sizeof count);
}

int loop_open(void) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  owner = pthread_self();
  return epoll < 0 || fd < 0 ? -1 : loop_add(&nudge, fd, EPOLLIN, nudged);
}

void loop_lock(void) { pthread_mutex_lock(&lock); }
void loop_unlock(void) { pthread_mutex_unlock(&lock); }

int loop_add(struct watch *watch, int fd, uint32_t events, void (*ready)(struct watch *, uint32_t)) {
  struct epoll_event event = {.events = events, .data.ptr = watch};
  watch->fd = fd;
  watch->ready = ready;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  watch->fd = -1;
  return -1;
}

void loop_change(struct watch *watch, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = watch};
  if (watch->fd >= 0) (void)epoll_ctl(epoll, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_remove(struct watch *watch) {
  if (watch->fd >= 0) (void)epoll_ctl(epoll, EPOLL_CTL_DEL, watch->fd, NULL);
  watch->fd = -1;
}

static int64_t clock_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t boottime_ms(void) { return clock_ms(CLOCK_BOOTTIME); }
int64_t wall_ms(void) { return clock_ms(CLOCK_REALTIME); }

void timer_stop(struct timer *timer) {
  if (!timer->set) return;
  for (struct timer **link = &timers; *link; link = &(*link)->next)
    if (*link == timer) {
      *link = timer->next;
      break;
    }
  timer->set = false;
}

void timer_set(struct timer *timer, int64_t in_ms, void (*fire)(struct timer *)) {
  timer_stop(timer);
  timer->at = boottime_ms() + in_ms;
  timer->fire = fire;
  timer->set = true;
  struct timer **link = &timers;
  while (*link && (*link)->at <= timer->at) link = &(*link)->next;
  timer->next = *link;
  *link = timer;
  uint64_t one = 1;
  if (!pthread_equal(pthread_self(), owner)) (void)!write(nudge.fd, &one, sizeof one);
}

/* One event at a time: a callback may free what a second event in the same batch would point to. */
void loop_run(const bool *stop) {
  loop_lock();
  while (!*stop) {
    int wait = -1;
    if (timers) {
      int64_t left = timers->at - boottime_ms();
      if (left <= 0) {
        struct timer *due = timers;
        timer_stop(due);
        due->fire(due);
        continue;
      }
      wait = left > 60000 ? 60000 : (int)left;
    }
    struct epoll_event event;
    loop_unlock();
    int n = epoll_wait(epoll, &event, 1, wait);
    loop_lock();
    if (n == 1) {
      struct watch *watch = event.data.ptr;
      watch->ready(watch, event.events);
    } else if (n < 0 && errno != EINTR) {
      break;
    }
  }
  loop_unlock();
}
