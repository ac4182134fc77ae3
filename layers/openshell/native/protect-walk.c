/* Looks through a workspace, outer folders first, for what is protected. Bounded by the number of entries and the length of paths. */
#include "inside.h"
#include "protect.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define QUEUE_BYTES_MAX (256u << 20)

struct folder {
  char *path;
  bool repository_above; /* the folder that this one lies in is the workspace or has a `.git` */
  bool quiet; /* below node_modules, or names that git makes from names of branches: only git directories count */
};

struct walk {
  int root;
  const struct protect_rules *rules;
  struct found_list *list;
  struct folder *queue;
  size_t head, count, room, bytes, entries_max;
  bool open_closed;
};

/* One folder's entries, read before any is judged. */
struct entries {
  char *names; /* type byte, name, NUL; … */
  size_t used, room;
  bool git, head, objects, common, hooks;
};

int found_add(struct found_list *list, const char *path, enum found_kind kind, bool lock) {
  if (list->count == list->room) {
    struct found *more = realloc(list->all, (list->room + 64) * sizeof *more);
    if (more == NULL) return -1;
    list->all = more;
    list->room += 64;
  }
  char *copy = strdup(path);
  if (copy == NULL) return -1;
  list->all[list->count++] = (struct found){copy, kind, lock};
  return 0;
}

void found_free(struct found_list *list) {
  for (size_t i = 0; i < list->count; i++) free(list->all[i].path);
  free(list->all);
  *list = (struct found_list){0};
}

static int later(struct walk *w, const char *path, bool repository_above, bool quiet) {
  if (w->count == w->room) {
    struct folder *more = realloc(w->queue, (w->room * 2 + 256) * sizeof *more);
    if (more == NULL) return -1;
    w->queue = more;
    w->room = w->room * 2 + 256;
  }
  size_t n = strlen(path) + 1;
  char *copy = (w->bytes += n) > QUEUE_BYTES_MAX ? NULL : malloc(n);
  if (copy == NULL) return -1;
  memcpy(copy, path, n);
  w->queue[w->count++] = (struct folder){copy, repository_above, quiet};
  return 0;
}

/* A folder that its owner may not read was closed by somebody who acts as the owner. */
static int open_folder(const struct walk *w, const char *path) {
  int fd = protect_open(w->root, path, O_RDONLY | O_DIRECTORY);
  if (fd >= 0 || errno != EACCES || !w->open_closed) return fd;
  struct stat st;
  char link[40];
  int at = protect_open(w->root, path, O_PATH | O_DIRECTORY);
  if (at < 0) return -1;
  snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  if (fstat(at, &st) == 0 && chmod(link, (st.st_mode & 07777) | 0700) == 0) fd = open(link, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(at);
  return fd;
}

static unsigned char type_of(int fd, const struct dirent *entry) {
  struct stat st;
  if (entry->d_type != DT_UNKNOWN) return entry->d_type;
  if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) return DT_UNKNOWN;
  return S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : DT_REG;
}

/* False: too much, or no memory. */
static bool read_entries(struct walk *w, int fd, struct entries *e) {
  DIR *dir = fdopendir(fd);
  if (dir == NULL) {
    close(fd);
    return false;
  }
  bool good = true;
  errno = 0;
  for (struct dirent *one; good && (one = readdir(dir)) != NULL;) {
    const char *name = one->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    size_t n = strlen(name) + 2;
    good = ++w->list->entries <= w->entries_max;
    if (good && e->used + n > e->room) {
      char *more = realloc(e->names, e->room * 2 + 4096);
      good = more != NULL;
      if (good) e->names = more, e->room = e->room * 2 + 4096;
    }
    if (!good) break;
    e->names[e->used] = (char)type_of(fd, one);
    memcpy(e->names + e->used + 1, name, n - 1);
    e->used += n;
    e->git |= strcmp(name, ".git") == 0;
    e->head |= strcmp(name, "HEAD") == 0;
    e->objects |= strcmp(name, "objects") == 0;
    e->common |= strcmp(name, "commondir") == 0;
    e->hooks |= strcmp(name, "hooks") == 0;
  }
  closedir(dir);
  return good;
}

/* True: a protected name. */
static bool name_matches(const struct walk *w, const struct folder *folder, const char *folded_folder, const char *folded, bool repository, unsigned char type, bool *lock) {
  for (size_t i = 0; i < w->rules->count; i++) {
    const struct protect_name *one = &w->rules->names[i];
    bool here = one->everywhere || repository, below = one->everywhere || folder->repository_above;
    if (here && folded[0] == one->first[0] && strcmp(folded, one->first) == 0 && (one->second[0] == '\0' || type == DT_LNK)) {
      *lock = repository; /* also a link in the place of the folder: it brings a folder with any content */
      return true;
    }
    if (below && one->second[0] != '\0' && folded[0] == one->second[0] && strcmp(folded, one->second) == 0 && strcmp(folded_folder, one->first) == 0) {
      *lock = folder->repository_above;
      return true;
    }
  }
  return false;
}

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* The entries of a hooks folder that git would run. */
static int find_hooks(struct walk *w, const char *path) {
  struct entries e = {0};
  int fd = open_folder(w, path), r = 0;
  if (fd < 0) return found_add(w->list, path, FOUND_NAME, true);
  if (found_add(w->list, path, FOUND_HOOKS, true) != 0) return -1;
  if (!read_entries(w, fd, &e)) r = -1;
  for (size_t at = 0; r == 0 && at < e.used; at += strlen(e.names + at + 1) + 2) {
    char *each = NULL;
    if (ends_with(e.names + at + 1, ".sample") && e.names[at] == DT_REG) continue;
    if (asprintf(&each, "%s/%s", path, e.names + at + 1) < 0) return free(e.names), -1;
    r = found_add(w->list, each, FOUND_HOOK, false);
    free(each);
  }
  free(e.names);
  return r;
}

