/* Makes, enlarges and mounts images of layers, see loop(4), fsopen(2) and the kernel's filesystems/ext4. */
#include "layer-image.h"
#include "openshelld_text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOSUID_NODEV 0x6
#define BLOCK 4096
#define GROWING "layer.grows"
#define TRIES 500 /* of 20 ms: while an earlier mount of the image goes away */

#define fail(err, errlen, ...) (text_format(err, errlen, __VA_ARGS__), -1)

static void pause_a_little(void) { (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); }

/* A program of e2fsprogs on the image, which it gets as its last argument: its exit code; 127: it is not here. It keeps the lock of `folder` while it works, also when we are killed. */
static int run_on(int folder, int image, const char *const *argv, size_t count) {
  char path[40], program[60];
  const char *all[16] = {0};
  char *env[] = {NULL};
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);
    for (size_t i = 0; i < count && i < 14; i++) all[i] = argv[i];
    all[count] = path;
    text_format(path, sizeof path, "/proc/self/fd/%d", image);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || fcntl(image, F_SETFD, 0) < 0 || fcntl(folder, F_SETFD, 0) < 0) _exit(126);
    text_format(program, sizeof program, "/usr/sbin/%s", argv[0]);
    execve(program, (char *const *)all, env);
    execve(program + 4, (char *const *)all, env);
    _exit(127);
  }
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
#define RUN(folder, image, ...) run_on(folder, image, (const char *const[]){__VA_ARGS__}, sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *))

int layer_image_make(int folder, const char *name, uint64_t bytes, char *err, size_t errlen) {
  if (bytes < IMAGE_BYTES_MIN) return fail(err, errlen, "a layer with a size (resources.maxDisk) needs %llu bytes at least", IMAGE_BYTES_MIN);
  if (unlinkat(folder, name, 0) < 0 && errno != ENOENT) return fail(err, errlen, "the layer's image: %s", strerror(errno));
  int image = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), code;
  if (image < 0 || ftruncate(image, (off_t)(bytes & ~(uint64_t)(BLOCK - 1))) < 0) text_format(err, errlen, "the layer's image of %llu bytes: %s", (unsigned long long)bytes, strerror(errno));
  /* Nothing is written ahead: the file is all holes, and tables that are never used take no space. */
  else if ((code = RUN(folder, image, "mkfs.ext4", "-q", "-F", "-m", "0", "-i", "8192", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0")) != 0)
    text_format(err, errlen, code == 127 ? "a layer with a size (resources.maxDisk) needs mkfs.ext4, which is not here (Debian: e2fsprogs)" : "mkfs.ext4 could not make the layer's file system");
  else if (fsync(image) < 0) text_format(err, errlen, "the layer's image: %s", strerror(errno));
  else {
    close(image);
    return 0;
  }
  if (image >= 0) close(image);
  (void)unlinkat(folder, name, 0);
  return -1;
}

/* A loop device that has just this file, which cannot be freed while we hold it open; -1: none; -2 with errno: it cannot be said. */
static int attached(const struct stat *image, char *device, size_t size) {
  DIR *dir = opendir("/sys/block");
  int found = dir ? -1 : -2;
  for (struct dirent *one; found == -1 && (one = readdir(dir));) {
    char path[300], file[4200];
    struct loop_info64 info;
    int fd = strncmp(one->d_name, "loop", 4) == 0 && text_format(path, sizeof path, "/sys/block/%s/loop/backing_file", one->d_name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? read(fd, file, sizeof file - 1) : -1;
    if (fd >= 0) close(fd);
    if (n <= 0) continue;
    file[n] = 0;
    if (!strstr(file, "/layer.") || !text_format(device, size, "/dev/%s", one->d_name)) continue;
    fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == image->st_dev && info.lo_inode == image->st_ino) found = fd;
    else if (fd >= 0) close(fd);
    else if (errno != ENOENT && errno != ENXIO) found = -2;
  }
  int e = errno;
  if (dir) closedir(dir);
  errno = e;
  return found;
}

/* A free loop device with this file, freed with its last user. -1 with errno. */
static int attach(int image, char *device, size_t size) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;
  for (int i = 0; control >= 0 && i < TRIES; i++) {
    struct loop_config config = {.fd = (uint32_t)image, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0 || !text_format(device, size, "/dev/loop%d", number)) break;
    fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0) break;
    int e = errno;
    if (fd >= 0) close(fd);
    fd = -1;
    errno = e;
    if (e != EBUSY) break; /* else somebody else was quicker */
    pause_a_little();
  }
  int e = errno;
  if (control >= 0) close(control);
  errno = e;
  return fd;
}

