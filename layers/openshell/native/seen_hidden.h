/* Names of the host that a sandbox does not show. */
#pragma once
#include <stdbool.h>

/* True also where only a file system that may not answer could tell. `path` is absolute and the agent's choice. */
bool host_may_have(const char *path);
