/* For the tests of tier A: puts rules in force for one control group, runs a command in it, prints what the kernel says. Usage: test-lsm INSTANCE CGROUP RULES.json allow|deny|never|keep|by-name|first COMMAND…; by-name: no to what has `keep` in its path, yes to the rest, and of that nothing is printed; first: yes to the first question of each process */
#include "lsm_kernel.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *answer;

static uint64_t boottime(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int asked(void *arg, void *data, size_t size) {
  const struct lsm_ask *ask = data;
  (void)arg;
  if (size < sizeof *ask) return 0;
  char *from = lsm_path_text(&ask->event.path), *to = ask->to.count ? lsm_path_text(&ask->to) : NULL;
  bool by_name = strcmp(answer, "by-name") == 0, allow = by_name ? !(from && strstr(from, "keep")) && !(to && strstr(to, "keep")) : strcmp(answer, "allow") == 0;
  static uint32_t asker;
  if (strcmp(answer, "first") == 0) {
    allow = ask->event.tgid != asker;
    asker = ask->event.tgid;
  }
  if (!by_name) printf("asked %s %s%s%s rule %u\n", lsm_op_name(ask->event.key.op), from, to ? " -> " : "", to ? to : "", ask->event.rule);
  fflush(stdout);
  free(from);
  free(to);
  if (strcmp(answer, "never") == 0) return 0;
  /* The one call that is allowed may have to wait for another question, on a machine that is slow. */
  uint64_t seconds = strcmp(answer, "first") == 0 ? 600 : 5;
  struct lsm_grant grant = {.expires = boottime() + seconds * 1000000000u, .allow = allow};
  bpf_map_update_elem(lsm_map(LSM_GRANT_MAP), &ask->event.key, &grant, BPF_ANY);
  kill((pid_t)ask->event.tgid, SIGCONT);
  return 0;
}

static int denied(void *arg, void *data, size_t size) {
  const struct lsm_event *event = data;
  (void)arg;
  if (size < sizeof *event) return 0;
  char *path = lsm_path_text(&event->path);
  printf("denied %s %s reason %u number %u\n", lsm_op_name(event->key.op), path, event->reason, event->number);
  free(path);
  return 0;
}

int main(int argc, char **argv) {
  char err[500] = "";
  json_error_t bad;
  struct stat st;
  int status = 0, ready[2];
  if (argc < 6) return fprintf(stderr, "usage: test-lsm INSTANCE CGROUP RULES.json allow|deny|never|keep|by-name|first COMMAND...\n"), 2;
  answer = argv[4];
  if (lsm_open(argv[1], err, sizeof err) < 0) return fprintf(stderr, "no tier A: %s\n", err), 3;
  json_t *lsm = json_load_file(argv[3], 0, &bad);
  if (!lsm) return fprintf(stderr, "%s\n", bad.text), 2;
  (void)mkdir(argv[2], 0755);
  if (stat("/proc/self/ns/net", &st) < 0) return 2;
  struct lsm_target target = {.id = 200001, .cgroup = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC), .root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), .netns = (uint32_t)st.st_ino};
  struct lsm_armed *armed = lsm_arm(&target, lsm, err, sizeof err);
  if (!armed) return fprintf(stderr, "%s\n", err), 4;
  struct ring_buffer *ring = ring_buffer__new(lsm_map(LSM_ASK_RING), asked, NULL, NULL);
  if (!ring || ring_buffer__add(ring, lsm_map(LSM_DENIAL_RING), denied, NULL) < 0 || pipe(ready) < 0) return 5;
  pid_t child = fork();
  if (child == 0) {
    char path[300], byte;
    snprintf(path, sizeof path, "%s/cgroup.procs", argv[2]);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (read(ready[0], &byte, 1) != 1 || write(fd, "0", 1) != 1) _exit(125);
    execvp(argv[5], argv + 5);
    perror("exec");
    _exit(126);
  }
  if (write(ready[1], "x", 1) != 1) return 5;
  while (waitpid(child, &status, WNOHANG) == 0) ring_buffer__poll(ring, 20);
  ring_buffer__consume(ring);
  printf("counts denied %llu asked %llu granted %llu dropped %llu full %llu\n", (unsigned long long)lsm_count(LSM_COUNT_DENIED), (unsigned long long)lsm_count(LSM_COUNT_ASKED), (unsigned long long)lsm_count(LSM_COUNT_GRANTED),
         (unsigned long long)lsm_count(LSM_COUNT_DROPPED), (unsigned long long)lsm_count(LSM_COUNT_FULL));
  if (strcmp(answer, "keep") == 0) return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  lsm_disarm(armed);
  (void)rmdir(argv[2]);
  lsm_close(true);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
