/* openshell-launch: one sandbox without any daemon; runs one command in it and ends as it ends. */
#include "cgroup.h"
#include "init.h"
#include "inside.h"
#include "standalone.h"
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define UID_BASE 0x70000000u /* plus the pid: one uid per sandbox, in nobody's range */
#define ROOTS_MAX 32
#define PLAN_BYTES_MAX (2 << 20)
#define HEAP_BYTES (192 << 10)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define USAGE "usage: openshell-launch --plan-fd N [--report-fd N] [--release-fd N] [--manifest-fd N] [--workspace DIR] [--uid N] [--bind-root DIR]... [--device NODE]... [--testing] [--] command...\n       openshell-launch --facts\n       openshell-launch --release --manifest-fd N [--release-fd N] [--workspace DIR]\n"

struct arguments {
  int plan_fd, report_fd, release_fd, manifest_fd;
  const char *workspace;
  unsigned uid;
  const char *roots[ROOTS_MAX + 1];
  size_t root_count;
  const char *devices[DEVICES_MAX + 1];
  size_t device_count;
  bool testing, release;
  char **command;
};

static bool number(const char *text, unsigned *out) {
  char *end;
  errno = 0;
  unsigned long v = text != NULL ? strtoul(text, &end, 10) : 0;
  if (text == NULL || *text == '\0' || *end != '\0' || errno != 0 || v > 0xfffffffe) return false;
  *out = (unsigned)v;
  return true;
}

static bool parse(int argc, char **argv, struct arguments *a) {
  unsigned fd; /* or any other number */
  *a = (struct arguments){.plan_fd = -1, .report_fd = -1, .release_fd = -1, .manifest_fd = -1, .uid = launch_rootless() ? geteuid() : UID_BASE + (unsigned)getpid()};
  int i = 1;
  for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strcmp(argv[i], "--") == 0) {
      i++;
      break;
    }
    if (strcmp(argv[i], "--testing") == 0 || strcmp(argv[i], "--release") == 0) {
      *(argv[i][2] == 't' ? &a->testing : &a->release) = true;
      continue;
    }
    if (strcmp(argv[i], "--plan-fd") == 0 && number(value, &fd)) a->plan_fd = (int)fd;
    else if (strcmp(argv[i], "--report-fd") == 0 && number(value, &fd)) a->report_fd = (int)fd;
    else if (strcmp(argv[i], "--release-fd") == 0 && number(value, &fd)) a->release_fd = (int)fd;
    else if (strcmp(argv[i], "--manifest-fd") == 0 && number(value, &fd)) a->manifest_fd = (int)fd;
    else if (strcmp(argv[i], "--uid") == 0 && number(value, &fd) && fd != 0) a->uid = fd;
    else if (strcmp(argv[i], "--workspace") == 0 && value != NULL) a->workspace = value;
    else if (strcmp(argv[i], "--bind-root") == 0 && value != NULL && a->root_count < ROOTS_MAX) a->roots[a->root_count++] = value;
    else if (strcmp(argv[i], "--device") == 0 && value != NULL && a->device_count < DEVICES_MAX) a->devices[a->device_count++] = value;
    else return false;
    i++;
  }
  a->command = argv + i;
  return a->release ? a->manifest_fd >= 0 && i == argc : a->plan_fd >= 0 && i < argc;
}

struct wanted {
  json_t *plan;
  struct cgroup group;
};

/* What the plan says for cgroups; cgroup_create() refuses what the host cannot do. One group a tree: nemoclaw-alone-<pid>. */
static int make_groups(struct wanted *w, char *err, size_t errlen) {
  json_t *limits = json_object_get(w->plan, "limits");
  char instance[32];
  struct cgroup_limits wanted = {
      .memory_bytes = json_integer_value(json_object_get(limits, "memoryBytes")),
      .cpus = (double)json_integer_value(json_object_get(limits, "cpuMillis")) / 1000,
      .pids = (long)json_integer_value(json_object_get(limits, "pids")),
      .alone = true,
  };
  snprintf(instance, sizeof instance, "alone-%d", getpid());
  return cgroup_create(&w->group, instance, NULL, &wanted, err, errlen);
}

/* As launch_in.groups. */
static int groups_to_join(void *arg, int *fds, int room, char *err, size_t errlen) {
  struct wanted *w = arg;
  if (make_groups(w, err, errlen) != 0) return -1;
  int count = cgroup_doors(&w->group, fds, room);
  if (count < 0) snprintf(err, errlen, "cgroup: open: %s", strerror(errno));
  return count;
}

/* Whole, in large reads: json_loadfd() asks the kernel for one byte at a time. */
static json_t *read_plan(int fd, json_error_t *bad) {
  static char text[PLAN_BYTES_MAX];
  size_t length = 0;
  ssize_t n;
  while (length < sizeof text && (n = read(fd, text + length, sizeof text - length)) != 0) {
    if (n < 0 && errno != EINTR) return NULL;
    if (n > 0) length += (size_t)n;
  }
  return json_loadb(text, length, 0, bad);
}

