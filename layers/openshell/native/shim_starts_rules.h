/* Which files the rules on starting programs speak of. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STARTS_NONE (-1)
#define STARTS_UNKNOWN (-2) /* it cannot be found out */

struct starts_rule {
  int index; /* in the plan */
  int fd;    /* O_PATH on what was there at launch, so that its number stays its own; -1: nothing was */
  dev_t dev;
  ino_t ino;
  uint64_t mount;
  bool folder;
  char *path, *real; /* as the plan names it, and without links; NULL */
};

/* Reads the rules with `exec`, and finds their objects below `root`. Their number; -1: too many. */
int starts_rules_read(json_t *escalate, int root);
const struct starts_rule *starts_rules(int *number);
/* Index of the plan's rule that names an opened file, by what it is and where it lies now; STARTS_NONE, STARTS_UNKNOWN. */
int starts_rule_of(int fd);
/* `path` is `base` or lies below it. */
bool starts_below(const char *path, const char *base);
/* O_PATH on what `path` is for whoever has `root`. */
int starts_open_at(int root, const char *path);
