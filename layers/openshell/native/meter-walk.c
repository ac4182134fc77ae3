/* Counts a tree on disk. */
#include "inside.h"
#include "meter.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 900 /* one descriptor a level */
#define NAMES_MAX (128u << 20)
#define LINKS_MAX (4u << 20)
#define RULE_NO_XDEV 0x01

struct walk {
  struct meter_count *count;
  struct meter_links *links;
  char *names; /* of folders that are still to be looked into, one after the other */
  size_t used, room;
  bool own;
};

static size_t slot_of(const struct meter_links *links, uint64_t inode) {
  size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u >> 20) & (links->room - 1);
  while (links->all[at] != 0 && links->all[at] != inode) at = (at + 1) & (links->room - 1);
  return at;
}

static bool grow(struct meter_links *links) {
  struct meter_links larger = {.room = links->room > 0 ? links->room * 2 : 1024};
  larger.all = larger.room <= LINKS_MAX ? calloc(larger.room, sizeof *larger.all) : NULL;
  if (larger.all == NULL) return false;
  for (size_t i = 0; i < links->room; i++)
    if (links->all[i] != 0) larger.all[slot_of(&larger, links->all[i])] = links->all[i];
  larger.used = links->used;
  free(links->all);
  *links = larger;
  return true;
}

bool meter_first(struct meter_links *links, uint64_t inode) {
  if (links->used * 2 >= links->room && !grow(links)) return true;
  size_t at = slot_of(links, inode);
  if (links->all[at] == inode) return false;
  links->all[at] = inode;
  links->used++;
  return true;
}

void meter_links_free(struct meter_links *links) {
  free(links->all);
  *links = (struct meter_links){0};
}

static bool keep_name(struct walk *w, const char *name) {
  size_t length = strlen(name) + 1;
  if (w->used + length > w->room) {
    size_t room = w->room * 2 + 4096;
    char *more = room <= NAMES_MAX ? realloc(w->names, room) : NULL;
    if (more == NULL) return false;
    w->names = more;
    w->room = room;
  }
  memcpy(w->names + w->used, name, length);
  w->used += length;
  return true;
}

static void give_up(struct walk *w, const char *why) {
  if (w->count->why == NULL) w->count->why = why;
}

/* Everything in one folder, and the names of the folders in it. */
static void read_folder(struct walk *w, int fd) {
  int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  DIR *dir = again >= 0 ? fdopendir(again) : NULL;
  if (dir == NULL) {
    if (again >= 0) close(again);
    give_up(w, "a folder could not be read");
    return;
  }
  struct stat st;
  errno = 0;
  for (struct dirent *one; (one = readdir(dir)) != NULL; errno = 0) {
    if (strcmp(one->d_name, ".") == 0 || strcmp(one->d_name, "..") == 0) continue;
    if (fstatat(fd, one->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0) {
      if (errno != ENOENT) give_up(w, "a file could not be looked at"); /* else it is gone meanwhile */
      continue;
    }
    w->count->bytes += METER_ENTRY_BYTES;
    if (S_ISDIR(st.st_mode)) {
      if (!keep_name(w, one->d_name)) give_up(w, "there are too many folders");
    } else if (st.st_nlink < 2 || meter_first(w->links, st.st_ino)) w->count->bytes += (int64_t)st.st_blocks * 512;
  }
  if (errno != 0) give_up(w, "a folder could not be read");
  closedir(dir);
}

/* Closes `fd`. */
static void look(struct walk *w, int fd, int depth) {
  struct stat st;
  if (fstat(fd, &st) == 0) w->count->bytes += (int64_t)st.st_blocks * 512;
  size_t mine = w->used;
  read_folder(w, fd);
  for (size_t at = mine, end = w->used; at < end; at += strlen(w->names + at) + 1) {
    struct open_rules how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RULE_NO_XDEV | RULE_NO_SYMLINKS | RULE_BENEATH};
    int below = depth < DEPTH_MAX ? sys_openat2(fd, w->names + at, &how) : -1;
    if (below >= 0) look(w, below, depth + 1);
    else if (depth >= DEPTH_MAX) give_up(w, "folders lie too deep in each other");
    else if (errno == EACCES && w->own && fstatat(fd, w->names + at, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid != geteuid()) continue;
    else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) give_up(w, errno == EXDEV ? "another file system is mounted in it" : "a folder could not be opened");
  }
  w->used = mine;
  close(fd);
}

void meter_walk(int root, bool own, struct meter_links *links, struct meter_count *count) {
  struct walk w = {.count = count, .links = links, .own = own};
  int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) look(&w, fd, 0);
  else give_up(&w, "the folder could not be opened");
  free(w.names);
}
