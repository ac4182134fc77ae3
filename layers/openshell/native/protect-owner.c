/* The process that checks a given-back workspace: it is the owner and nobody else, and can be killed without harm. */
#include "inside.h"
#include "protect.h"
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LAST_PROCESS_MS 10000
#define ANSWER_MAX (4 << 20)

/* A process that was killed may still be in a system call. */
static bool lives(uid_t uid) {
  DIR *proc = opendir("/proc");
  bool found = false;
  for (struct dirent *one; proc != NULL && !found && (one = readdir(proc)) != NULL;) {
    struct stat st;
    found = one->d_name[0] >= '1' && one->d_name[0] <= '9' && fstatat(dirfd(proc), one->d_name, &st, 0) == 0 && st.st_uid == uid;
  }
  if (proc != NULL) closedir(proc);
  return found;
}

static bool become(uid_t uid, gid_t gid) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  if (geteuid() == uid && uid != 0) return true;
  return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

static _Noreturn void run(int root, json_t *manifest, const char *label, bool shared, uid_t uid, gid_t gid, uid_t agent, int answer) {
  json_t *out = NULL;
  for (int waited = 0; lives(agent) && waited < LAST_PROCESS_MS; waited += 5) (void)poll(NULL, 0, 5);
  if (lives(agent)) out = json_pack("{s:b,s:i,s:s,s:[],s:i,s:s}", "checked", 0, "entries", 0, "quarantine", "", "found", "more", 0, "problem", "a process of the sandbox does not end");
  else if (!become(uid, gid)) out = json_pack("{s:b,s:i,s:s,s:[],s:i,s:s}", "checked", 0, "entries", 0, "quarantine", "", "found", "more", 0, "problem", "the owner's identity could not be taken");
  else {
    /* A descriptor that was opened for its path only cannot be read; opened again as the owner it can. */
    umask(077);
    out = protect_release(root, manifest, label, shared);
  }
  char *text = out != NULL ? json_dumps(out, JSON_COMPACT) : NULL;
  size_t length = text != NULL ? strlen(text) : 0, sent = 0;
  for (ssize_t n; sent < length && (n = write(answer, text + sent, length - sent)) > 0;) sent += (size_t)n;
  _exit(length > 0 && sent == length ? 0 : 1);
}

int protect_start(int root, json_t *manifest, const char *label, bool shared, uid_t uid, gid_t gid, uid_t agent, pid_t *child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  *child = fork();
  if (*child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    run(root, manifest, label, shared, uid, gid, agent, ends[1]);
  }
  int e = errno;
  close(ends[1]);
  if (*child > 0) return ends[0];
  close(ends[0]);
  errno = e;
  return -1;
}

json_t *protect_finish(int fd, pid_t child) {
  char *text = malloc(ANSWER_MAX);
  size_t used = 0;
  int status = -1;
  for (ssize_t n; text != NULL && used < ANSWER_MAX && ((n = read(fd, text + used, ANSWER_MAX - used)) > 0 || (n < 0 && errno == EINTR));) used += n > 0 ? (size_t)n : 0;
  close(fd);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  json_t *out = text != NULL && status == 0 ? json_loadb(text, used, 0, NULL) : NULL;
  free(text);
  return out;
}
