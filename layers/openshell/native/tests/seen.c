/* Makes system calls whose outcome a test knows. Usage: seen CALL COUNT [PATH]; prints how many succeeded and the last errno. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <pthread.h>
#include <unistd.h>

static volatile int rang;
static void ring(int signal) {
  (void)signal;
  rang++;
}

static void *end_thread(void *unused) {
  syscall(SYS_exit, 0);
  return unused;
}

static long once(const char *call, const char *path) {
  char *none[] = {NULL};
  if (strcmp(call, "getpriority") == 0) return getpriority(PRIO_PROCESS, 0);
  if (strcmp(call, "execve") == 0) return execve(path, none, none);
  if (strcmp(call, "open") == 0) {
    int fd = (int)syscall(SYS_open, path, O_WRONLY);
    if (fd >= 0) close(fd);
    return fd;
  }
  if (strcmp(call, "truncate") == 0) return truncate(path, 0);
  if (strcmp(call, "mkdir") == 0) return syscall(SYS_mkdir, path, 0755);
  if (strcmp(call, "unlink") == 0) return unlink(path);
  if (strcmp(call, "keyctl") == 0) return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
  if (strcmp(call, "socket") == 0) return syscall(SYS_socket, 40, 1, 0); /* AF_VSOCK */
  if (strcmp(call, "personality") == 0) return syscall(SYS_personality, 0x0040000);
  if (strcmp(call, "x32") == 0) return syscall(0x40000000 + 39);
  if (strcmp(call, "nonsense") == 0) return syscall(5000);
  if (strcmp(call, "pause") == 0) { /* interrupted, then ended by its own handler */
    struct itimerval soon = {.it_value = {0, 2000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    return pause();
  }
  if (strcmp(call, "fork") == 0) {
    pid_t child = (pid_t)syscall(SYS_fork);
    if (child == 0) syscall(SYS_exit_group, 0);
    return waitpid(child, NULL, 0);
  }
  if (strcmp(call, "vfork") == 0) {
    pid_t child = vfork();
    if (child == 0) _exit(0);
    return waitpid(child, NULL, 0);
  }
  if (strcmp(call, "thread") == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_thread, NULL)) return -1;
    return pthread_join(thread, NULL);
  }
  errno = EINVAL;
  return -1;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  struct sigaction action = {.sa_handler = ring};
  sigaction(SIGALRM, &action, NULL);
  long good = 0, last = 0;
  for (long n = atol(argv[2]); n > 0; n--) {
    if (once(argv[1], argc > 3 ? argv[3] : "") >= 0) good++;
    else last = errno;
  }
  printf("%ld %s\n", good, last ? strerrorname_np((int)last) : "-");
  return 0;
}
