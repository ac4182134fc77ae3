/* Names of the host that a sandbox does not show. */
#pragma once
#include <stdbool.h>

#define HIDDEN_PATH 512
/* `path` without "//", "/./" and "/../", by the letters alone. False: it is too long. */
bool plain_path(const char *path, char out[HIDDEN_PATH]);

/* True also where only a file system that may not answer could tell. `path` is absolute and the agent's choice. */
bool host_may_have(const char *path);
