/* What lies at a name in a sandbox's view, looked at a moment after a call was refused there. */
#pragma once
#include "seen_hidden.h"
#include "seen_watch.h"

/* The name from the sandbox's root, without dots; `path` as the agent gave it. False: nobody knows where it begins. */
bool place_name(const struct seen_event *event, const char *path, char out[HIDDEN_PATH]);

/* PLACE_OPEN: neither a mask nor a mode refuses, as far as they can be seen. */
enum seen_place { PLACE_UNKNOWN, PLACE_OPEN, PLACE_MODE, PLACE_MASK };
/*
 * What on the way to `name` keeps the sandbox's uid from `wanted` (SEEN_READ …, 0: only to come there); `entry`: from making or removing that name.
 * PLACE_MASK puts the mask's own name into `name`, whatever link led there.
 */
enum seen_place place_refuses(const struct seen_watch *watch, char name[HIDDEN_PATH], unsigned wanted, bool entry);
/* Something is mounted exactly there: it can be neither moved nor removed (EBUSY). */
bool place_is_mount(const struct seen_watch *watch, const char *name);
/* The program lies in a mount that starts nothing: the kernel looks at that first (do_open_execat, may_open in fs/namei.c). */
bool place_starts_nothing(const struct seen_watch *watch, const char *name);
