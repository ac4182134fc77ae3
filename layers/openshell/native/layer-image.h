/* A layer with a size: an ext4 file system in a sparse file of the layer's folder. The kernel keeps the bound; nothing but the kernel writes to the file. */
#ifndef NEMOCLAW_LAYER_IMAGE_H
#define NEMOCLAW_LAYER_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define IMAGE "layer.img"
#define IMAGE_NEW "layer.new" /* until everything that belongs into it is there */
#define IMAGE_BYTES_MIN (4ULL << 20)

/*
 * All of them: `folder` is a readable folder of root's, `name` a file in it. -1 with the reason in `err`. They wait for each other (flock of `folder`), so that
 * no image is ever attached twice; and for mkfs, so that only a process of its own may call them.
 */
/* An empty file system of so many bytes, of which it takes a few hundredths for itself; replaces what has the name. 0. */
int layer_image_make(int folder, const char *name, uint64_t bytes, char *err, size_t errlen);
/*
 * Its root as a detached mount (fsmount(2)), nosuid and nodev. The loop device is the kernel's to free with the last mount of it (LO_FLAGS_AUTOCLEAR, loop(4)),
 * so that whoever is killed leaves none behind. Where it is mounted already, by whomever, this is one more mount of the same file system.
 */
int layer_image_mount(int folder, const char *name, char *err, size_t errlen);
/* The layer's image, made or enlarged to `bytes` first: as layer_image_mount. */
int layer_image_open(int folder, uint64_t bytes, char *err, size_t errlen);

#endif
