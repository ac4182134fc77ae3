/* Which files the rules on starting programs speak of, and on which mounts the kernel has to ask. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#define STARTS_NONE (-1)
#define STARTS_UNKNOWN (-2) /* it cannot be found out */

/* Reads the rules with `exec`, and finds their objects below `root`. Their number; -1: too many. */
int starts_rules_read(json_t *escalate, int root);
/* Index of the plan's rule that names an opened file, by what it is and where it lies now; STARTS_NONE, STARTS_UNKNOWN. */
int starts_rule_of(int fd);

struct starts_mounts {
  pid_t init; /* whose mounts */
  int root;   /* O_PATH on their root */
};
/* Every mount on which a named file can be opened or a program started. 0 or -1 with `err`. */
int starts_mark(int group, const struct starts_mounts *mounts, char *err, size_t size);
