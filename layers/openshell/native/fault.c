/* Why a step failed, as one line. */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fault(struct fault *f, const char *code, int errnum, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(f->text, f->size, format, args);
  va_end(args);
  if (errnum != 0 && n >= 0 && (size_t)n < f->size) snprintf(f->text + n, f->size - (size_t)n, ": %s", strerror(errnum));
  f->code = code;
  return -1;
}
