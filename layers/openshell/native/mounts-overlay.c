/* A workspace that is written to a layer of its own: the registered folder below, read-only; the layer is the host's or ends with the sandbox. */
#include "steps.h"
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define LOWER ".lower"
#define LAYER ".layer"
/* No redirects, no copies of metadata alone, no index: then the layer says everything there is to say, in files and whiteouts. */
#define OPTIONS "lowerdir=" LOWER ",upperdir=" LAYER "/upper,workdir=" LAYER "/work,redirect_dir=off,metacopy=off,index=off,xino=off"
#define BYTES_DEFAULT (1ULL << 30)

static int cover(struct build *b, const char *name, int tree, struct fault *f) {
  if (mkdirat(b->root, name, 0700) != 0) return fault(f, "view", errno, "view: %s", name);
  int at = openat(b->root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int r = at < 0 ? fault(f, "view", errno, "view: %s", name) : attach(tree, at, f, name);
  if (at >= 0) close(at);
  return r;
}

/* It has the size that the policy says, and nothing of it is left afterwards. */
static int private_layer(const struct build *b, struct fault *f) {
  char options[64];
  snprintf(options, sizeof options, "size=%llu,mode=700", (unsigned long long)(b->plan->layer_bytes > 0 ? b->plan->layer_bytes : BYTES_DEFAULT));
  if (mkdirat(b->root, LAYER, 0700) != 0 || mount("tmpfs", LAYER, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) return fault(f, "view", errno, "view: the private layer");
  return 0;
}

/* Where nothing is in the layer, its top must look like the folder's. */
static int prepare(const struct build *b, struct fault *f) {
  struct stat st;
  if (fstatat(b->root, LOWER, &st, 0) != 0) return fault(f, "view", errno, "view: stat the workspace");
  if (mkdirat(b->root, LAYER "/work", 0700) != 0 && errno != EEXIST) return fault(f, "view", errno, "view: the layer's work folder");
  if (mkdirat(b->root, LAYER "/upper", 0700) != 0) return errno == EEXIST ? 0 : fault(f, "view", errno, "view: the layer");
  if (fchownat(b->root, LAYER "/upper", b->in->agent_uid, b->in->agent_gid, AT_SYMLINK_NOFOLLOW) != 0 || fchmodat(b->root, LAYER "/upper", st.st_mode & 0777, 0) != 0) return fault(f, "view", errno, "view: owner of the layer");
  return 0;
}

int mount_overlay(struct build *b, const struct step *s, struct fault *f) {
  struct mount_attributes locked = {.set = ATTR_RDONLY}, attr = {.set = (s->yes ? ATTR_RDONLY : 0) | (s->exec ? 0 : ATTR_NOEXEC)};
  if (cover(b, LOWER, b->workspace, f) != 0) return -1;
  if (sys_mount_setattr(b->workspace, "", AT_EMPTY_PATH, &locked) != 0) return fault(f, "view", errno, "view: the workspace below");
  if (b->layer >= 0 ? cover(b, LAYER, b->layer, f) != 0 : private_layer(b, f) != 0) return -1;
  if (prepare(b, f) != 0) return -1;
  if (mount("overlay", s->path, "overlay", MS_NOSUID | MS_NODEV, b->in->rootless ? OPTIONS ",userxattr" : OPTIONS) != 0) return fault(f, "host", errno, "view: this host cannot lay one folder over another");
  if (attr.set != 0 && sys_mount_setattr(b->root, s->path, 0, &attr) != 0) return fault(f, "view", errno, "view: attributes of /%s", s->path);
  /* The overlay keeps mounts of its own; neither part may be seen beside it. */
  if (umount2(LOWER, MNT_DETACH) != 0 || umount2(LAYER, MNT_DETACH) != 0 || unlinkat(b->root, LOWER, AT_REMOVEDIR) != 0 || unlinkat(b->root, LAYER, AT_REMOVEDIR) != 0) return fault(f, "view", errno, "view: hide the layers");
  return 0;
}
