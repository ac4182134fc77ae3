/* The priority of openshelld and of the services. */
#pragma once
#include <stdbool.h>

/* Raises the calling process and, with `session`, its whole session, which must be its own: call it after setsid() and before privileges go. Where the host does not let us, all stays as it is. */
void priority_raise(bool session);
