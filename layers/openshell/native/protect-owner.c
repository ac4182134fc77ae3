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
#define PATIENCE_S 120
#define ANSWER_MAX (4 << 20)

/* Another instance on this host may use the same uids: what is in a control group of theirs is theirs. */
static bool is_ours(int proc, const char *pid, const char *instance) {
  char name[300], groups[8192], ours[80];
  snprintf(name, sizeof name, "%s/cgroup", pid);
  snprintf(ours, sizeof ours, "/nemoclaw-%s/", instance);
  int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, groups, sizeof groups - 1) : 0;
  if (fd >= 0) close(fd);
  groups[n > 0 ? n : 0] = '\0';
  return strstr(groups, ours) != NULL || strstr(groups, "/nemoclaw-") == NULL;
}

/* A process that was killed may still be in a system call. */
static bool lives(uid_t uid, const char *instance) {
  DIR *proc = opendir("/proc");
  bool found = false;
  for (struct dirent *one; proc != NULL && !found && (one = readdir(proc)) != NULL;) {
    struct stat st;
    found = one->d_name[0] >= '1' && one->d_name[0] <= '9' && fstatat(dirfd(proc), one->d_name, &st, 0) == 0 && st.st_uid == uid && is_ours(dirfd(proc), one->d_name, instance);
  }
  if (proc != NULL) closedir(proc);
  return found;
}

/* When a process began, in the kernel's ticks since boot; -1: it is not there, or nothing of it is left but its number. */
static long long began(pid_t pid) {
  char path[40], text[1024], state = 0;
  long long ticks = -1;
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char *after = strrchr(text, ')'); /* its name may hold anything */
  if (after == NULL || sscanf(after + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld", &state, &ticks) != 2) return -1;
  return state == 'Z' || state == 'X' ? -1 : ticks;
}

int protect_note_init(json_t *manifest, pid_t init) {
  long long ticks = began(init);
  if (ticks < 0) return -1;
  return json_object_set_new(manifest, "init", json_pack("{s:i,s:I}", "pid", (int)init, "began", (json_int_t)ticks));
}

/* The end of a pid namespace's init is the end of everything in it. */
static bool init_lives(json_t *manifest) {
  json_t *init = json_object_get(manifest, "init");
  return init != NULL && began((pid_t)json_integer_value(json_object_get(init, "pid"))) == json_integer_value(json_object_get(init, "began"));
}

static bool become(uid_t uid, gid_t gid) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  if (geteuid() == uid && uid != 0) return true;
  return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

/* Under the name that it had when it was registered, if that is still the same folder. */
static int open_by_name(json_t *manifest) {
  const char *path = json_string_value(json_object_get(manifest, "path"));
  struct open_rules how = {.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RULE_NO_MAGICLINKS};
  struct stat st;
  int fd = path != NULL ? sys_openat2(AT_FDCWD, path, &how) : -1;
  if (fd < 0) return -1;
  if (fstat(fd, &st) == 0 && st.st_ino == (ino_t)json_integer_value(json_object_get(manifest, "ino"))) return fd;
  close(fd);
  errno = ESTALE;
  return -1;
}

static _Noreturn void run(pid_t parent, int root, json_t *manifest, const char *label, bool shared, uid_t uid, gid_t gid, uid_t agent, const char *instance, int answer) {
  json_t *out = NULL;
  alarm(PATIENCE_S); /* a dead network mount must not leave us here */
  bool busy = true;
  for (int waited = 0; (busy = init_lives(manifest) || lives(agent, instance)) && waited < LAST_PROCESS_MS; waited += 5) (void)poll(NULL, 0, 5);
  if (busy) out = json_pack("{s:b,s:b,s:i,s:s,s:[],s:i,s:s}", "again", 1, "checked", 0, "entries", 0, "quarantine", "", "found", "more", 0, "problem", "a process of the sandbox does not end");
  else if (!become(uid, gid)) out = json_pack("{s:b,s:b,s:i,s:s,s:[],s:i,s:s}", "again", 1, "checked", 0, "entries", 0, "quarantine", "", "found", "more", 0, "problem", "the owner's identity could not be taken");
  else {
    umask(077);
    /* With our parent dies who could tell what we find; the next one checks again. Only now: a change of identity clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent) _exit(1);
    if (root < 0) root = open_by_name(manifest);
    out = root >= 0 ? protect_release(root, manifest, label, shared) : json_pack("{s:b,s:b,s:i,s:s,s:[],s:i,s:s+}", "again", 1, "checked", 0, "entries", 0, "quarantine", "", "found", "more", 0, "problem", "it could not be opened: ", strerror(errno));
  }
  char *text = out != NULL ? json_dumps(out, JSON_COMPACT) : NULL;
  size_t length = text != NULL ? strlen(text) : 0, sent = 0;
  for (ssize_t n; sent < length && (n = write(answer, text + sent, length - sent)) > 0;) sent += (size_t)n;
  _exit(length > 0 && sent == length ? 0 : 1);
}

int protect_start(int root, json_t *manifest, const char *label, bool shared, uid_t uid, gid_t gid, uid_t agent, const char *instance, pid_t *child) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  pid_t parent = getpid();
  *child = fork();
  if (*child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    run(parent, root, manifest, label, shared, uid, gid, agent, instance, ends[1]);
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
