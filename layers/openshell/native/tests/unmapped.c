/* Runs on with nothing of its own file mapped any more: what it is made of stays on the disk, also when the file has lost its last name. Says so and waits. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct range {
  long at, length;
};

static inline __attribute__((always_inline)) long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

/* Copied elsewhere as bytes: it may use nothing but its arguments and its stack. */
static __attribute__((noinline, noclone, aligned(64))) void away(const struct range *ranges, long count, const char *word) {
  for (long i = 0; i < count; i++) (void)call(SYS_munmap, ranges[i].at, ranges[i].length, 0);
  (void)call(SYS_write, 1, (long)word, 5);
  for (;;) (void)call(SYS_pause, 0, 0, 0);
}

int main(void) {
  static char line[4096];
  char *elsewhere = mmap(NULL, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct range *ranges = (struct range *)(elsewhere + 8192);
  long count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (elsewhere == MAP_FAILED || maps == NULL) return 1;
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long from, to, inode;
    if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3 && inode != 0) ranges[count++] = (struct range){(long)from, (long)(to - from)};
  }
  memcpy(elsewhere, (const void *)(unsigned long)away, 1024);
  memcpy(elsewhere + 4096, "away\n", 5);
  ((void (*)(const struct range *, long, const char *))elsewhere)(ranges, count, elsewhere + 4096);
}