/* Where one is wanted and there is something to say. One write: json_dumpfd() makes one for each word. */
static void write_report(const struct arguments *a, const struct launched *out) {
  int fd = a->report_fd;
  if (fd >= 0 && out->probe_count == 0) close(fd);
  if (fd < 0 || out->probe_count == 0) return;
  json_t *probe = json_object(), *phases = json_object();
  for (size_t i = 0; i < out->probe_count; i++) json_object_set_new(probe, out->probe[i].name, json_boolean(out->probe[i].stopped));
  for (size_t i = 0; i < out->phase_count; i++) json_object_set_new(phases, out->phases[i].name, json_real(out->phases[i].ms));
  json_t *all = json_pack("{s:o, s:o}", "probe", probe, "phases", phases);
  char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;
  if (text == NULL || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) fprintf(stderr, "openshell: the report could not be written\n");
  close(fd);
  free(text);
  json_decref(all);
}

/* `starter`: a pipe that hangs up when whoever reads it is gone, -1: none. Then nobody waits for the command, nor could end it. `timeout`: ms of wall time, 0: none. */
static int event_loop(struct launched *out, int signals, struct terminal *terminal, int starter, long long timeout) {
  double end = now_ms() + (double)timeout;
  if (starter >= 0 && fcntl(starter, F_GETFD) < 0) starter = -1;
  for (;;) {
    double left = end - now_ms();
    if (timeout > 0 && left <= 0) {
      fprintf(stderr, "openshell: ended after %lld ms (resources.timeout)\n", timeout);
      return 124; /* as timeout(1) */
    }
    struct pollfd wait[6] = {{out->exec_fd, POLLIN, 0}, {out->notify_fd, POLLIN, 0}, {signals, POLLIN, 0}, {terminal->input, POLLIN, 0}, {terminal->master, POLLIN, 0}, {starter, 0, 0}};
    if (poll(wait, 6, timeout == 0 ? -1 : left > 3600000 ? 3600000 : (int)left + 1) < 0 && errno != EINTR) return 126;
    if (wait[5].revents != 0) {
      fprintf(stderr, "openshell: ended, because what started it was killed\n");
      return 137;
    }
    if (wait[4].revents != 0) terminal_output(terminal);
    if (wait[3].revents != 0) terminal_input(terminal);
    if (wait[1].revents & POLLIN) launch_refuse(out->notify_fd); /* refused calls: EPERM; nobody keeps a record here */
    else if (wait[1].revents != 0) close(out->notify_fd), out->notify_fd = -1;
    if (wait[2].revents & POLLIN) {
      struct signalfd_siginfo info;
      if (read(signals, &info, sizeof info) != sizeof info) continue;
      if (info.ssi_signo == SIGWINCH) terminal_resize(terminal);
      else if (init_send_signal(out->exec_fd, 1, (int)info.ssi_signo) != 0) return 126;
    }
    if (wait[0].revents == 0) continue;
    struct init_event event;
    if (init_receive(out->exec_fd, &event) != 1) {
      fprintf(stderr, "openshell: the sandbox ended\n");
      return 137;
    }
    if (event.kind == INIT_FAILED) {
      fprintf(stderr, "openshell: the command could not be started: %s\n", strerror(event.error));
      return event.error == ENOENT ? 127 : 126;
    }
    if (event.kind != INIT_EXITED) continue;
    terminal_drain(terminal);
    return event.code;
  }
}

static int run(const struct arguments *a, json_t *plan, struct launched *out, int signals) {
  json_t *list = json_object_get(plan, "env"), *item;
  const char *cwd = json_string_value(json_object_get(plan, "cwd"));
  size_t index;
  char **env = calloc(json_array_size(list) + 1, sizeof *env);
  struct terminal terminal;
  if (env == NULL || cwd == NULL) return 126;
  json_array_foreach(list, index, item) {
    if ((env[index] = (char *)json_string_value(item)) == NULL) return free(env), 126;
  }
  int stdio[3] = {0, 1, 2}, code = 126;
  for (int i = 0; i < 3; i++) { /* a pipe belongs to who made it; as the agent's it can be opened again as /dev/stdout */
    struct stat st;
    if (!launch_rootless() && fstat(i, &st) == 0 && S_ISFIFO(st.st_mode) && fchown(i, a->uid, a->uid) != 0) perror("openshell: pipe");
  }
  if (terminal_open(&terminal, out->pts_fd, stdio) != 0) perror("openshell: terminal");
  else if (init_send_exec(out->exec_fd, 1, a->command, env, cwd, (terminal.master >= 0 ? INIT_TTY : 0) | INIT_LAST, stdio) != 0) perror("openshell: start the command");
  else {
    write_report(a, out); /* the command starts meanwhile */
    terminal_started(&terminal);
    code = event_loop(out, signals, &terminal, a->release_fd, json_integer_value(json_object_get(json_object_get(plan, "limits"), "timeoutMs")));
  }
  terminal_close(&terminal);
  free(env);
  return code;
}

