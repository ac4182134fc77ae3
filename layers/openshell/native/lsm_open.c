/* Loads, attaches and pins the program of lsm.bpf.c, or takes up what is pinned (libbpf; Documentation/bpf/prog_lsm.rst). */
#include "bpf_why.h"
#include "lsm_kernel.h"
#include "lsm_program.h"
#include "openshelld_text.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPF_FOLDER "/sys/fs/bpf"

static const char *const map_names[LSM_MAPS] = {"sandboxes", "rules", "named_rules", "protected_names", "grants", "asks", "denials", "counts", "secret"};
static int maps[LSM_MAPS] = {-1, -1, -1, -1, -1, -1, -1, -1, -1};
static int resolver = -1;
static bool active;
static char instance_folder[128], folder[160];

bool lsm_active(void) { return active; }
int lsm_map(enum lsm_map map) { return maps[map]; }

static int make_folders(const char *instance) {
  struct statfs found;
  if (statfs(BPF_FOLDER, &found) < 0) return -1;
  if (found.f_type != BPF_FS_MAGIC && (mount("bpf", BPF_FOLDER, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700") < 0 || statfs(BPF_FOLDER, &found) < 0)) return -1;
  if (!text_format(instance_folder, sizeof instance_folder, BPF_FOLDER "/nemoclaw/%s", instance) || !text_format(folder, sizeof folder, "%s/lsm-%d", instance_folder, LSM_ABI)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  if ((mkdir(BPF_FOLDER "/nemoclaw", 0700) < 0 && errno != EEXIST) || (mkdir(instance_folder, 0700) < 0 && errno != EEXIST)) return -1;
  return 0;
}

static void remove_folder(const char *path) {
  DIR *dir = opendir(path);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));)
    if (entry->d_name[0] != '.') (void)unlinkat(dirfd(dir), entry->d_name, 0);
  closedir(dir);
  (void)rmdir(path);
}

static void close_maps(void) {
  for (int i = 0; i < LSM_MAPS; i++) {
    if (maps[i] >= 0) close(maps[i]);
    maps[i] = -1;
  }
  if (resolver >= 0) close(resolver);
  resolver = -1;
}

static int open_pinned(const char *name) {
  char path[256];
  return text_format(path, sizeof path, "%s/%s", folder, name) ? bpf_obj_get(path) : -1;
}

/* Whole or not at all: the file `whole` is pinned last. */
static bool take_up(void) {
  int whole = open_pinned("whole");
  if (whole < 0) return false;
  close(whole);
  bool good = (resolver = open_pinned("resolve")) >= 0;
  for (int i = 0; i < LSM_MAPS && good; i++) good = (maps[i] = open_pinned(map_names[i])) >= 0;
  if (!good) close_maps();
  return good;
}

/* How many arguments a hook has on this kernel; -1: there is no such hook. */
static int hook_arguments(const struct btf *btf, const char *hook) {
  char name[80];
  if (!text_format(name, sizeof name, "bpf_lsm_%s", hook)) return -1;
  int id = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
  const struct btf_type *function = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
  const struct btf_type *prototype = function ? btf__type_by_id(btf, function->type) : NULL;
  return prototype ? (int)btf_vlen(prototype) : -1;
}

/* Of two forms of a hook the kernel's; hooks that only newer kernels have are left out, the others are required. */
static void choose(struct bpf_object *object, const struct btf *btf) {
  static const char *const newer[] = {"inode_set_acl", "inode_remove_acl", "userns_create"};
  struct bpf_program *program;
  bpf_object__for_each_program(program, object) {
    const char *name = bpf_program__name(program), *section = bpf_program__section_name(program);
    if (strncmp(section, "lsm/", 4) != 0) continue;
    int count = hook_arguments(btf, section + 4);
    bool use = true;
    if (strcmp(name, "lsm_inode_setattr") == 0) use = count == 3;
    else if (strcmp(name, "lsm_inode_setattr_old") == 0) use = count == 2;
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
      if (strcmp(section + 4, newer[i]) == 0) use = count >= 0;
    (void)bpf_program__set_autoload(program, use);
  }
}

static int pin(struct bpf_object *object, char *why, size_t size) {
  struct bpf_program *program;
  char path[256];
  if (folder[0]) {
    remove_folder(folder);
    if (mkdir(folder, 0700) < 0) return bpf_fail(why, size, folder, errno);
  }
  for (int i = 0; i < LSM_MAPS && folder[0]; i++)
    if (!text_format(path, sizeof path, "%s/%s", folder, map_names[i]) || bpf_obj_pin(maps[i], path) < 0) return bpf_fail(why, size, map_names[i], errno);
  bpf_object__for_each_program(program, object) {
    const char *name = bpf_program__name(program);
    if (bpf_program__fd(program) < 0 || !text_format(path, sizeof path, "%s/%s", folder, name)) continue;
    if (strcmp(name, "resolve") == 0) {
      if ((resolver = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 3)) < 0 || (folder[0] && bpf_obj_pin(resolver, path) < 0)) return bpf_fail(why, size, name, errno);
      continue;
    }
    struct bpf_link *link = bpf_program__attach(program);
    if (!link) return bpf_fail(why, size, name, errno);
    if (!folder[0]) continue; /* its descriptor stays open, and closes with us */
    int error = bpf_link__pin(link, path);
    bpf_link__disconnect(link); /* stays attached by its pin */
    bpf_link__destroy(link);
    if (error) return bpf_fail(why, size, name, -error);
  }
  if (!folder[0]) return 0;
  return text_format(path, sizeof path, "%s/whole", folder) && bpf_obj_pin(maps[LSM_COUNT_MAP], path) == 0 ? 0 : bpf_fail(why, size, "whole", errno);
}

