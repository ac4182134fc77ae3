/* Tier A for the sandboxes: found out by trying, put in force before the agent's first instruction, taken away after its last. */
#include "openshelld_lsm.h"
#include "cgroup.h"
#include "launch.h"
#include "lsm_holds.h"
#include "lsm_kernel.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char why[400];

void tier_open(void) {
  if (launch_rootless()) {
    text_format(why, sizeof why, "eBPF needs root");
    return;
  }
  /* Alone, every sandbox ends with us: nothing is pinned that could be left. */
  bool there = lsm_open(config.alone ? NULL : config.instance, why, sizeof why) == 0;
  if (there && lsm_holds_open() < 0) {
    text_format(why, sizeof why, "its questions cannot be heard: %s", strerror(errno));
    lsm_close(true);
    there = false;
  }
  if (there) why[0] = 0;
  else log_line("no tier A: %s", why);
}

const char *tier_name(void) { return lsm_active() ? "A" : launch_rootless() ? "C" : "B"; }
const char *tier_why(void) { return why; }
void tier_close(bool remove) { lsm_close(remove); }

/* The init must be in the group that gets the policy, and in nothing else. */
static bool is_member(pid_t init, const char *group) {
  char path[64], text[512], *line;
  text_format(path, sizeof path, "/proc/%d/cgroup", init);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return false;
  text[n] = 0;
  for (line = strtok(text, "\n"); line && strncmp(line, "0::", 3) != 0; line = strtok(NULL, "\n")) continue;
  if (!line) return false;
  size_t have = strlen(group), want = strlen(line + 3);
  return want > 1 && have >= want && strcmp(group + have - want, line + 3) == 0;
}

static void keep(int fd, void *arg) {
  struct sandbox *s = arg;
  /* The shim outlives us, and with it the number of the object stays the object's. */
  shim_say(s, json_pack("{s:s}", "t", "keep"), &fd, 1);
}

int lsm_begin(struct sandbox *s, json_t *lsm, char *err, size_t size) {
  struct cgroup group;
  struct stat net;
  char path[64];
  if (!json_is_object(lsm)) return 0;
  if (!lsm_active()) {
    text_format(err, size, "the plan is for tier A, which this host has not: %s", why);
    return -1;
  }
  text_format(path, sizeof path, "/proc/%d/ns/net", s->init);
  if (stat(path, &net) < 0) {
    text_format(err, size, "%s: %s", path, strerror(errno));
    return -1;
  }
  int dir = -1;
  (void)cgroup_open(&group, config.instance, s->id);
  for (int i = 0; i < group.count && dir < 0; i++)
    if (group.place[i].v2 && is_member(s->init, group.place[i].path)) dir = open(group.place[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  cgroup_close(&group);
  if (dir < 0) {
    text_format(err, size, "the sandbox is in no v2 control group of its own");
    return -1;
  }
  struct lsm_target target = {.id = s->uid, .cgroup = dir, .root = s->view.root, .netns = (uint32_t)net.st_ino, .keep = keep, .arg = s};
  struct lsm_armed *armed = lsm_arm(&target, lsm, err, size);
  close(dir);
  if (!armed) return -1;
  lsm_forget(s->armed);
  s->armed = armed;
  json_incref(lsm);
  json_decref(s->lsm);
  s->lsm = lsm;
  return 0;
}

int lsm_change(struct sandbox *s, json_t *lsm, char *err, size_t size) {
  if (!s->armed || !json_is_object(lsm)) {
    text_format(err, size, s->armed ? "a sandbox of tier A needs its rules" : "this sandbox has no rules in the kernel");
    return s->armed || json_is_object(lsm) ? -1 : 0;
  }
  /* The shim first: should we die in the middle, the next openshelld puts the new rules in force, not the former ones. */
  shim_say(s, json_pack("{s:s,s:O,s:O}", "t", "rules", "escalate", s->escalate, "lsm", lsm), NULL, 0);
  if (lsm_begin(s, lsm, err, size) == 0) return 0;
  shim_say(s, json_pack("{s:s,s:O,s:O}", "t", "rules", "escalate", s->escalate, "lsm", s->lsm), NULL, 0);
  return -1;
}

void lsm_end(struct sandbox *s) {
  lsm_holds_drop(s);
  lsm_disarm(s->armed);
  s->armed = NULL;
  json_decref(s->lsm);
  s->lsm = NULL;
}
