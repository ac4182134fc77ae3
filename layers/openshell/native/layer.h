/* The layer of an overlay workspace that is kept: what is in it, and how it gets into the folder. Nobody writes to it meanwhile but to look at it. */
#ifndef NEMOCLAW_LAYER_H
#define NEMOCLAW_LAYER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LAYER_CHANGES_MAX 500000
#define LAYER_NAMED_MAX 1000 /* in an answer; the others are counted */

enum change_kind { CHANGE_ADDED, CHANGE_CHANGED, CHANGE_DELETED };
struct change {
  char *path; /* relative to the workspace */
  enum change_kind kind;
  mode_t mode; /* of the layer's; of the folder's where it was deleted */
};
struct changes {
  struct change *all;
  size_t count, room;
  bool whole;
};

/* layer-diff.c: folders before what is in them, a deletion before what takes its place. `upper` and `lower` are readable folders. */
void layer_collect(int upper, int lower, struct changes *out);
void layer_free(struct changes *changes);
/* {changes: [{path, change: added | changed | deleted, type: file | folder | link | other}], more, checked} */
json_t *layer_diff(int upper, int lower);

/*
 * layer-commit.c: carries what is in the layer out in the folder as its owner, each file at once, and takes it out of the layer. What the owner changed since
 * `since` (ms) stays as it is and in the layer (conflict), what is protected too (protected), and what is neither file, folder nor link (refused).
 * `protect`: the plan's. {committed, left: [{path, why: conflict | protected | refused | failed}], more, checked}
 */
json_t *layer_commit(int upper, int lower, uid_t uid, gid_t gid, long long since, json_t *protect);

/* layer-bytes.c: all of a file of `size` bytes into an empty one; whether two of `size` bytes have the same. False also where they cannot be read or written. */
bool layer_copy_bytes(int in, int out, off_t size);
bool layer_same_bytes(int x, int y, off_t size);

#endif