static int load(char *why, size_t size) {
  struct bpf_object_open_opts options = {.sz = sizeof options, .object_name = "nemoclaw_lsm"};
  struct btf *btf = btf__load_vmlinux_btf();
  if (!btf) return bpf_fail(why, size, "the kernel has no type information (CONFIG_DEBUG_INFO_BTF)", errno);
  struct bpf_object *object = bpf_object__open_mem(lsm_program, LSM_PROGRAM_BYTES, &options);
  int result = -1;
  if (!object) {
    bpf_fail(why, size, "the program cannot be read", errno);
  } else {
    choose(object, btf);
    int error = bpf_object__load(object);
    if (error) {
      bpf_fail(why, size, "the kernel does not take the program", -error);
    } else {
      bool good = true;
      for (int i = 0; i < LSM_MAPS && good; i++) {
        int fd = bpf_object__find_map_fd_by_name(object, map_names[i]);
        good = fd >= 0 && (maps[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3)) >= 0;
      }
      uint32_t zero = 0;
      uint64_t key;
      good = good && getrandom(&key, sizeof key, 0) == sizeof key && bpf_map_update_elem(maps[LSM_SECRET_MAP], &zero, &key, BPF_ANY) == 0;
      result = good ? pin(object, why, size) : bpf_fail(why, size, "its maps", errno);
    }
    bpf_object__close(object);
  }
  btf__free(btf);
  if (result < 0) {
    close_maps();
    if (folder[0]) remove_folder(folder);
  }
  return result;
}

/* One denied call of our own tells whether the hooks run at all: a kernel without `bpf` in its lsm= list attaches them in vain. */
static bool hooks_run(void) {
  char list[256] = "";
  int fd = open("/sys/kernel/security/lsm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    (void)mount("securityfs", "/sys/kernel/security", "securityfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    fd = open("/sys/kernel/security/lsm", O_RDONLY | O_CLOEXEC);
  }
  ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof list - 2);
  if (fd >= 0) close(fd);
  if (n <= 0) return false;
  for (char *word = strtok(list, ",\n"); word; word = strtok(NULL, ",\n"))
    if (strcmp(word, "bpf") == 0) return true;
  return false;
}

int lsm_open(const char *instance, char *why, size_t size) {
  bpf_listen();
  if (instance && make_folders(instance) < 0) return bpf_fail(why, size, BPF_FOLDER, errno);
  if (!hooks_run()) {
    snprintf(why, size, "the kernel was not started with bpf in its list of security modules (lsm=…,bpf)");
    return -1;
  }
  if (!(instance && take_up()) && load(why, size) < 0) {
    if (!instance) return -1;
    (void)rmdir(instance_folder);
    (void)rmdir(BPF_FOLDER "/nemoclaw");
    return -1;
  }
  active = true;
  return 0;
}

int lsm_identify(int fd, uint32_t *dev, uint64_t *ino) {
  struct lsm_resolve what = {.fd = (uint32_t)fd};
  struct bpf_test_run_opts run = {.sz = sizeof run, .ctx_in = &what, .ctx_size_in = sizeof what};
  if (bpf_prog_test_run_opts(resolver, &run) < 0) return errno;
  if (run.retval) return (int)run.retval;
  *dev = what.dev;
  *ino = what.ino;
  return 0;
}

void lsm_forget_others(void) {
  DIR *dir = active && folder[0] ? opendir(instance_folder) : NULL;
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));) {
    char path[400];
    if (strncmp(entry->d_name, "lsm-", 4) == 0 && text_format(path, sizeof path, "%s/%s", instance_folder, entry->d_name) && strcmp(path, folder) != 0) remove_folder(path);
  }
  closedir(dir);
}

void lsm_close(bool remove) {
  close_maps();
  if (active && remove && folder[0]) {
    lsm_forget_others();
    remove_folder(folder);
    (void)rmdir(instance_folder);
    (void)rmdir(BPF_FOLDER "/nemoclaw");
  }
  active = false;
}

uint64_t lsm_count(unsigned which) {
  uint64_t value = 0;
  uint32_t key = which;
  if (active) (void)bpf_map_lookup_elem(maps[LSM_COUNT_MAP], &key, &value);
  return value;
}
