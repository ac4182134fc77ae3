/* openshelld's own limit of open files. */
#include "openshelld_descriptors.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define WANTED 131072 /* 512 sandboxes with all that is kept to be quicker */

void descriptors_open(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  if (files.rlim_max < WANTED && setrlimit(RLIMIT_NOFILE, &(struct rlimit){WANTED, WANTED}) == 0) return;
  files.rlim_cur = files.rlim_max; /* a container may not let even root have more */
  (void)setrlimit(RLIMIT_NOFILE, &files);
}

int descriptors_most(void) {
  struct rlimit files;
  return getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 1 << 30 ? (int)files.rlim_cur : 1 << 30;
}

static int open_now(void) {
  struct stat st;
  int count = 0;
  /* Linux 6.2 says it here; before, it has to be counted. */
  if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) return (int)st.st_size;
  DIR *dir = opendir("/proc/self/fd");
  while (dir && readdir(dir)) count++;
  if (dir) closedir(dir);
  return count;
}

bool descriptors_suffice(int *used) {
  *used = open_now();
  return *used + DESCRIPTORS_A_SANDBOX + DESCRIPTORS_SET_ASIDE <= descriptors_most();
}
