/* The sandbox's PID 1 and the protocol on launched.exec_fd (SOCK_SEQPACKET, one struct per packet, host byte order). */
#ifndef NEMOCLAW_INIT_H
#define NEMOCLAW_INIT_H

#include <stdint.h>
#include <sys/types.h>

/*
 * shim -> init
 *   INIT_EXEC    struct init_request, then NUL-terminated strings: cwd, argc arguments, envc "K=V"; SCM_RIGHTS: stdin, stdout, stderr
 *                (with INIT_TTY the pty slave three times: it becomes the controlling terminal; with INIT_LAST the sandbox ends with this one)
 *   INIT_SIGNAL  struct init_request: `signal` to the process group of exec `id` (its leader started with setsid)
 *   INIT_END     struct init_request: SIGKILL to every process of the sandbox but init itself
 * init -> shim
 *   INIT_STARTED {id, pid}            pid as seen inside the sandbox; comes before INIT_EXITED of the same id; not for INIT_LAST
 *   INIT_EXITED  {id, code, signal}   signal is 0 unless a signal ended it, then code is 128 + signal
 *   INIT_FAILED  {id, error}          errno of fork, chdir or execve (the process never ran); no other event follows for this id
 *   INIT_QUIET   no process but init is left
 * INIT_SIGNAL is not answered. Closing the socket ends init, and with it the sandbox.
 */
enum { INIT_EXEC = 1, INIT_SIGNAL = 2, INIT_STARTED = 3, INIT_EXITED = 4, INIT_FAILED = 5, INIT_QUIET = 6, INIT_END = 7 };

enum { INIT_TTY = 1, INIT_LAST = 2 }; /* of INIT_EXEC */

#define INIT_PACKET_MAX (192 * 1024)

struct init_request {
  uint32_t kind;
  uint32_t id; /* chosen by the shim, unique per sandbox */
  uint32_t argc;
  uint32_t envc;
  uint32_t flags;
  int32_t signal;
};

struct init_event {
  uint32_t kind;
  uint32_t id;
  int32_t pid;
  int32_t code;
  int32_t signal;
  int32_t error;
};

/* Shim side. 0 or -1 with errno (E2BIG: longer than INIT_PACKET_MAX). argv and envp end with NULL. The caller still owns fds. */
int init_send_exec(int exec_fd, uint32_t id, char *const argv[], char *const envp[], const char *cwd, int flags, const int fds[3]);
int init_send_signal(int exec_fd, uint32_t id, int signal);
int init_send_end(int exec_fd);
/* 1: event filled; 0: init is gone; -1: errno (EAGAIN on a non-blocking socket; EPROTO: not an event). */
int init_receive(int exec_fd, struct init_event *event);

/* Init side: the loop of PID 1; returns never. Runs under the agent's own confinement. */
_Noreturn void init_run(int exec_fd);

#endif
