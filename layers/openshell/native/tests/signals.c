/* A held call under signals: signals PATH MICROSECONDS RESTART, deletes PATH while SIGURG comes every so many microseconds, SIGALRM every millisecond and children end. Prints the result and how many signals there were. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t urgent, alarms, children;
static void on_urgent(int s) { (void)s; urgent++; }
static void on_alarm(int s) { (void)s; alarms++; }
static void on_child(int s) { (void)s; children++; }

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int flags = atoi(argv[3]) ? SA_RESTART : 0;
  struct sigaction action = {.sa_flags = flags};
  struct itimerval every = {{0, 1000}, {0, 1000}};
  action.sa_handler = on_urgent;
  sigaction(SIGURG, &action, NULL);
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, NULL);
  action.sa_handler = on_child;
  sigaction(SIGCHLD, &action, NULL);
  pid_t parent = getpid(), sender = fork();
  if (sender == 0) {
    struct timespec pause = {0, atol(argv[2]) * 1000};
    for (int i = 0;; i++) {
      if (kill(parent, SIGURG) < 0) _exit(0);
      if (i % 500 == 0 && fork() == 0) _exit(0);
      nanosleep(&pause, NULL);
    }
  }
  /* Children of ours, so that SIGCHLD comes too. */
  for (int i = 0; i < 20; i++)
    if (fork() == 0) {
      usleep((useconds_t)(i * 20000));
      _exit(0);
    }
  setitimer(ITIMER_REAL, &every, NULL);
  /* One that comes before the call has been taken interrupts it, and nobody was asked (seccomp_unotify(2), SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV). */
  int result, error;
  do {
    result = unlink(argv[1]);
    error = errno;
  } while (result < 0 && error == EINTR);
  memset(&every, 0, sizeof every);
  setitimer(ITIMER_REAL, &every, NULL);
  kill(sender, SIGKILL);
  printf("%s urgent=%d alarms=%d children=%d\n", result == 0 ? "ok" : strerrorname_np(error), urgent > 0, alarms > 0, children > 0);
  return 0;
}