/* 1: dealt with; 0: an ordinary name; -1: no memory. */
static int in_git_directory(struct walk *w, const char *path, const char *name, unsigned char type) {
  if (strcmp(name, "hooks") == 0) return (type == DT_DIR ? find_hooks(w, path) : found_add(w->list, path, FOUND_NAME, true)) == 0 ? 1 : -1;
  if (strcmp(name, "config") == 0 || strcmp(name, "config.worktree") == 0) return found_add(w->list, path, FOUND_GIT_CONFIG, true) == 0 ? 1 : -1;
  if (strcmp(name, "commondir") == 0) return found_add(w->list, path, FOUND_COMMON_DIR, false) == 0 ? 1 : -1;
  return 0;
}

static int judge(struct walk *w, const struct folder *folder, const struct entries *e, const char *name, unsigned char type, const char *path, const char *folded_folder) {
  char folded[256];
  bool repository = folder->path[0] == '\0' || e->git, lock = false;
  /* Also one that is none yet: `git init` keeps what it finds there. */
  bool git_directory = w->rules->git && ((e->head && (e->objects || e->common)) || strcmp(folded_folder, ".git") == 0);
  if (folder->path[0] == '\0' && strcmp(name, PROTECT_QUARANTINE) == 0) {
    w->list->quarantine = true;
    return 0;
  }
  if (git_directory) {
    int done = in_git_directory(w, path, name, type);
    if (done != 0) return done > 0 ? 0 : -1;
  }
  protect_fold(name, folded);
  if (w->rules->git && strcmp(folded, ".git") == 0) {
    bool exact = strcmp(name, ".git") == 0;
    if (exact && type == DT_REG) return found_add(w->list, path, FOUND_GIT_FILE, true);
    if (!exact || type != DT_DIR) return found_add(w->list, path, FOUND_NAME, false);
  } else if (!folder->quiet && name_matches(w, folder, folded_folder, folded, repository, type, &lock)) return found_add(w->list, path, FOUND_NAME, lock);
  if (type != DT_DIR) return 0;
  if (strlen(path) > PROTECT_PATH_MAX) return found_add(w->list, path, FOUND_DEEP, false);
  bool quiet = folder->quiet || strcmp(name, "node_modules") == 0 || (git_directory && (strcmp(name, "refs") == 0 || strcmp(name, "logs") == 0));
  return later(w, path, repository, quiet);
}

static int look_into(struct walk *w, const struct folder *folder) {
  char folded_folder[256], *path = malloc(strlen(folder->path) + 260);
  struct entries e = {0};
  int fd = open_folder(w, folder->path), r = 0;
  if (path == NULL || fd < 0) {
    /* What lies on another file system is not part of the workspace; what its owner cannot read, nobody in the sandbox could write. */
    bool want = path == NULL || errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO;
    free(path);
    if (fd >= 0) close(fd);
    return want ? -1 : 0;
  }
  const char *slash = strrchr(folder->path, '/');
  protect_fold(slash != NULL ? slash + 1 : folder->path, folded_folder);
  if (!read_entries(w, fd, &e)) r = -1;
  for (size_t at = 0; r == 0 && at < e.used; at += strlen(e.names + at + 1) + 2) {
    sprintf(path, "%s%s%s", folder->path, folder->path[0] != '\0' ? "/" : "", e.names + at + 1);
    r = judge(w, folder, &e, e.names + at + 1, (unsigned char)e.names[at], path, folded_folder);
  }
  if (r == 0 && w->rules->git && e.head && e.objects && !e.hooks) {
    sprintf(path, "%s%shooks", folder->path, folder->path[0] != '\0' ? "/" : "");
    r = found_add(w->list, path, FOUND_NO_HOOKS, true);
  }
  free(path);
  free(e.names);
  return r;
}

int protect_walk(int root, const struct protect_rules *rules, size_t entries_max, bool open_closed, struct found_list *list) {
  struct walk w = {.root = root, .rules = rules, .list = list, .entries_max = entries_max, .open_closed = open_closed};
  int r = later(&w, "", false, false);
  for (; r == 0 && w.head < w.count; w.head++) {
    struct folder folder = w.queue[w.head];
    r = look_into(&w, &folder);
    w.bytes -= strlen(folder.path) + 1;
    free(folder.path);
  }
  list->whole = r == 0;
  for (; w.head < w.count; w.head++) free(w.queue[w.head].path);
  free(w.queue);
  return 0;
}
