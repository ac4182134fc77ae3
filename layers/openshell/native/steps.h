/* What the builders of the view share while the root is under construction. */
#ifndef NEMOCLAW_STEPS_H
#define NEMOCLAW_STEPS_H

#include "inside.h"

#define BASE "/tmp" /* covered by the new root while it is built; sources were opened before */
#define MASK_DIR ".mask-dir"
#define MASK_FILE ".mask-file"
#define HOST_ENTRIES_MAX 64

struct build {
  const struct plan *plan;
  const struct launch_in *in;
  int workspace; /* detached mount, or -1 */
  int layer; /* the same, of a layer that is kept */
  int root; /* O_PATH of the new root, which is the working directory too */
  int pts_fd, proc_fd;
  struct launch_twins *twins;
  int mask_dir, mask_file; /* the first mask of its kind that was mounted, or -1 */
  int parent; /* the last parent folder that was opened, or -1 */
  char parent_path[4096];
  char host_names[HOST_ENTRIES_MAX][64]; /* view switched off: top-level names of the host, and their trees */
  int host_trees[HOST_ENTRIES_MAX];
  size_t host_count;
};

void forget_parent(struct build *b);
int view_step(struct build *b, const struct step *s, int source, struct fault *f); /* `source`: of a bind or concat, else -1 */
int view_placeholder(struct build *b, const struct step *s);                      /* 0 or -1 with errno */
int protect_lock(struct build *b, const char *workspace, struct fault *f);        /* protect-mounts.c: after all steps; `workspace` without the leading slash */
int mount_overlay(struct build *b, const struct step *s, struct fault *f);        /* mounts-overlay.c */
int attach(int tree, int target, struct fault *f, const char *what);
int open_inside(int root, const char *path, int flags);
int mount_devices(struct build *b, const struct step *s, struct fault *f);
int mount_proc(struct build *b, const struct step *s, struct fault *f);

/* launch-off.c: the view switched off, for tests. */
int view_show_host(struct build *b, struct fault *f);
int view_attach_host(struct build *b, struct fault *f);
bool view_covers(const struct build *b, const char *path);

#endif
