/* `tries call NUMBER ARGUMENT…`: any system call, and what it answered: `= VALUE` or the error's name. An argument is a number, `@text` or `~N` (N zero bytes). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "attempt.h"

static long word(const char *text) {
  if (text == NULL) return 0;
  if (*text == '@') return (long)strdup(text + 1);
  if (*text == '~') return (long)calloc(1, strtoul(text + 1, NULL, 0) + 1);
  return (long)strtoull(text, NULL, 0);
}
static int answer(long value) { return value < 0 ? printf("%s\n", strerrorname_np(errno)) < 0 : printf("= %ld\n", value) < 0; }

ATTEMPT(call, 1) {
  long a[7] = {0};
  for (int i = 0; i < 7 && arg[i] != NULL; i++) a[i] = word(arg[i]);
  return answer(syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
}
/* getpid by the gate of 32-bit programs: no filter by number alone sees what it is. */
ATTEMPT(old_gate, 0) {
#ifdef __x86_64__
  long value = 20;
  __asm__ volatile("int $0x80" : "+a"(value) : : "memory", "r8", "r9", "r10", "r11");
  return value < 0 || printf("= %ld\n", value) < 0;
#else
  return 1;
#endif
}
/* FILE: opened for writing, nothing written. */
ATTEMPT(may_write, 1) { return answer(open(arg[0], O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)); }
ATTEMPT(may_use, 1) { return answer(open(arg[0], O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)); }
/* Descriptors that the program was started with, beside the first three. */
ATTEMPT(inherited, 0) {
  for (int fd = 3; fd < 4096; fd++) if (fcntl(fd, F_GETFD) >= 0) printf("descriptor %d\n", fd);
  return 0;
}
/* Of a set-uid copy. */
ATTEMPT(become, 0) { return printf("uid %d\n", (int)geteuid()) < 0; }
