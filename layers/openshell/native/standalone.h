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
/*
 * launch-release.c: workspaces that are given back without a daemon. A manifest is a file that stays as long as its workspace has not been checked; it is
 * locked by whoever will check it, and emptied then.
 */
#define RELEASE_BUSY 75 /* exit code: another process has the manifest, EX_TEMPFAIL */
/* 0; -1 with errno, EWOULDBLOCK: another process has it. */
int release_lock(int manifest_fd);
/* After the last process is gone. `report`: descriptor for the result as JSON, or -1. False: the workspace could not be checked whole. */
bool release_workspace(const struct launch_in *in, int report);
/* What one left who was killed. `workspace`: a folder that may be the manifest's under another name, or NULL. The exit code; 0: checked. */
int release_left(int manifest_fd, const char *workspace, int report);

#endif
