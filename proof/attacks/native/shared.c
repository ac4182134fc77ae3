/* What the kernel shares between processes without a path: System V, POSIX queues and memory, terminals, filters. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include "attempt.h"

struct note { long kind; char text[100]; };

/* KEY NAME SECRET: offers it to all by everything here, until stdin ends. */
ATTEMPT(offer_shared, 3) {
  key_t key = (key_t)strtoul(arg[0], NULL, 0);
  char queue[100];
  umask(0);
  int memory = shmget(key, 4096, IPC_CREAT | 0666), messages = msgget(key, IPC_CREAT | 0666), gates = semget(key, 1, IPC_CREAT | 0666);
  char *at = memory < 0 ? (void *)-1 : shmat(memory, NULL, 0);
  if (at == (void *)-1 || messages < 0 || gates < 0) return 1;
  strcpy(at, arg[2]);
  semctl(gates, 0, SETVAL, 1);
  struct note note = {1, ""};
  snprintf(note.text, sizeof note.text, "%s", arg[2]);
  for (int i = 0; i < 20; i++) msgsnd(messages, &note, sizeof note.text, IPC_NOWAIT);
  snprintf(queue, sizeof queue, "/%s", arg[1]);
  struct mq_attr attributes = {.mq_maxmsg = 8, .mq_msgsize = 100};
  mqd_t posix = mq_open(queue, O_CREAT | O_RDWR | O_NONBLOCK, 0666, &attributes);
  for (int i = 0; i < 8 && posix >= 0; i++) mq_send(posix, note.text, sizeof note.text, 0);
  int file = shm_open(queue, O_CREAT | O_RDWR, 0666);
  if (file >= 0 && write(file, arg[2], strlen(arg[2])) < 0) return 1;
  /* An interrupted run interrupts us as well; what was made must go all the same. */
  signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN), signal(SIGHUP, SIG_IGN);
  puts("up");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) continue;
  shmctl(memory, IPC_RMID, NULL), msgctl(messages, IPC_RMID, NULL), semctl(gates, 0, IPC_RMID), mq_unlink(queue), shm_unlink(queue);
  return 0;
}
/* memory|messages|gate KEY, queue|file NAME */
ATTEMPT(shared, 2) {
  struct note note = {0, ""};
  char text[200] = "", queue[100];
  key_t key = (key_t)strtoul(arg[1], NULL, 0);
  snprintf(queue, sizeof queue, "/%s", arg[1]);
  if (strcmp(arg[0], "memory") == 0) {
    char *at = shmat(shmget(key, 0, 0), NULL, SHM_RDONLY);
    return at == (void *)-1 || puts(at) < 0;
  }
  if (strcmp(arg[0], "messages") == 0) return msgrcv(msgget(key, 0), &note, sizeof note.text, 0, IPC_NOWAIT) < 0 || puts(note.text) < 0;
  if (strcmp(arg[0], "gate") == 0) return semctl(semget(key, 1, 0), 0, GETVAL) != 1 || puts("open") < 0;
  if (strcmp(arg[0], "queue") == 0) return mq_receive(mq_open(queue, O_RDONLY | O_NONBLOCK), text, 100, NULL) < 0 || puts(text) < 0;
  int file = shm_open(queue, O_RDONLY, 0);
  return file < 0 || read(file, text, 100) < 0 || puts(text) < 0;
}
/* REQUEST: types into a terminal; what it says is what was not typed by anybody. */
ATTEMPT(type_in, 1) {
  char key = 'z', text[10] = "";
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  setsid();
  if (fork() != 0) {
    usleep(150000);
    return 0;
  }
  setsid();
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) _exit(1);
  int terminal = open(ptsname(master), O_RDWR);
  struct termios raw;
  tcgetattr(terminal, &raw);
  cfmakeraw(&raw);
  tcsetattr(terminal, TCSANOW, &raw);
  ioctl(terminal, TIOCSCTTY, 1);
  if (syscall(SYS_ioctl, terminal, strtoul(arg[0], NULL, 0), &key) != 0) _exit(1);
  alarm(1);
  _exit(read(terminal, text, 1) != 1 || dprintf(1, "typed %c\n", text[0]) < 0);
}
/* FLAGS: a filter whose questions we answer, for all programs from here on. */
ATTEMPT(listener, 1) {
  struct sock_filter all = {BPF_RET, 0, 0, SECCOMP_RET_ALLOW};
  struct sock_fprog program = {1, &all};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, strtoul(arg[0], NULL, 0), &program);
  char path[40], text[100];
  snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
  ssize_t n = fd < 3 ? -1 : readlink(path, text, sizeof text);
  return n < 0 || printf("%.*s\n", (int)n, text) < 0;
}
/* PIPE TOKEN: a rule set of one's own that allows all, on top. */
ATTEMPT(allow_all, 2) {
  struct landlock_ruleset_attr handled = {.handled_access_fs = 0x1fff};
  int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled.handled_access_fs, 0);
  struct landlock_path_beneath_attr all = {.allowed_access = 0x1fff, .parent_fd = open("/", O_PATH)};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &all, 0) != 0 || syscall(SYS_landlock_restrict_self, rules, 0) != 0) return 1;
  int fd = open(arg[0], O_WRONLY | O_NONBLOCK);
  return fd < 0 || write(fd, arg[1], strlen(arg[1])) < 0;
}
