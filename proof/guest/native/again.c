/*
 * A yes for one call, tried on another one: again, in a folder with a folder for each kind, where everything that is done to files is asked about: yes to the first question of a process, no to the others.
 * When the process goes on, a handler of its signal does a like thing first, or changes what the call has in memory. Prints "KIND other=ERRNO" and "KIND call=ERRNO" (0: done; of the other -1: only the memory was changed).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* What the call has in memory, and is changed there. */
static struct open_how how = {.flags = O_WRONLY};
static char target[8] = "one", value[4] = "one";
static struct timespec times[2] = {{1, 0}, {2, 0}};
static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "listening"};
static char *const program[] = {"./program", "yes", NULL}, *const variables[] = {NULL};
static const char *kind;
static int other = -1, sockets[2];
static volatile int handled, going, gone;

static int opened(int fd) { return fd < 0 ? -1 : close(fd); }

/* Number 0 is the call that is shown, 1 the other. */
static int open_it(int n) { return opened(open("f", O_WRONLY | (n ? O_APPEND : 0))); }
static int read_too(int n) { return opened(open("f", n ? O_RDWR : O_WRONLY)); }
static int same(int n) { return (void)n, opened(open("f", O_WRONLY)); }
static int empty_it(int n) { return opened(open("f", O_WRONLY | (n ? O_TRUNC : 0))); }
static int create(int n) { return opened(open("new", O_WRONLY | O_CREAT | O_EXCL, n ? 0666 : 0600)); }
static int shorten(int n) { return truncate("f", n ? 0 : 1); }
static int set_mode(int n) { return chmod("f", n ? 0777 : 0600); }
static int set_owner(int n) { return chown("f", n ? 7 : 8, (gid_t)-1); }
static int rename_how(int n) { return (int)syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "new", n ? RENAME_NOREPLACE : 0); }
static int rename_to(int n) { return rename("f", n ? "other" : "new"); }
static int link_to(int n) { return link("f", n ? "other" : "new"); }
static int make_folder(int n) { return mkdir("new", n ? 0777 : 0700); }
static int make_pipe(int n) { return mknod("new", (n ? S_IFSOCK : S_IFIFO) | 0600, 0); }
static int remove_it(int n) { return unlink(n ? "second" : "f"); }
static int attribute(int n) { return setxattr("f", n ? "user.two" : "user.one", "x", 1, 0); }
static int start(int n) { return (void)n, execve(program[0], program, variables); }
static int connect_it(int n) { return connect(sockets[n], (struct sockaddr *)&name, sizeof name); }

static int open_by(int n) { return n ? (how.flags = O_RDWR, 0) : opened((int)syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how)); }
static int make_link(int n) { return n ? (target[0] = '/', 0) : symlink(target, "new"); }
static int set_value(int n) { return n ? (value[0] = 'X', 0) : setxattr("f", "user.one", value, sizeof value, 0); }
static int set_times(int n) { return n ? (times[1].tv_sec = 9, 0) : utimensat(AT_FDCWD, "f", times, 0); }

static void *thread(void *unused) {
  while (!going) continue;
  other = same(1) < 0 ? errno : 0;
  gone = 1;
  return unused;
}
static int by_thread(int n) {
  pthread_t one;
  sigset_t set;
  if (!n) {
    /* The other thread inherits the mask: the handler must run in the one that was asked about. */
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || pthread_create(&one, NULL, thread, NULL) != 0 || pthread_sigmask(SIG_UNBLOCK, &set, NULL) != 0) return -1;
    return same(0);
  }
  going = 1;
  while (!gone) continue;
  return 0;
}

/* `memory`: the other does nothing but change what the call gives; then the call itself is another one. */
static const struct {
  const char *name;
  int (*act)(int n);
  int memory;
} kinds[] = {{"append", open_it, 0}, {"read-too", read_too, 0}, {"same", same, 0}, {"empty", empty_it, 0}, {"create", create, 0}, {"truncate", shorten, 0}, {"mode", set_mode, 0}, {"owner", set_owner, 0},
             {"rename-how", rename_how, 0}, {"rename-to", rename_to, 0}, {"link", link_to, 0}, {"folder", make_folder, 0}, {"pipe", make_pipe, 0}, {"remove", remove_it, 0}, {"attribute", attribute, 0},
             {"exec", start, 0}, {"connect", connect_it, 0}, {"thread", by_thread, 1}, {"how", open_by, 1}, {"target", make_link, 1}, {"value", set_value, 1}, {"times", set_times, 1}};
static size_t which;

static void continued(int signal) {
  (void)signal;
  if (handled++) return;
  int error = kinds[which].act(1) < 0 ? errno : 0;
  if (!kinds[which].memory) other = error;
  dprintf(1, "%s other=%d\n", kind, other);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "yes") == 0) return 0;
  for (which = 0; which < sizeof kinds / sizeof *kinds; which++) {
    int status;
    kind = kinds[which].name;
    pid_t child = fork();
    if (child == 0) {
      if (chdir(kind) < 0) _exit(100);
      for (int i = 0; i < 2; i++) sockets[i] = socket(AF_UNIX, SOCK_STREAM, 0);
      signal(SIGCONT, continued);
      alarm(600);
      int result = kinds[which].act(0) < 0 ? errno : 0;
      _exit(result);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return 1;
    printf("%s call=%d\n", kind, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
  }
  return 0;
}
