/* Where in a sandbox the kernel asks before a file is opened or a program started. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct starts_mounts {
  pid_t init; /* whose mounts */
  int root;   /* O_PATH on their root */
};
/* Every mount on which a file that a rule names can be opened or started. 0 or -1 with `err`. */
int starts_mark(int group, const struct starts_mounts *mounts, char *err, size_t size);
/* An opened file that no rule names is not asked about again, if nothing in the sandbox could make it one that a rule names. True: until starts_ask_again(). */
bool starts_let_be(int group, int fd);
void starts_ask_again(int group);
