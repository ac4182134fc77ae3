/* Formatting into fixed buffers that says when the text did not fit. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* True if all of it fits; else `out` holds what did. */
__attribute__((format(printf, 3, 4))) static inline bool text_format(char *out, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(out, size, format, args);
  va_end(args);
  return n >= 0 && (size_t)n < size;
}
