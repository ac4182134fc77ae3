/* Which layer refused a call, told from the error and from the object as the agent sees it; repeats are counted, not repeated. */
#include "seen_refusals.h"
#include "openshelld_loop.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_calls.h"
#include "seen_hidden.h"
#include "seen_rules.h"
#include "seen_text.h"
#include "seen_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RECENT = 512, QUIET_MS = 60000, POLL_MS = 50, LOST_EVERY_MS = 1000, TEXT = 4 * SEEN_PATH };

struct recent {
  uint64_t key;
  int64_t until;
  unsigned repeats;
};

static struct recent recent[RECENT];
static struct timer timer;

/* FNV-1a: only tells repeats apart; a collision merely counts one refusal to another's line. */
static uint64_t key_of(const struct seen_event *event, const char *path) {
  uint64_t hash = event->owner;
  const uint32_t parts[] = {(uint32_t)event->nr, (uint32_t)event->error, event->verdict};
  for (size_t i = 0; i < sizeof parts; i++) hash = (hash ^ ((const unsigned char *)parts)[i]) * 1099511628211ull;
  for (const char *c = path; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
  return hash;
}

/* True if this refusal is to be told now; `*repeats` = how often it came since it was told last. */
static bool worth_telling(const struct seen_event *event, const char *path, unsigned *repeats) {
  uint64_t key = key_of(event, path);
  struct recent *entry = &recent[key % RECENT];
  int64_t now = boottime_ms();
  if (entry->key == key && now < entry->until) {
    entry->repeats++;
    return false;
  }
  *repeats = entry->key == key ? entry->repeats : 0;
  *entry = (struct recent){.key = key, .until = now + QUIET_MS};
  return true;
}

static bool permits(const struct stat *st, uid_t uid, unsigned wanted) {
  unsigned bits = st->st_uid == uid ? st->st_mode >> 6 : st->st_gid == uid ? st->st_mode >> 3 : st->st_mode;
  return (bits & wanted) == wanted;
}

/* What ownership and mode alone would say of `path` in the sandbox's view (or of its parent, when it is to be made). */
static bool mode_allows(const struct seen_watch *watch, const struct seen_event *event, const struct seen_call *call, const char *path) {
  char root[64], parent[SEEN_PATH];
  if (!text_format(root, sizeof root, "/proc/%d/root", watch->init)) return false;
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return false;
  struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  unsigned wanted = call->wants(event);
  int fd = call->changes_parent ? -1 : (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
  if (fd < 0) {
    const char *slash = strrchr(path, '/');
    if (text_format(parent, sizeof parent, "%.*s", slash && slash > path ? (int)(slash - path) : 1, slash ? path : "/")) fd = (int)syscall(SYS_openat2, root_fd, parent, &how, sizeof how);
    wanted = SEEN_WRITE | SEEN_EXECUTE;
  }
  struct stat st;
  bool allowed = fd >= 0 && fstat(fd, &st) == 0 && permits(&st, watch->kernel.uid, wanted);
  if (fd >= 0) close(fd);
  close(root_fd);
  return allowed;
}

/* True if the program lies in a mount of the sandbox that starts nothing: the kernel looks at that first (do_open_execat, may_open in fs/namei.c). */
static bool starts_nothing(const struct seen_watch *watch, const char *path) {
  char root[64];
  struct statvfs mount;
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int root_fd = text_format(root, sizeof root, "/proc/%d/root", watch->init) ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  int fd = root_fd < 0 ? -1 : (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
  bool noexec = fd >= 0 && fstatvfs(fd, &mount) == 0 && (mount.f_flag & ST_NOEXEC) != 0;
  if (fd >= 0) close(fd);
  if (root_fd >= 0) close(root_fd);
  return noexec;
}

/* True if the view hides something of this name. What programs look up by habit and what everybody may read is not worth telling. */
static bool hides(const char *given) {
  static const char *const habits[] = {"/usr/", "/sys/", "/proc/", "/dev/", "/lib", "/bin/", "/sbin/", "/tmp/", "/run/"};
  struct stat st;
  char path[HIDDEN_PATH];
  if (given[0] != '/') return false;
  if (!plain_path(given, path)) return host_may_have(given);
  for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
    if (strncmp(path, habits[i], strlen(habits[i])) == 0) return false;
  if (strncmp(path, "/etc/", 5) == 0 && (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mode & 0004)) return false;
  return host_may_have(path);
}

/* NULL: not a refusal of ours, or told by whoever refused it (what the filter asked the shim or openshelld). */
static const char *layer_of(const struct seen_watch *watch, const struct seen_event *event, const struct seen_call *call, const char *path) {
  if (event->verdict == SEEN_FILTERED) return "seccomp";
  if (!call) return NULL;
  if (call->kind == SEEN_NETWORK) return event->error == ENETUNREACH ? "netns" : event->error == EACCES ? "landlock" : NULL;
  if (call->kind == SEEN_SIGNAL) return event->error == EPERM ? "landlock" : NULL;
  if (path[0] == 0) return NULL;
  if (event->error == EROFS) return "mounts";
  if (event->error == ENOENT) return hides(path) ? "view" : NULL;
  if (event->error == EPERM) return call->owner_only ? "uid" : NULL;
  if (event->error != EACCES) return NULL;
  if (event->nr == SYS_execve && path[0] == '/' && starts_nothing(watch, path)) return "mounts";
  return path[0] == '/' && mode_allows(watch, event, call, path) ? "landlock" : path[0] == '/' ? "uid" : "landlock";
}

static void take(const struct seen_event *event) {
  struct seen_watch *watch = watch_of(event->uid, event->owner);
  const struct seen_call *call = seen_call(event->nr);
  if (!watch) return; /* its sandbox is gone, and its counts with it */
  bool success = event->verdict == SEEN_DONE, file = call && call->kind == SEEN_FILE;
  const char *path = !call ? "" : call->path == 1 ? event->first : call->path == 2 ? event->second : "";
  const char *layer = success ? "openshelld" : layer_of(watch, event, call, path);
  unsigned repeats = 0;
  if (!layer || (!success && !worth_telling(event, path, &repeats)) || !watch_may_tell(watch, success)) return;
  char shown[TEXT], comm[64], number[40];
  const char *name = seen_name(event->nr, number, sizeof number);
  seen_text(shown, sizeof shown, path, SEEN_PATH);
  seen_text(comm, sizeof comm, event->comm, sizeof event->comm);
  /* Path and command name were read from the agent's own memory: `hints`, where outcome, call and layer are the kernel's word. */
  json_t *data = json_pack("{s:s,s:s,s:i,s:i,s:s,s:i,s:I,s:[s,s]}", "syscall", name, "path", shown, "errno", event->error, "pid", (int)event->pid, "comm", comm, "repeats", (int)repeats, "boottimeMs", (json_int_t)(event->boottime_ns / 1000000), "hints", "path", "comm");
  json_t *rule = success ? NULL : event->verdict == SEEN_FILTERED ? rule_of_call(watch->rules, name) : file ? rule_of_path(watch->rules, event, call, path) : NULL;
  if (data && rule) json_object_set(data, "rule", rule);
  const char *class = file ? "fileActivity" : "kernelActivity";
  if (success) event_emit(class, file ? 14 : 4, 1, watch->id, layer, "allow", data, "%s %s", name, shown);
  else event_emit(class, file ? 14 : 4, 2, watch->id, layer, "deny", data, "%s %s refused by %s (%s)", name, shown, layer, strerrorname_np(event->error));
}

/* What was not told one by one is said, with the exact counts: never passed over. */
static void tell_lost(struct seen_watch *watch) {
  const struct seen_meta *meta = seen_meta(&watch->kernel);
  uint64_t full = __atomic_load_n(&meta->ring_full, __ATOMIC_RELAXED), lost = full + __atomic_load_n(&meta->withheld, __ATOMIC_RELAXED) + watch->held_back;
  if (lost == watch->lost_told) return;
  uint64_t now_lost = lost - watch->lost_told;
  watch->lost_told = lost;
  event_emit("kernelActivity", 99, 3, watch->id, "openshelld", NULL, json_pack("{s:I,s:o}", "dropped", (json_int_t)now_lost, "seen", watch_counts(watch)),
             "%llu calls were counted but not told one by one: too many at once", (unsigned long long)now_lost);
}

static void tell_all_lost(void) {
  for (struct seen_watch *w = seen_watches; w; w = w->next) tell_lost(w);
}

static void poll_now(struct timer *self) {
  static int64_t next;
  seen_poll(take);
  if (boottime_ms() >= next) {
    tell_all_lost();
    next = boottime_ms() + LOST_EVERY_MS;
  }
  if (seen_watches) timer_set(self, POLL_MS, poll_now);
}

void refusals_tell_now(void) {
  seen_poll(take);
  tell_all_lost();
}

void refusals_begin(void) {
  if (!timer.set && seen_watches) timer_set(&timer, POLL_MS, poll_now);
}
