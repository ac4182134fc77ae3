/* Devices of this host that a sandbox may be shown. */
#pragma once
#include <jansson.h>

/* A new list of paths, as they are now: what the configuration names, is a character device itself and no link, and whose mode lets agents read and write it. */
json_t *devices_found(void);
