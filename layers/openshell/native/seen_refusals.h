/* Turns what the kernel saw into events that name the layer which refused. */
#pragma once
#include <stdbool.h>

/* Puts on record what was seen until now, without waiting for the next look. */
void refusals_tell_now(void);
/* Looks again and again while a sandbox is seen. */
void refusals_begin(void);
