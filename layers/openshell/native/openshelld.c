/* openshelld: the root daemon. Starts the services, makes sandboxes through shims, performs approved file operations. Usage: openshelld --config FILE [--store FD], or openshelld --alone (openshelld_alone.h) */
#include "openshelld.h"
#include "openshelld_alone.h"
#include "openshelld_descriptors.h"
#include "openshelld_checkpoints.h"
#include "openshelld_connected.h"
#include "openshelld_lsm.h"
#include "openshelld_priority.h"
#include "openshelld_release.h"
#include "openshelld_sandboxes.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "registry.h"
#include "seen_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool finished;
static bool stopping;
static struct watch signals;

static void all_stopped(void) { finished = true; }

static void stop(void) {
  if (stopping) return;
  stopping = true;
  log_line("stopping");
  releases_stopping();
  if (config.alone) {
    sandboxes_stop(all_stopped);
    return;
  }
  sandboxes_stop(NULL);
  services_stop(all_stopped);
}

static void supervisor_gone(void) {
  /* Nobody would start us again or keep the descriptors: what cannot be supervised must not run. */
  log_line("the supervisor is gone");
  stop();
}

static void parent_gone(void) {
  log_line("the program that started us is gone");
  stop();
}

static void signal_ready(struct watch *watch, uint32_t events) {
  struct signalfd_siginfo info;
  (void)events;
  while (read(watch->fd, &info, sizeof info) == sizeof info)
    if (info.ssi_signo != SIGCHLD) stop();
  sandboxes_reap();
  registry_reap();
}

static void found(const char *name, const int *fds, int count) {
  if (strcmp(name, "events") == 0 && count == 1) event_adopt_sequence(fds[0]);
  else if (strncmp(name, "service/", 8) == 0) services_adopt(name + 8, fds, count);
  else if (strncmp(name, "workspace/", 10) == 0) registry_adopt(fds, count);
  else if (!watch_adopt(name, fds, count) && !programs_adopt(name, fds, count))
    for (int i = 0; i < count; i++) close(fds[i]);
}

static int open_signals(void) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  sigaddset(&mask, SIGINT);
  sigaddset(&mask, SIGHUP);
  sigaddset(&mask, SIGCHLD);
  signal(SIGPIPE, SIG_IGN);
  if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0) return -1;
  int fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  return fd < 0 ? -1 : loop_add(&signals, fd, EPOLLIN, signal_ready);
}

/* What is the same for every openshelld, before it has read anything. 0, or -1 with errno. */
static int settle(bool alone) {
  struct rlimit core = {0, 0};
  umask(022);
  priority_raise(!alone);
  /* Without groups of root's, so that an operation with an agent's fsuid has no group but the agent's. */
  if (geteuid() == 0 && setgroups(0, NULL) < 0) return -1;
  if (setrlimit(RLIMIT_CORE, &core) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return -1;
  descriptors_open();
  become_prepare();
  return 0;
}

static int run_alone(void) {
  char err[400] = "";
  if (fcntl(ALONE_CONTROL, F_SETFD, FD_CLOEXEC) < 0 || fcntl(ALONE_CONTROL, F_SETFL, O_NONBLOCK) < 0 || alone_load(0, err, sizeof err) < 0) {
    fprintf(stderr, "openshelld: %s\n", err[0] ? err : "descriptor 3 must be the control channel");
    return 2;
  }
  if (loop_open() < 0 || open_signals() < 0 || event_open() < 0 || services_parent(ALONE_CONTROL, parent_gone) < 0) {
    fprintf(stderr, "openshelld: %s\n", strerror(errno));
    return 1;
  }
  alone_sweep();
  tier_open();
  (void)watch_open(); /* each sandbox says so where it is not seen */
  loop_run(&finished);
  sandboxes_close();
  tier_close(true);
  return 0;
}

int main(int argc, char **argv) {
  char err[400] = "";
  const char *file = NULL;
  int store = -1;
  bool alone = argc == 2 && strcmp(argv[1], "--alone") == 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--config") == 0) file = argv[i + 1];
    if (strcmp(argv[i], "--store") == 0) store = atoi(argv[i + 1]);
  }
  if (!alone && (!file || geteuid() != 0)) {
    fprintf(stderr, "usage: %s --config FILE [--store FD] (as root), or %s --alone\n", argv[0], argv[0]);
    return 2;
  }
  if (store >= 0) (void)fcntl(store, F_SETFD, FD_CLOEXEC);
  if (settle(alone) < 0) return 1;
  if (alone) return run_alone();
  if (config_load(file, err, sizeof err) < 0) {
    fprintf(stderr, "openshelld: %s\n", err);
    return 2;
  }
  if (config_make_folders(err, sizeof err) < 0) goto failed;
  if (loop_open() < 0 || open_signals() < 0) {
    text_format(err, sizeof err, "event loop: %s", strerror(errno));
    goto failed;
  }
  services_prepare();
  if (store_open(store, found) < 0 || event_open() < 0) {
    text_format(err, sizeof err, "the supervisor's store: %s", strerror(errno));
    goto failed;
  }
  store_watch(supervisor_gone);
  tier_open();
  if (!watch_open()) log_line("system calls are not seen: %s", strerror(errno));
  programs_open();
  if (checkpoints_open(checkpoint_done, err, sizeof err) < 0) goto failed;
  if (registry_open(err, sizeof err) < 0) goto failed;
  if (sandboxes_open(err, sizeof err) < 0) goto failed;
  /* What the kernel's types took while the programs were loaded; every fork would copy its page table. */
  (void)malloc_trim(0);
  services_start();
  loop_run(&finished);
  registry_close();
  sandboxes_close();
  tier_close(true);
  log_line("stopped");
  return 0;
failed:
  fprintf(stderr, "openshelld: %s\n", err);
  return 1;
}
