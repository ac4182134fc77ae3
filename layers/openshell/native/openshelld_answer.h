/* What a child process says before it ends: JSON on a pipe, read while others are served. */
#pragma once
#include "openshelld_loop.h"

#include <jansson.h>
#include <sys/types.h>

struct answer {
  pid_t child; /* 0: none runs */
  struct watch watch;
  char *text;
  size_t used, most;
  void (*ended)(struct answer *answer, json_t *said);
};

/*
 * Takes over `fd`, and calls `ended` (which may free the answer) once the child has ended: `said`, its to give up, is NULL where it failed, said more than `most`
 * bytes, or no JSON. 0; -1 with errno: there is no child (`child` < 0), or it could not be listened to and was killed.
 */
int answer_await(struct answer *answer, pid_t child, int fd, size_t most, void (*ended)(struct answer *answer, json_t *said));
/* Waits for the rest of it, and for nothing else. */
void answer_wait(struct answer *answer);
