/* A layer's own files, and what is done with them. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Of the layer's folder and `rest` below it; false: too long. */
bool layer_path(char *path, size_t size, const char *sandbox, const char *rest);
/* For a snapshot: plain letters, 40 at most. */
bool layer_good_name(const char *name);
/* about.json {since (ms), registration, uid, gid, protect, bytes?}, the caller's; NULL: there is no layer. */
json_t *layer_about(const char *sandbox);
int layer_about_write(const char *sandbox, json_t *about);
/* diff | commit | discard | remove | snapshot | snapshots | restore: the answer, or {code, error}. It waits for programs and mounts for this process: only a process of its own may call it. */
json_t *layer_carry_out(const char *sandbox, const char *op, const char *name);
