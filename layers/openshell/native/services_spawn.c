/* One service process: its identity, no privileges, a clean environment, descriptor 3 and its log. */
#include "openshelld_priority.h"
#include "openshelld_text.h"
#include "services.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARGS_MAX 64
#define ENV_MAX 64
#define LOG_MAX_BYTES (16 * 1024 * 1024)

static int open_log(const char *service) {
  char path[512], old[520];
  struct stat found;
  if (!text_format(path, sizeof path, "%s/log/%s.log", config.state, service) || !text_format(old, sizeof old, "%s.1", path)) return -1;
  if (stat(path, &found) == 0 && found.st_size > LOG_MAX_BYTES) (void)rename(path, old);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (fd >= 0) (void)fchmod(fd, 0640);
  return fd;
}

static char *setting(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *setting(const char *format, ...) {
  char *text = NULL;
  va_list args;
  va_start(args, format);
  if (vasprintf(&text, format, args) < 0) text = NULL;
  va_end(args);
  return text;
}

static int fill_env(const struct service *service, char **env) {
  int n = 0;
  const struct identity *id = config.identity;
  env[n++] = setting("NEMOCLAW_SERVICE=%s", service->name);
  env[n++] = setting("NEMOCLAW_RUN=%s", config.run);
  env[n++] = setting("NEMOCLAW_STATE=%s", config.state);
  env[n++] = setting("NEMOCLAW_PREFIX=%s", config.prefix);
  env[n++] = setting("NEMOCLAW_OPERATORS_GID=%u", config.operators);
  env[n++] = setting("NEMOCLAW_SERVICE_UIDS=%u,%u,%u,%u", id[0].uid, id[1].uid, id[2].uid, id[3].uid);
  env[n++] = setting("NEMOCLAW_AGENT_UIDS=%u,%u", config.agent_first, config.agent_count);
  env[n++] = setting("PATH=/usr/bin:/bin");
  env[n++] = setting("LANG=C.UTF-8");
  env[n++] = setting("HOME=/");
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(service->entry, "env"), key, value) {
    char *text = n < ENV_MAX && json_is_string(value) ? config_expand(json_string_value(value)) : NULL;
    if (!text) continue;
    env[n++] = setting("%s=%s", key, text);
    free(text);
  }
  env[n] = NULL;
  return n;
}

static void fail_in_child(const char *what) {
  dprintf(2, "openshelld: %s: %s\n", what, strerror(errno));
  _exit(126);
}

static _Noreturn void become(const struct service *service, int control, int log, char **argv, char **env) {
  const struct identity *id = &config.identity[service->role];
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  struct rlimit core = {0, 0}, files;
  sigset_t none;
  if (dup2(log, 1) < 0 || dup2(log, 2) < 0 || null < 0 || dup2(null, 0) < 0 || dup2(control, 3) < 0) _exit(126);
  if (syscall(SYS_close_range, 4U, ~0U, 0U) < 0) fail_in_child("close_range");
  for (int s = 1; s < NSIG; s++) signal(s, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  umask(077);
  priority_raise(true);
  /* Only the gateway has a second group, so that it can give its socket to the operators. */
  gid_t extra = config.operators;
  /* As many descriptors as the host lets us have, up to 65,536; a container may not let even root raise its limit. */
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max = files.rlim_max < 65536 ? files.rlim_max : 65536;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  if (setrlimit(RLIMIT_CORE, &core) < 0) fail_in_child("rlimit");
  if (setgroups(service->role == ROLE_GATEWAY && extra ? 1 : 0, &extra) < 0 || setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0) fail_in_child("identity");
  if (setuid(0) == 0) _exit(126);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail_in_child("no_new_privs");
  if (service_confine(service->role) < 0) fail_in_child("landlock");
  if (service_calls() < 0) fail_in_child("seccomp");
  if (chdir("/") < 0) fail_in_child("chdir");
  execve(argv[0], argv, env);
  fail_in_child(argv[0]);
  _exit(126);
}

pid_t service_spawn(const struct service *service, int control) {
  char *argv[ARGS_MAX + 1], *env[ENV_MAX + 1];
  json_t *list = json_object_get(service->entry, "argv");
  int args = 0;
  for (size_t i = 0; i < json_array_size(list) && args < ARGS_MAX; i++) argv[args++] = config_expand(json_string_value(json_array_get(list, i)));
  argv[args] = NULL;
  int settings = fill_env(service, env);
  int log = open_log(service->name);
  /* Above 3, so that dup2 in the child cannot close what it is about to copy. */
  int channel = fcntl(control, F_DUPFD_CLOEXEC, 10), output = log < 0 ? -1 : fcntl(log, F_DUPFD_CLOEXEC, 10);
  pid_t pid = -1;
  if (channel >= 0 && output >= 0) pid = fork();
  if (pid == 0) become(service, channel, output, argv, env);
  int saved = errno;
  if (log >= 0) close(log);
  if (channel >= 0) close(channel);
  if (output >= 0) close(output);
  for (int i = 0; i < args; i++) free(argv[i]);
  for (int i = 0; i < settings; i++) free(env[i]);
  errno = saved;
  return pid;
}
