/* resources.timeout: what runs longer is ended, also while openshelld is away. */
#include "init.h"
#include "shim.h"

#define END_MS 5000 /* for the kernel to take away what was killed; then the whole sandbox goes */

static bool running(void) {
  for (struct shim_exec *e = shim.execs; e; e = e->next)
    if (!e->exited) return true;
  return false;
}

void shim_timeout_started(void) {
  if (shim.timeout_ms > 0 && shim.deadline == 0) shim.deadline = shim_clock() + shim.timeout_ms;
}

/* A command may have been sent meanwhile: its time begins now. */
void shim_timeout_quiet(void) {
  shim.ending = false;
  shim.deadline = shim.timeout_ms > 0 && running() ? shim_clock() + shim.timeout_ms : 0;
}

static void tell(void) {
  if (!shim.overtime || shim.overtime_told || shim.daemon.fd < 0) return;
  shim.overtime_told = true;
  shim_tell(json_pack("{s:s,s:I}", "t", "overtime", "ms", (json_int_t)shim.timeout_ms), NULL, 0);
}

void shim_timeout_tick(void) {
  tell();
  if (shim.deadline == 0 || shim_clock() < shim.deadline) return;
  if (shim.ending || init_send_end(shim.sandbox.exec_fd) != 0) {
    shim.over = true;
    shim.why = "what ran too long could not be ended";
    return;
  }
  (void)cgroup_freeze(&shim.group, false); /* what is frozen could not die */
  shim.ending = shim.overtime = true;
  shim.overtime_told = false;
  shim.deadline = shim_clock() + END_MS;
  tell();
}

int shim_timeout_wait(int most) {
  if (shim.deadline == 0) return most;
  int64_t left = shim.deadline - shim_clock();
  int wait = left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left + 1;
  return most >= 0 && most < wait ? most : wait;
}
