/* What the parts of network-capture share. */
#ifndef NETWORK_POLICY_CAPTURE_H
#define NETWORK_POLICY_CAPTURE_H

#include "fault.h"
#include <sys/types.h>

/* The system's files, the key of a certificate, and two that hold a secret for each of 64 credentials. */
#define BINDS_MAX 144

struct options {
  uid_t uid;
  gid_t gid;
  int drop; /* whether uid and gid were given */
  const char *from[BINDS_MAX], *over[BINDS_MAX];
  size_t binds;
  char **command;
};

/* namespace.c: a network namespace of our own (as a plain user: in a user namespace of our own), or an existing one. */
int namespace_new(struct fault *f);
int namespace_enter(const char *path, struct fault *f);
/* Puts files over others, for us and the command only. */
int namespace_binds(const struct options *o, struct fault *f);

/* dial.c: the connection, -1 with what is wrong in `f`. */
int dial_loopback(int listener, unsigned port, struct fault *f);

/* command.c: gives up what could change the network again, and becomes the command. The exit code where it cannot. */
int command_become(const struct options *o);

#endif
