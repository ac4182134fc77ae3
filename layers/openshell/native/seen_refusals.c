/* Which layer refused a call, told from the error and from the object as the agent sees it; repeats are counted, not repeated. */
#include "seen_refusals.h"
#include "openshelld_loop.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen.h"
#include "seen_calls.h"
#include "services.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RECENT = 512, QUIET_MS = 60000, POLL_MS = 50 };

struct seen_sandbox {
  uid_t uid;
  pid_t init;
  char id[72];
};
struct recent {
  uint64_t key;
  int64_t until;
  unsigned repeats;
};

static struct seen_sandbox sandboxes[SEEN_SLOTS];
static struct recent recent[RECENT];
static struct timer timer;
static unsigned alive;
static bool seeing;

static struct seen_sandbox *by_uid(uid_t uid) {
  for (size_t i = 0; i < SEEN_SLOTS; i++)
    if (sandboxes[i].id[0] && sandboxes[i].uid == uid) return &sandboxes[i];
  return NULL;
}

/* FNV-1a: only tells repeats apart; a collision merely counts one refusal to another's line. */
static uint64_t key_of(const struct seen_event *event, const char *path) {
  uint64_t hash = 14695981039346656037ull;
  const uint32_t parts[] = {event->uid, (uint32_t)event->nr, (uint32_t)event->error};
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
static bool mode_allows(const struct seen_sandbox *sandbox, const struct seen_event *event, const struct seen_call *call, const char *path) {
  char root[64], parent[SEEN_PATH];
  if (!text_format(root, sizeof root, "/proc/%d/root", sandbox->init)) return false;
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
  bool allowed = fd >= 0 && fstat(fd, &st) == 0 && permits(&st, sandbox->uid, wanted);
  if (fd >= 0) close(fd);
  close(root_fd);
  return allowed;
}

/* True if the view hides something of this name. What programs look up by habit and what everybody may read is not worth telling. */
static bool hides(const char *path) {
  static const char *const habits[] = {"/usr/", "/sys/", "/proc/", "/dev/", "/lib", "/bin/", "/sbin/", "/tmp/", "/run/"};
  struct stat st;
  if (path[0] != '/' || fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0) return false;
  for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
    if (strncmp(path, habits[i], strlen(habits[i])) == 0) return false;
  return strncmp(path, "/etc/", 5) != 0 || (st.st_mode & 0004) == 0;
}

/* NULL: not a refusal of ours, or told by whoever refused it (seccomp and holds: the shim). */
static const char *layer_of(const struct seen_sandbox *sandbox, const struct seen_event *event, const struct seen_call *call, const char *path) {
  if (call->kind == SEEN_NETWORK) return event->error == ENETUNREACH ? "netns" : event->error == EACCES ? "landlock" : NULL;
  if (call->kind == SEEN_SIGNAL) return event->error == EPERM ? "landlock" : NULL;
  if (event->error == EROFS) return "view";
  if (event->error == ENOENT) return hides(path) ? "view" : NULL;
  if (event->error == EPERM) return call->owner_only ? "uid" : NULL;
  if (event->error != EACCES) return NULL;
  return path[0] == '/' && mode_allows(sandbox, event, call, path) ? "landlock" : path[0] == '/' ? "uid" : "landlock";
}

static void take(const struct seen_event *event) {
  const struct seen_sandbox *sandbox = by_uid(event->uid);
  const struct seen_call *call = seen_call(event->nr);
  if (!sandbox || !call) return;
  const char *path = call->path == 1 ? event->first : call->path == 2 ? event->second : "";
  unsigned repeats = 0;
  if (call->kind == SEEN_FILE && path[0] == 0) return;
  const char *layer = layer_of(sandbox, event, call, path);
  if (!layer || !worth_telling(event, path, &repeats)) return;
  json_t *data = json_pack("{s:s,s:s#,s:i,s:i,s:i}", "syscall", call->name, "path", "", (size_t)0, "errno", event->error, "pid", (int)event->pid, "repeats", (int)repeats);
  json_t *text = json_string(path), *comm = json_stringn(event->comm, strnlen(event->comm, sizeof event->comm));
  if (data && text) json_object_set_new(data, "path", text);
  if (data && comm) json_object_set_new(data, "comm", comm);
  event_emit(call->kind == SEEN_FILE ? "fileActivity" : "kernelActivity", call->kind == SEEN_FILE ? 14 : 4, 2, sandbox->id, layer, "deny", data, "%s %s refused by %s (%s)", call->name, path, layer, strerrorname_np(event->error));
}

/* What the ring could not hold is said, never passed over. */
static void tell_dropped(void) {
  static uint64_t told;
  static int64_t next;
  uint64_t dropped = seen_dropped();
  int64_t now = boottime_ms();
  if (dropped == told || now < next) return;
  event_emit("kernelActivity", 99, 3, "", "openshelld", NULL, json_pack("{s:I}", "dropped", (json_int_t)(dropped - told)), "%llu refused calls were counted but not told one by one: too many at once", (unsigned long long)(dropped - told));
  told = dropped;
  next = now + 1000;
}

static void poll_now(struct timer *self) {
  seen_poll(take);
  tell_dropped();
  if (alive > 0) timer_set(self, POLL_MS, poll_now);
}

bool refusals_open(void) {
  seeing = seen_start() == 0;
  return seeing;
}

void refusals_tell_now(void) {
  seen_poll(take);
}

bool refusals_seeing(void) {
  return seeing;
}

int refusals_watch(uid_t uid, const char *id, pid_t init) {
  const struct seen_sandbox *known = by_uid(uid);
  if (known) return (int)(known - sandboxes);
  if (!seeing) return -1;
  for (uint32_t slot = 0; slot < SEEN_SLOTS; slot++) {
    struct seen_sandbox *sandbox = &sandboxes[slot];
    if (sandbox->id[0]) continue;
    if (!text_format(sandbox->id, sizeof sandbox->id, "%s", id) || seen_add(uid, slot) < 0) {
      sandbox->id[0] = 0;
      return -1;
    }
    sandbox->uid = uid;
    sandbox->init = init;
    if (alive++ == 0) timer_set(&timer, POLL_MS, poll_now);
    return (int)slot;
  }
  return -1;
}

void refusals_forget(uid_t uid) {
  struct seen_sandbox *sandbox = by_uid(uid);
  if (!sandbox) return;
  seen_poll(take);
  seen_remove(uid);
  sandbox->id[0] = 0;
  alive--;
}

bool refusals_counts(uid_t uid, unsigned long long *calls, unsigned long long *refused, unsigned long long *lost) {
  const struct seen_sandbox *sandbox = by_uid(uid);
  const struct seen_count *counts = sandbox ? seen_counts((uint32_t)(sandbox - sandboxes)) : NULL;
  if (!counts) return false;
  *calls = *refused = 0;
  for (size_t i = 0; i < SEEN_CALLS; i++) {
    *calls += counts[i].done + counts[i].refused + counts[i].failed;
    *refused += counts[i].refused;
  }
  *lost = seen_dropped();
  return true;
}
