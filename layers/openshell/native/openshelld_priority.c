/* Who is served first when processors are short: agents wait for every answer of ours, and what they start in vain must not delay it. */
#include "openshelld_priority.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* About three times the weight of a program of the host's, no more: an agent that keeps us busy must not take the whole machine with it. */
#define NICE (-5)

void priority_raise(bool session) {
  static const char value[] = "-5";
  (void)setpriority(PRIO_PROCESS, 0, NICE);
  if (!session) return;
  /* Where sessions are scheduled as groups (sched(7), autogroup), the value above counts only within our own. */
  int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, value, strlen(value));
  close(fd);
}
