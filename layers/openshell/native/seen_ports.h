/* Whether the host listens at a TCP port. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* As it was at most a second ago. */
bool host_listens(uint16_t port);