static int mount_device(const char *device) {
  static const char *const flags[] = {"noinit_itable", "discard"}; /* what is deleted in it is given back to the host */
  int fs = (int)syscall(430 /* fsopen */, "ext4", 1 /* CLOEXEC */), tree = -1;
  if (fs < 0) return -1;
  bool good = syscall(431 /* fsconfig */, fs, 1 /* SET_STRING */, "source", device, 0) == 0 && syscall(431, fs, 1, "errors", "remount-ro", 0) == 0;
  for (size_t i = 0; good && i < sizeof flags / sizeof *flags; i++) good = syscall(431, fs, 0 /* SET_FLAG */, flags[i], NULL, 0) == 0;
  if (good && syscall(431, fs, 6 /* CMD_CREATE */, NULL, NULL, 0) == 0) tree = (int)syscall(432 /* fsmount */, fs, 1, NOSUID_NODEV);
  int e = errno;
  close(fs);
  errno = e;
  return tree;
}

/* While nothing has it mounted: growing a mounted one needs CAP_SYS_RESOURCE, which not every root has. 0, or -1 with the reason. */
static int grow(int folder, int image, const struct stat *st, off_t size, char *err, size_t errlen) {
  char device[280];
  int loop = attached(st, device, sizeof device);
  for (int i = 0; i < TRIES && loop >= 0; i++) {
    close(loop);
    pause_a_little();
    loop = attached(st, device, sizeof device);
  }
  if (loop >= 0) close(loop);
  if (loop != -1) return fail(err, errlen, "the layer cannot be enlarged while it is in use");
  /* Until it is done: whoever finds the mark does it again. */
  int mark = openat(folder, GROWING, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (mark < 0 || fsync(mark) < 0 || fsync(folder) < 0) return fail(err, errlen, "the layer: %s", strerror(errno));
  close(mark);
  if (ftruncate(image, size) < 0) return fail(err, errlen, "the layer's image cannot have %lld bytes: %s", (long long)size, strerror(errno));
  int checked = RUN(folder, image, "e2fsck", "-f", "-p");
  if (checked > 1 || RUN(folder, image, "resize2fs") != 0 || fsync(image) < 0 || unlinkat(folder, GROWING, 0) < 0) return fail(err, errlen, checked == 127 ? "enlarging a layer needs e2fsck and resize2fs, which are not here (Debian: e2fsprogs)" : "the layer's file system cannot be enlarged");
  return 0;
}

/* `bytes`: enlarge it to these; 0: as it is. */
static int mount_image(int folder, const char *name, uint64_t bytes, char *err, size_t errlen) {
  struct stat st;
  char device[280];
  off_t size = (off_t)(bytes & ~(uint64_t)(BLOCK - 1));
  int image = openat(folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC), loop = -1, tree = -1;
  if (image < 0 || fstat(image, &st) < 0) text_format(err, errlen, "the layer's image: %s", strerror(errno));
  else if ((size > st.st_size || faccessat(folder, GROWING, F_OK, AT_SYMLINK_NOFOLLOW) == 0) && grow(folder, image, &st, size > st.st_size ? size : st.st_size, err, errlen) < 0) loop = -1;
  else if ((loop = attached(&st, device, sizeof device)) == -2 || (loop < 0 && (loop = attach(image, device, sizeof device)) < 0))
    text_format(err, errlen, "a layer with a size (resources.maxDisk) needs a loop device, and this host gives none: %s", strerror(errno));
  else {
    for (int i = 0; i < TRIES && (tree = mount_device(device)) < 0 && errno == EBUSY; i++) pause_a_little();
    if (tree < 0) text_format(err, errlen, "the layer's file system cannot be mounted: %s (`discard` drops the layer)", strerror(errno));
  }
  if (loop >= 0) close(loop);
  if (image >= 0) close(image);
  return tree;
}

static int locked(int folder, char *err, size_t errlen) {
  while (flock(folder, LOCK_EX) < 0)
    if (errno != EINTR) return fail(err, errlen, "the layer: %s", strerror(errno));
  return 0;
}

int layer_image_mount(int folder, const char *name, char *err, size_t errlen) {
  if (locked(folder, err, errlen) < 0) return -1;
  int tree = mount_image(folder, name, 0, err, errlen);
  (void)flock(folder, LOCK_UN);
  return tree;
}

int layer_image_open(int folder, uint64_t bytes, char *err, size_t errlen) {
  if (locked(folder, err, errlen) < 0) return -1;
  int tree = -1;
  bool there = faccessat(folder, IMAGE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there && layer_image_make(folder, IMAGE_NEW, bytes, err, errlen) == 0) {
    there = renameat(folder, IMAGE_NEW, folder, IMAGE) == 0;
    if (!there) text_format(err, errlen, "the layer's image: %s", strerror(errno));
  }
  if (there) tree = mount_image(folder, IMAGE, bytes, err, errlen);
  (void)flock(folder, LOCK_UN);
  return tree;
}
