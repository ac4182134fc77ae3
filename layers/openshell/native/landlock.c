/* Landlock at the highest ABI of the kernel: the plan's rules, and nothing else of the file system. */
#include "inside.h"
#include <sys/prctl.h>
#include <sys/stat.h>

/* Own structures: Debian 12's header stops at ABI 1. */
struct ruleset {
  uint64_t fs, net, scoped;
};
struct __attribute__((packed)) path_beneath {
  uint64_t rights;
  int32_t fd;
};
enum { RULE_PATH_BENEATH = 1 };
#define FS_EXECUTE (1u << 0)
#define FS_WRITE_FILE (1u << 1)
#define FS_READ_FILE (1u << 2)
#define FS_TRUNCATE (1u << 14)
#define FS_IOCTL_DEV (1u << 15)
#define FILE_RIGHTS (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define NET_TCP 3u /* bind and connect */
#define SCOPE_ALL 3u /* abstract sockets and signals */

int landlock_abi(void) {
  long abi = syscall(444, NULL, 0, 1);
  return abi < 0 ? 0 : (int)abi;
}

static uint64_t known_rights(int abi) {
  uint64_t rights = (1u << 13) - 1;
  if (abi >= 2) rights |= 1u << 13; /* refer */
  if (abi >= 3) rights |= FS_TRUNCATE;
  if (abi >= 5) rights |= FS_IOCTL_DEV;
  return rights;
}

static int add_rule(int ruleset, const struct landlock_rule *rule, uint64_t known, struct fault *f) {
  int fd = open(rule->path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT ? 0 : fault(f, "confine", errno, "landlock: open %s", rule->path);
  struct stat st;
  if (fstat(fd, &st) != 0) {
    int e = errno;
    close(fd);
    return fault(f, "confine", e, "landlock: stat %s", rule->path);
  }
  struct path_beneath beneath = {rule->rights & known & (S_ISDIR(st.st_mode) ? UINT64_MAX : FILE_RIGHTS), fd};
  int failed = beneath.rights != 0 && syscall(445, ruleset, RULE_PATH_BENEATH, &beneath, 0) != 0 ? errno : 0;
  close(fd);
  return failed ? fault(f, "confine", failed, "landlock: rule %s", rule->path) : 0;
}

int landlock_enforce(const struct plan *plan, struct fault *f) {
  int abi = landlock_abi();
  if (abi < 1) return fault(f, "host", 0, "landlock: this kernel has none");
  struct ruleset attr = {known_rights(abi), plan->landlock_tcp && abi >= 4 ? NET_TCP : 0, abi >= 6 ? SCOPE_ALL : 0};
  int ruleset = (int)syscall(444, &attr, abi >= 6 ? 24 : abi >= 4 ? 16 : 8, 0);
  if (ruleset < 0) return fault(f, "confine", errno, "landlock: create ruleset");
  for (size_t i = 0; i < plan->rule_count; i++) {
    if (add_rule(ruleset, &plan->rules[i], attr.fs, f) != 0) {
      close(ruleset);
      return -1;
    }
  }
  int failed = syscall(446, ruleset, 0) != 0 ? errno : 0;
  close(ruleset);
  return failed ? fault(f, "confine", failed, "landlock: restrict") : 0;
}
