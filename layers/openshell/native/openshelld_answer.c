/* Reads what a child process says until it ends. */
#include "openshelld_answer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int status_of(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

static void over(struct answer *a) {
  int fd = a->watch.fd;
  loop_remove(&a->watch);
  close(fd);
  int status = status_of(a->child);
  json_t *said = status == 0 && a->text ? json_loadb(a->text, a->used, 0, NULL) : NULL;
  free(a->text);
  a->text = NULL;
  a->child = 0;
  a->ended(a, said);
}

/* Whether more may come. */
static bool more(struct answer *a, int fd) {
  if (!a->text) a->text = malloc(a->most);
  ssize_t n = a->text && a->used < a->most ? read(fd, a->text + a->used, a->most - a->used) : 0;
  if (n > 0) a->used += (size_t)n;
  return n > 0 || (n < 0 && errno == EINTR);
}

static void ready(struct watch *watch, uint32_t events) {
  struct answer *a = container_of(watch, struct answer, watch);
  (void)events;
  if (!more(a, watch->fd)) over(a);
}

int answer_await(struct answer *a, pid_t child, int fd, size_t most, void (*ended)(struct answer *, json_t *)) {
  *a = (struct answer){.child = child, .watch.fd = -1, .most = most, .ended = ended};
  if (child > 0 && loop_add(&a->watch, fd, EPOLLIN, ready) == 0) return 0;
  int e = errno;
  close(fd);
  if (child > 0) {
    kill(child, SIGKILL);
    (void)status_of(child);
  }
  a->child = 0;
  errno = e;
  return -1;
}

void answer_wait(struct answer *a) {
  while (more(a, a->watch.fd)) continue;
  over(a);
}
