/* Landlock around each service: its own files and the programs it runs, no process and no signal outside. Two workers share a uid; this keeps them apart. */
#include "openshelld_text.h"
#include "services.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Own structures: Debian 12's header stops at ABI 1. */
struct ruleset {
  uint64_t fs, net, scoped;
};
struct __attribute__((packed)) path_beneath {
  uint64_t rights;
  int32_t fd;
};
#define EXECUTE (1u << 0)
#define WRITE_FILE (1u << 1)
#define READ_FILE (1u << 2)
#define READ_DIR (1u << 3)
#define TRUNCATE (1u << 14)
#define IOCTL_DEV (1u << 15)
#define FOR_FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)
#define LOOK (READ_FILE | READ_DIR)
#define RUN (LOOK | EXECUTE)
#define ALL UINT64_MAX
#define SCOPE_ALL 3u /* abstract sockets and signals */

static uint64_t known_rights(long abi) {
  uint64_t rights = (1u << 13) - 1;
  if (abi >= 2) rights |= 1u << 13; /* refer */
  if (abi >= 3) rights |= TRUNCATE;
  if (abi >= 5) rights |= IOCTL_DEV;
  return rights;
}

/* What is not there needs no rule. */
static int allow(int ruleset, uint64_t known, const char *path, uint64_t rights) {
  struct stat st;
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT || errno == EACCES ? 0 : -1;
  int failed = fstat(fd, &st);
  struct path_beneath rule = {rights & known & (failed || S_ISDIR(st.st_mode) ? ALL : FOR_FILES), fd};
  if (!failed && rule.rights != 0) failed = (int)syscall(445, ruleset, 1, &rule, 0);
  close(fd);
  return failed;
}

static int allow_below(int ruleset, uint64_t known, const char *folder, const char *name, uint64_t rights) {
  char path[512];
  return text_format(path, sizeof path, "%s/%s", folder, name) ? allow(ruleset, known, path, rights) : -1;
}

static int allow_role(int ruleset, uint64_t known, enum role role) {
  static const char *const shown[] = {"agents", "blueprints", "anchors", "demo"};
  if (role == ROLE_LEDGER) return allow_below(ruleset, known, config.state, "ledger", ALL);
  if (role == ROLE_DEMO) return allow_below(ruleset, known, config.state, "demo", ALL);
  if (role != ROLE_GATEWAY) return 0;
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
    if (allow_below(ruleset, known, config.state, shown[i], LOOK) < 0) return -1;
  return allow(ruleset, known, config.run, ALL) < 0 ? -1 : allow_below(ruleset, known, config.state, "gateway", ALL);
}

int service_confine(enum role role) {
  static const char *const programs[] = {"/usr", "/bin", "/lib", "/lib64"}, *const facts[] = {"/etc", "/proc", "/sys", "/run/systemd/resolve"};
  static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"};
  long abi = syscall(444, NULL, 0, 1);
  if (abi < 1) return 0; /* No sandbox is made on such a kernel either; `doctor` says so. */
  struct ruleset attr = {known_rights(abi), 0, abi >= 6 ? SCOPE_ALL : 0};
  int ruleset = (int)syscall(444, &attr, abi >= 6 ? 24 : 8, 0), failed = ruleset < 0;
  for (size_t i = 0; i < 4 && !failed; i++) failed = allow(ruleset, attr.fs, programs[i], RUN) < 0 || allow(ruleset, attr.fs, facts[i], LOOK) < 0 || allow(ruleset, attr.fs, devices[i], LOOK | WRITE_FILE | IOCTL_DEV) < 0;
  if (!failed) failed = allow(ruleset, attr.fs, config.prefix, RUN) < 0 || allow(ruleset, attr.fs, config.lib, RUN) < 0 || allow(ruleset, attr.fs, config.node, RUN) < 0 || allow_role(ruleset, attr.fs, role) < 0;
  if (!failed) failed = syscall(446, ruleset, 0) < 0;
  int saved = errno;
  if (ruleset >= 0) close(ruleset);
  errno = saved;
  return failed ? -1 : 0;
}

int confine_to(const char *folder) {
  static const char *const programs[] = {"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"};
  long abi = syscall(444, NULL, 0, 1);
  if (abi < 1) return -1;
  struct ruleset attr = {known_rights(abi), 0, 0};
  int ruleset = (int)syscall(444, &attr, 8, 0), failed = ruleset < 0;
  for (size_t i = 0; i < sizeof programs / sizeof *programs && !failed; i++) failed = allow(ruleset, attr.fs, programs[i], RUN) < 0;
  if (!failed) failed = allow(ruleset, attr.fs, folder, ALL) < 0 || syscall(446, ruleset, 0) < 0;
  int saved = errno;
  if (ruleset >= 0) close(ruleset);
  errno = saved;
  return failed ? -1 : 0;
}
