/* Keeps what libbpf says, for the reason that people are told. */
#include "bpf_why.h"

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char last_words[300];

__attribute__((format(printf, 2, 0))) static int hear(enum libbpf_print_level level, const char *format, va_list args) {
  if (level == LIBBPF_WARN && !last_words[0]) vsnprintf(last_words, sizeof last_words, format, args);
  return 0;
}

void bpf_listen(void) {
  last_words[0] = 0;
  (void)libbpf_set_print(hear);
}

int bpf_fail(char *why, size_t size, const char *what, int error) {
  last_words[strcspn(last_words, "\n")] = 0;
  snprintf(why, size, "%s: %s%s%s", what, strerror(error), last_words[0] ? "; " : "", last_words);
  return -1;
}
