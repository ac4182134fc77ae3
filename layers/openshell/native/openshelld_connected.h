/* Which program of a sandbox opened a connection: kept by the kernel (connected.h), told to the worker that serves the sandbox. */
#pragma once
#include "openshelld.h"

/* Takes up what the last openshelld left with the supervisor; false: `name` is something else's. */
bool programs_adopt(const char *name, const int *fds, int count);
/* Begins to keep connections, unless they are kept already; without it `connection.owner` answers not-seen. */
void programs_open(void);
bool programs_seen(void);
/* connection.owner */
void asked_owner(struct service *service, json_t *message, json_int_t id);
