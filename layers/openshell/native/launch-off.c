/* The view switched off, for tests that prove what the other layers stop: the host's folders appear in the sandbox's root as they are. */
#include "inside.h"
#include "steps.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Folders of its own that a sandbox cannot do without. */
static bool kept(const char *name) { return strcmp(name, "proc") == 0 || strcmp(name, "dev") == 0 || strcmp(name, "workspace") == 0; }

int view_show_host(struct build *b, struct fault *f) {
  DIR *dir = opendir("/");
  if (dir == NULL) return fault(f, "view", errno, "view: list the host");
  int r = 0;
  for (struct dirent *e; r == 0 && (e = readdir(dir)) != NULL && b->host_count < HOST_ENTRIES_MAX;) {
    char path[300];
    struct stat st;
    snprintf(path, sizeof path, "/%s", e->d_name);
    if (e->d_name[0] == '.' || kept(e->d_name) || strlen(e->d_name) >= 64 || lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) continue;
    int tree = sys_open_tree(AT_FDCWD, path, TREE_CLONE | TREE_CLOEXEC | AT_RECURSIVE);
    if (tree < 0) r = fault(f, "view", errno, "view: clone %s", path);
    snprintf(b->host_names[b->host_count], sizeof b->host_names[0], "%s", e->d_name);
    b->host_trees[b->host_count++] = tree;
  }
  closedir(dir);
  return r;
}

int view_attach_host(struct build *b, struct fault *f) {
  for (size_t i = 0; i < b->host_count; i++) {
    if (mkdirat(b->root, b->host_names[i], 0755) != 0) return fault(f, "view", errno, "view: make /%s", b->host_names[i]);
    int at = open_inside(b->root, b->host_names[i], O_PATH);
    if (at < 0) return fault(f, "view", errno, "view: open /%s", b->host_names[i]);
    int r = attach(b->host_trees[i], at, f, b->host_names[i]);
    close(at);
    close(b->host_trees[i]);
    if (r != 0) return -1;
  }
  return 0;
}

bool view_covers(const struct build *b, const char *path) {
  size_t n = strcspn(path, "/");
  for (size_t i = 0; i < b->host_count; i++) {
    if (strlen(b->host_names[i]) == n && strncmp(b->host_names[i], path, n) == 0) return true;
  }
  return false;
}
