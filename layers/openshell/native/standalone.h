/* The terminal of a sandbox that runs without a daemon, and its end. */
#ifndef NEMOCLAW_STANDALONE_H
#define NEMOCLAW_STANDALONE_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
  int input; /* 0 while the person's keys are passed on, else -1 */
  int master, slave; /* -1: no terminal, the caller's own descriptors are used */
  struct termios before;
  bool raw;
};

/* With a terminal on both stdin and stdout: makes one inside the sandbox and puts its end into stdio[0..2]. 0 or -1 with errno. */
int terminal_open(struct terminal *t, int pts_fd, int stdio[3]);
void terminal_started(struct terminal *t); /* the sandbox has its copy of the slave */
void terminal_input(struct terminal *t);
void terminal_output(struct terminal *t);
void terminal_resize(struct terminal *t);
void terminal_drain(struct terminal *t); /* what the program wrote before it ended */
void terminal_close(struct terminal *t);

/* launch-facts.c: prints one line of JSON about this caller and host; the exit code. */
int facts_print(void);
struct launch_in;
/* launch-release.c: after the last process is gone. `report`: descriptor for the result as JSON, or -1. False: the workspace could not be checked whole. */
bool release_workspace(const struct launch_in *in, int report);

#endif
