/* Random file calls with random arguments from several threads, some of which die: fuzz-calls SEED MILLISECONDS, in a workspace with ok/ and prod/. Prints how many were made. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int calls[] = {SYS_open, SYS_openat, SYS_creat, SYS_mkdir, SYS_mkdirat, SYS_mknod, SYS_mknodat, SYS_symlink, SYS_symlinkat, SYS_link, SYS_linkat, SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_rename, SYS_renameat, SYS_renameat2,
                            SYS_truncate, SYS_chmod, SYS_fchmod, SYS_fchmodat, 452, SYS_chown, SYS_lchown, SYS_fchown, SYS_fchownat, SYS_utime, SYS_utimes, SYS_futimesat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr,
                            SYS_removexattr, SYS_fremovexattr};
static char *edge; /* the last byte before memory that is not there */
static char deep[8192];
static volatile int over;

struct random {
  uint64_t state;
};
static uint64_t next(struct random *r) {
  r->state ^= r->state << 13;
  r->state ^= r->state >> 7;
  r->state ^= r->state << 17;
  return r->state;
}

static uint64_t argument(struct random *r) {
  static const char *const paths[] = {"ok/f", "prod/f", "prod", "ok", ".", "..", "/", "", "prod/../ok/f", "ok/loop", "ok/loop/x", "/proc/self/fd/3", "/proc/self/cwd/prod/f", "//workspace///prod//x", "prod/x/", "user.x", "security.capability", "\xff\xfe", "/dev/null", "/proc/self/exe"};
  switch (next(r) % 12) {
    case 0: return 0;
    case 1: return next(r);
    case 2: return (uint64_t)edge;
    case 3: return (uint64_t)(edge + 1);
    case 4: return (uint64_t)(deep + next(r) % 4200);
    case 5: return (uint64_t)-100;
    case 6: return next(r) % 16;
    case 7: return 1ULL << next(r) % 40;
    case 8: return next(r) % 8192;
    default: return (uint64_t)paths[next(r) % (sizeof paths / sizeof *paths)];
  }
}

static void storm(int signal) { (void)signal; }

static void *work(void *seed) {
  struct random r = {(uint64_t)(uintptr_t)seed | 1};
  uint64_t made = 0;
  while (!over) {
    int nr = calls[next(&r) % (sizeof calls / sizeof *calls)];
    uint64_t a[6];
    for (int i = 0; i < 6; i++) a[i] = argument(&r);
    long fd = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    if ((nr == SYS_open || nr == SYS_openat || nr == SYS_creat) && fd > 10) close((int)fd);
    made++;
  }
  return (void *)(uintptr_t)made;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint64_t seed = strtoull(argv[1], NULL, 10), total = 0;
  struct timespec until, now;
  char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(pages + 4096, 4096);
  memset(pages, 'x', 4096);
  edge = pages + 4095;
  for (size_t i = 0; i < sizeof deep - 1; i++) deep[i] = i % 2 ? '/' : 'd';
  signal(SIGALRM, storm);
  signal(SIGPIPE, SIG_IGN);
  clock_gettime(CLOCK_MONOTONIC, &until);
  long ms = atol(argv[2]);
  for (int round = 0;; round++) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - until.tv_sec) * 1000 + (now.tv_nsec - until.tv_nsec) / 1000000 > ms) break;
    int ends[2];
    if (pipe(ends) < 0) return 1;
    pid_t child = fork();
    if (child == 0) { /* half of them are killed in the middle of something */
      pthread_t thread[3];
      uint64_t made = 0;
      void *one;
      for (long i = 0; i < 3; i++) pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)(seed * 1000003 + (uint64_t)round * 31 + (uint64_t)i * 7919));
      usleep(150000);
      over = 1;
      for (int i = 0; i < 3; i++)
        if (pthread_join(thread[i], &one) == 0) made += (uint64_t)(uintptr_t)one;
      (void)!write(ends[1], &made, sizeof made);
      _exit(0);
    }
    close(ends[1]);
    usleep(round % 2 ? 60000 : 400000);
    if (round % 2) kill(child, SIGKILL);
    uint64_t made = 0;
    if (read(ends[0], &made, sizeof made) == sizeof made) total += made;
    close(ends[0]);
    kill(child, SIGKILL); /* whoever is held still */
    waitpid(child, NULL, 0);
  }
  printf("made=%llu\n", (unsigned long long)total);
  return 0;
}
