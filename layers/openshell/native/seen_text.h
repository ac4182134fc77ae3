/* Text from an agent's memory, made fit for the record. */
#pragma once
#include <stddef.h>

/* Copies at most `size - 1` bytes of `from` (ends at 0 or `length`): what is not printable ASCII or UTF-8 becomes \xNN, so that no name can break a line, move a cursor, or cost an event. Returns `out`. */
const char *seen_text(char *out, size_t size, const char *from, size_t length);
