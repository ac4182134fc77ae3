/* Installs the plan's seccomp program and takes its listener. */
#include "inside.h"
#include <linux/seccomp.h>

#define NEW_LISTENER (1u << 3)
#define WAIT_KILLABLE (1u << 5)

int seccomp_enforce(const struct plan *plan, int *notify_fd, struct fault *f) {
  struct sock_fprog program = {(unsigned short)plan->filter_length, (struct sock_filter *)plan->filter};
  long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, NEW_LISTENER | WAIT_KILLABLE, &program);
  if (fd < 0 && errno == EINVAL) fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, NEW_LISTENER, &program); /* before Linux 5.19 */
  if (fd < 0) return fault(f, "confine", errno, "seccomp: install");
  *notify_fd = (int)fd;
  return 0;
}
