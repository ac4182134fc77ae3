/* Parts of a view that are locked inside the sandbox: which one a name is in, and the same name where openshelld can work. */
#include "openshelld_text.h"
#include "perform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool locks_take(struct view *view, json_t *locks, const int *twins, int count) {
  size_t n = json_array_size(locks), i;
  json_t *one;
  int next = 0;
  view->whole = -1;
  view->lock_count = 0;
  view->locks = n > 0 ? calloc(n, sizeof *view->locks) : NULL;
  bool good = n <= LOCKS_MAX && (n == 0 || view->locks);
  json_array_foreach(locks, i, one) {
    if (!good) break;
    struct lock *lock = &view->locks[i];
    const char *path = json_string_value(json_object_get(one, "path"));
    lock->hidden = json_is_true(json_object_get(one, "hidden"));
    lock->work = lock->show = -1;
    view->lock_count++;
    if (lock->hidden && view->whole < 0 && next < count) view->whole = twins[next++];
    if (next < count) lock->work = twins[next++];
    if (lock->hidden && next < count) lock->show = twins[next++];
    good = path && text_format(lock->path, sizeof lock->path, "%s", path) && lock->work >= 0 && (!lock->hidden || lock->show >= 0);
  }
  good &= next == count;
  while (next < count) close(twins[next++]);
  return good;
}

static bool copy(int *fd) {
  if (*fd < 0) return true;
  *fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
  return *fd >= 0;
}

bool view_copy(struct view *out, const struct view *in) {
  bool good;
  *out = *in;
  out->locks = in->lock_count > 0 ? calloc((size_t)in->lock_count, sizeof *in->locks) : NULL;
  out->lock_count = out->locks ? in->lock_count : 0;
  good = copy(&out->root);
  good &= copy(&out->whole);
  for (int i = 0; i < out->lock_count; i++) {
    out->locks[i] = in->locks[i];
    good &= copy(&out->locks[i].work);
    good &= copy(&out->locks[i].show);
  }
  if (good && out->lock_count == in->lock_count) return true;
  view_close(out);
  return false;
}

void view_close(struct view *view) {
  if (view->root >= 0) close(view->root);
  if (view->whole >= 0) close(view->whole);
  for (int i = 0; i < view->lock_count; i++) {
    if (view->locks[i].work >= 0) close(view->locks[i].work);
    if (view->locks[i].show >= 0) close(view->locks[i].show);
  }
  free(view->locks);
  view->locks = NULL;
  view->lock_count = 0;
  view->root = view->whole = -1;
}

static bool below(const char *path, const char *base) {
  size_t n = strlen(base);
  return strncmp(path, base, n) == 0 && (path[n] == 0 || path[n] == '/');
}

/* By the place's own path, which has no link in it: locked folders and all above them are mount points, so that nobody inside moves them. */
void place_find_lock(struct place *place, const struct view *view) {
  place->lock = -1;
  for (int i = 0; i < view->lock_count; i++)
    if (below(place->path, view->locks[i].path)) place->lock = i;
}

int place_unlock(struct place *place, const struct view *view, bool reading) {
  const struct lock *lock = &view->locks[place->lock];
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  size_t length = strlen(lock->path);
  int mount = reading && lock->show >= 0 ? lock->show : lock->work;
  char folder[PATH_BYTES + 260];
  struct folder_id id;
  become_agent(view);
  if (place->path[length] == 0) {
    /* The locked thing itself; its name is in a folder that is not locked. */
    struct statx found;
    if (statx(mount, "", AT_EMPTY_PATH, STATX_INO | STATX_TYPE, &found) < 0) return errno;
    if (makedev(found.stx_dev_major, found.stx_dev_minor) != place->dev || found.stx_ino != place->ino) return ESTALE;
    operation_let_go(place);
    place->parent = fcntl(mount, F_DUPFD_CLOEXEC, 3);
    place->name[0] = 0;
    place->prefix = length;
    return place->parent < 0 ? errno : 0;
  }
  memcpy(folder, place->path + length + 1, strlen(place->path + length + 1) + 1);
  char *last = strrchr(folder, '/');
  if (last) *last = 0;
  int fd = (int)syscall(SYS_openat2, mount, last ? folder : ".", &how, sizeof how);
  if (fd < 0) return errno;
  int error = folder_id(fd, "", &id);
  if (!error && (id.dev != place->in.dev || id.ino != place->in.ino)) error = ESTALE;
  if (error) {
    close(fd);
    return error;
  }
  operation_let_go(place);
  place->parent = fd;
  place->in = id;
  place->prefix = length;
  return 0;
}

int place_object(const struct place *place) {
  struct statx found;
  char bare[258];
  size_t length = strlen(place->name);
  memcpy(bare, place->name, length + 1);
  if (length > 1 && bare[length - 1] == '/') bare[length - 1] = 0;
  int fd = bare[0] ? openat(place->parent, bare, O_PATH | O_NOFOLLOW | O_CLOEXEC) : fcntl(place->parent, F_DUPFD_CLOEXEC, 3);
  if (fd < 0) return -1;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_INO, &found) == 0 && makedev(found.stx_dev_major, found.stx_dev_minor) == place->dev && found.stx_ino == place->ino) return fd;
  close(fd);
  errno = ESTALE;
  return -1;
}