/* The pages that a usual plan takes, in one call: a fault for each costs more than what is then written to it. Without it (before Linux 5.14) all works the same. */
static void populate_heap(void) {
  if (mallopt(M_MMAP_THRESHOLD, 4 * HEAP_BYTES) != 1 || mallopt(M_TRIM_THRESHOLD, 4 * HEAP_BYTES) != 1) return;
  char *block = malloc(HEAP_BYTES);
  uintptr_t page = ((uintptr_t)block + 4095) & ~(uintptr_t)4095;
  if (block != NULL) (void)madvise((void *)page, HEAP_BYTES - 4096, MADV_POPULATE_WRITE);
  free(block); /* kept by malloc for what comes */
}

int main(int argc, char **argv) {
  struct arguments a;
  if (argc == 2 && strcmp(argv[1], "--facts") == 0) return facts_print();
  if (!parse(argc, argv, &a)) return fputs(USAGE, stderr), 2;
  if (a.manifest_fd >= 0 && release_lock(a.manifest_fd) != 0) return errno == EWOULDBLOCK ? RELEASE_BUSY : (perror("openshell: the manifest"), 1);
  if (a.release) return release_left(a.manifest_fd, a.workspace, a.release_fd);
  populate_heap();
  json_error_t bad = {.text = "cannot be read"};
  json_t *plan = read_plan(a.plan_fd, &bad);
  if (plan == NULL) return fprintf(stderr, "openshell: plan: %s\n", bad.text), 2;
  close(a.plan_fd);
  struct launch_in in = {.workspace_fd = -1, .layer_fd = -1, .agent_uid = a.uid, .agent_gid = launch_rootless() ? getegid() : a.uid, .bind_roots = a.root_count > 0 ? a.roots : NULL, .devices = a.devices, .allow_layer_switches = a.testing};
  if (a.workspace != NULL) {
    struct stat st;
    in.workspace_fd = open(a.workspace, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (in.workspace_fd < 0 || fstat(in.workspace_fd, &st) != 0) return fprintf(stderr, "openshell: workspace %s: %s\n", a.workspace, strerror(errno)), 1;
    in.workspace_uid = st.st_uid;
    in.workspace_gid = st.st_gid;
    /* Whose it is, and where it is found again. */
    in.manifest = json_pack("{s:s,s:I,s:I,s:I}", "path", a.workspace, "uid", (json_int_t)st.st_uid, "gid", (json_int_t)st.st_gid, "ino", (json_int_t)st.st_ino);
    in.manifest_fd = a.manifest_fd;
    if (in.manifest == NULL) return fprintf(stderr, "openshell: workspace %s: its name is not text\n", a.workspace), 1;
  }
  /* Blocked before the launch: an early SIGTERM waits until it can be passed on, instead of leaving a sandbox behind. */
  sigset_t set;
  sigemptyset(&set);
  for (const int *s = (const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, 0}; *s != 0; s++) sigaddset(&set, *s);
  int signals = sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
  if (signals < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) return perror("openshell: signals"), 1;

  /* Nobody would answer what is captured: with loopback alone all else is unreachable at once, and nothing has to be set up for it. */
  if (json_is_string(json_object_get(plan, "network"))) json_object_set_new(plan, "network", json_string("none"));
  struct wanted wanted = {.plan = plan};
  char err[512] = "";
  int procs[CGROUP_MAX], code = 1;
  if (!launch_rootless() && !cgroup_all_v2()) in.groups = groups_to_join, in.groups_arg = &wanted;
  else if (make_groups(&wanted, err, sizeof err) != 0) return fprintf(stderr, "openshell: %s (host)\n", err), 1;
  for (int i = 0; i < wanted.group.count; i++) procs[i] = wanted.group.place[i].procs;
  in.procs_fds = procs;
  in.procs_count = (size_t)wanted.group.count;

  struct launched out;
  if (launch_sandbox(plan, &in, &out, err, sizeof err) != 0) fprintf(stderr, "openshell: %s (%s)\n", err, out.code);
  if (out.init > 0) code = run(&a, plan, &out, signals);
  else write_report(&a, &out);
  launch_destroy(&out);
  if (!release_workspace(&in, a.release_fd) && code == 0) code = 1;
  json_decref(in.manifest);
  if (cgroup_remove(&wanted.group, 1000) != 0) perror("openshell: remove the control group");
  return code; /* the plan ends with the process */
}
