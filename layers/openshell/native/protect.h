/* Names in a workspace that programs of its owner obey by themselves: found and locked while a sandbox runs, checked when the workspace is given back. */
#ifndef NEMOCLAW_PROTECT_H
#define NEMOCLAW_PROTECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROTECT_NAMES_MAX 256
#define PROTECT_PLACEHOLDER "trusted.nemoclaw.placeholder" /* attribute of an empty thing that was made in a layer so that it can be hidden; only root can write one */
#define PROTECT_QUARANTINE ".nemoclaw-quarantine"
#define PROTECT_PATH_MAX 3600 /* of a folder that is looked into; a deeper one counts as protected itself */
/* Entries of a workspace that are looked at: when a sandbox starts (more: it does not start), and when the workspace is given back (more: the folder is closed). */
#define PROTECT_ENTRIES_START 1000000
#define PROTECT_ENTRIES_RELEASE 8000000

/* "first" or "first/second", as protect_fold makes them. */
struct protect_name {
  char first[256], second[256]; /* second "" for one segment */
  bool everywhere;
};
struct protect_rules {
  struct protect_name names[PROTECT_NAMES_MAX];
  size_t count;
  bool git;
};
/* False: malformed. */
bool protect_rules_of(json_t *json, struct protect_rules *out);
/* How a name is compared: small letters, without what some file systems ignore. `out` has 256 bytes; a longer name becomes "". */
void protect_fold(const char *name, char out[256]);

enum found_kind {
  FOUND_NAME,       /* a protected file, folder or link */
  FOUND_HOOK,       /* an entry of a git directory's hooks that git would run */
  FOUND_GIT_CONFIG, /* settings of a git directory */
  FOUND_GIT_FILE,   /* `.git` as a file that points to a git directory */
  FOUND_COMMON_DIR, /* a git directory's pointer to another one */
  FOUND_DEEP,       /* a folder too deep to be looked into */
  FOUND_HOOKS,      /* a hooks folder: locked, its entries are checked one by one */
  FOUND_NO_HOOKS,   /* a git directory without hooks: an empty one is locked */
};
struct found {
  char *path; /* relative to the workspace */
  enum found_kind kind;
  bool lock; /* mounted read-only while the sandbox runs */
};
struct found_list {
  struct found *all;
  size_t count, room, entries;
  bool whole; /* everything was looked at */
  bool quarantine; /* there is a folder of earlier quarantines */
};

/* protect-walk.c: every protected thing below `root`, outer folders first. `open_closed`: folders that the caller owns and cannot read are made readable. 0, or -1 with errno for want of memory. */
int protect_walk(int root, const struct protect_rules *rules, size_t entries_max, bool open_closed, struct found_list *list);
int found_add(struct found_list *list, const char *path, enum found_kind kind, bool lock);
void found_free(struct found_list *list);

/* protect-open.c: never through a symbolic link, never out of `root` or its file system. `path` "" is root itself. */
int protect_open(int root, const char *path, int flags);
/* The folder that holds the last name of `path`, O_PATH; `*name` is that name. */
int protect_parent(int root, const char *path, const char **name);
/* All of a regular file of at most `max` bytes, NUL-terminated, to be freed; NULL otherwise. */
char *protect_read(int root, const char *path, size_t max, size_t *length);
/* Printable ASCII without '%' stays, every other byte becomes %XX. To be freed; NULL for want of memory. */
char *protect_escape(const char *path);
char *protect_unescape(const char *text);
/* Lexically: does `to`, seen from the folder `from` (both relative to the workspace), stay inside it? `/workspace/…` counts as inside. */
bool protect_inside(const char *from, const char *to);

/* protect-digest.c: kind, content and executable bits of a thing, all of a folder; "" if it is not there. */
void protect_digest(int root, const char *path, char out[65]);

/* protect-git.c: true if what was found can make git run nothing and reach nowhere that it should not. */
bool git_harmless(int root, const struct found *found);
/* Where the settings at `path` say hooks are, relative to the workspace; to be freed, NULL: not said, or outside. */
char *git_hooks_of(int root, const char *path);

/*
 * protect-manifest.c, when a sandbox starts: looks for what is protected and adds to `manifest` {protect, known: {path: digest}, placeholders: [{path, folder}], quarantine}.
 * `plan`: the LaunchPlan. 0; -1 with `err`. The caller frees `list` in any case.
 */
int protect_take(int root, json_t *plan, json_t *manifest, struct found_list *list, char *err, size_t errlen);

/*
 * protect-release.c, when a workspace is given back and nobody of the sandbox lives: removes empty placeholders, moves what is new or changed at a
 * protected name to PROTECT_QUARANTINE/<label>, which nobody may enter without changing its mode. Runs as the owner.
 * `shared`: another sandbox uses the folder, so placeholders stay. Returns {checked, entries, quarantine, found: [{path, why, moved}], more, problem}.
 */
json_t *protect_release(int root, json_t *manifest, const char *label, bool shared);

/* The same without moving anything: [{path, why}], all of them; NULL if not everything could be looked at. */
json_t *protect_look(int root, json_t *manifest);

/* protect-owner.c: adds {init: {pid, began}}. 0, or -1: it has ended already, or is not to be seen. */
int protect_note_init(json_t *manifest, pid_t init);

/*
 * protect-owner.c: protect_release in a process of its own that has become uid and gid for good, after the manifest's init and the last process of `agent` (-1: nobody) are gone.
 * `root` -1: opened by the manifest's "path", if it is still the folder with its "ino"; else it could not be opened.
 * `instance` names the control groups, see cgroup.h. With `again` in the answer nothing was done and another try makes sense.
 * The answer (JSON text, then end of file) comes on the descriptor returned; -1 with errno. Kill and reap *child when done.
 */
int protect_start(int root, json_t *manifest, const char *label, bool shared, uid_t uid, gid_t gid, uid_t agent, const char *instance, pid_t *child);
/* Reads to the end and reaps; NULL: it died or said nothing. For callers who can wait. */
json_t *protect_finish(int fd, pid_t child);

#endif
