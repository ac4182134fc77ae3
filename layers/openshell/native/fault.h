/* Where a step of a launch writes why it failed. */
#ifndef NEMOCLAW_FAULT_H
#define NEMOCLAW_FAULT_H

#include <stddef.h>

struct fault {
  char *text;
  size_t size;
  const char *code; /* static storage, see launched.code */
};
/* Fills `f` with "what: errno" (errnum 0: only "what"); always returns -1. */
int fault(struct fault *f, const char *code, int errnum, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
