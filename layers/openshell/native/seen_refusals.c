/* Which layer refused a call, told from the error and from the object as the agent sees it; repeats are counted, not repeated. */
#include "seen_refusals.h"
#include "openshelld_loop.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "seen_calls.h"
#include "seen_place.h"
#include "seen_ports.h"
#include "seen_rules.h"
#include "seen_text.h"
#include "seen_watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { RECENT = 512, QUIET_MS = 60000, POLL_MS = 50, LOST_EVERY_MS = 1000, TEXT = 4 * SEEN_PATH };

struct recent {
  uint64_t key;
  int64_t until;
  unsigned repeats;
};

static struct recent recent[RECENT];
static struct timer timer;

static bool is_file(const struct seen_call *call) { return call->kind == SEEN_FILE || call->kind == SEEN_LOOK; }

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

/* True if the view hides something of this name. What programs look up by habit and what everybody may read is not worth telling. */
static bool hides(const char *name) {
  static const char *const habits[] = {"/usr/", "/sys/", "/proc/", "/dev/", "/lib", "/bin/", "/sbin/", "/tmp/", "/run/", "/var/run/"};
  struct stat st;
  for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
    if (strncmp(name, habits[i], strlen(habits[i])) == 0) return false;
  if (strncmp(name, "/etc/", 5) == 0 && (fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mode & 0004)) return false;
  return host_may_have(name);
}

/* The same of the folder that a name was to be made in: nobody does that by habit. */
static bool hides_folder_of(const char *name) {
  char folder[HIDDEN_PATH];
  const char *slash = strrchr(name, '/');
  return slash && slash > name && text_format(folder, sizeof folder, "%.*s", (int)(slash - name), name) && host_may_have(folder);
}

/* What refused with EACCES, as far as the names tell. */
static const char *refuser(enum seen_place place) {
  return place == PLACE_MASK ? "mounts" : place == PLACE_MODE ? "uid" : place == PLACE_OPEN ? "landlock" : "kernel";
}

/* `name`: of a call with two names the first of them that tells something. "kernel": refused, and nobody knows by which layer. */
static const char *file_layer(const struct seen_watch *watch, const struct seen_event *event, const struct seen_call *call, char name[HIDDEN_PATH]) {
  char other[HIDDEN_PATH];
  bool two = place_name(event, seen_other_name(event, call), other), known = name[0] != 0;
  switch (event->error) {
  case EROFS: return "mounts";
  case EPERM: return call->owner_only ? "uid" : NULL;
  case ENOENT:
    if (two && hides_folder_of(other)) return "view";
    return known && (seen_makes(event, call) ? hides_folder_of(name) : hides(name)) ? "view" : NULL;
  case EBUSY:
    if (!call->changes_parent || !known) return NULL;
    if (place_is_mount(watch, name)) return "mounts";
    if (!two || !place_is_mount(watch, other)) return NULL;
    memcpy(name, other, sizeof other);
    return "mounts";
  case EACCES: break;
  default: return NULL;
  }
  if (!known) return "kernel";
  if (event->nr == SYS_execve && place_starts_nothing(watch, name)) return "mounts";
  /* linkat names the old one first, which only has to be found. */
  enum seen_place place = event->nr == SYS_linkat ? place_refuses(watch, name, 0, false) : place_refuses(watch, name, call->wants(event), call->changes_parent);
  if (place != PLACE_OPEN || !*seen_other_name(event, call)) return refuser(place);
  place = !two ? PLACE_UNKNOWN : event->nr == SYS_link ? place_refuses(watch, other, 0, false) : place_refuses(watch, other, SEEN_WRITE, true);
  if (place == PLACE_MASK) memcpy(name, other, sizeof other);
  return refuser(place);
}

/* NULL: not a refusal of ours, or told by whoever refused it (what the filter asked the shim or openshelld). */
static const char *network_layer(const struct seen_watch *watch, const struct seen_event *event, char name[HIDDEN_PATH]) {
  struct sockaddr_in6 address; /* the port of an IPv4 address stands at the same place */
  memcpy(&address, event->first, sizeof address);
  if (address.sin6_family == AF_UNIX && event->error == EPERM) return event->second[0] == 0 ? "landlock" : NULL;
  if (address.sin6_family == AF_UNIX && event->second[0]) {
    if (event->error == ENOENT) return name[0] && host_may_have(name) ? "view" : NULL;
    return event->error != EACCES ? NULL : name[0] ? refuser(place_refuses(watch, name, SEEN_WRITE, false)) : "kernel";
  }
  if (event->error == ECONNREFUSED) return host_listens(ntohs(address.sin6_port)) ? "netns" : NULL;
  return event->error == ENETUNREACH ? "netns" : event->error == EACCES ? "landlock" : NULL;
}

static const char *layer_of(const struct seen_watch *watch, const struct seen_event *event, const struct seen_call *call, const char *path, char name[HIDDEN_PATH]) {
  if (event->verdict == SEEN_FILTERED) return "seccomp";
  if (!call) return NULL;
  if (call->kind == SEEN_NETWORK) return network_layer(watch, event, name);
  if (call->kind == SEEN_SIGNAL) return event->error == EPERM ? "landlock" : NULL;
  return path[0] ? file_layer(watch, event, call, name) : NULL;
}

/* The agent's word for what the call was about: a file, or an address. */
static const char *object_of(const struct seen_event *event, const struct seen_call *call, char text[SEEN_PATH]) {
  struct sockaddr_in6 six;
  struct sockaddr_in four;
  char number[INET6_ADDRSTRLEN];
  if (!call) return "";
  if (call->kind != SEEN_NETWORK) return call->path == 1 ? event->first : call->path == 2 ? event->second : "";
  memcpy(&six, event->first, sizeof six);
  memcpy(&four, event->first, sizeof four);
  if (six.sin6_family == AF_UNIX) return event->second;
  text[0] = 0;
  if (four.sin_family == AF_INET && inet_ntop(AF_INET, &four.sin_addr, number, sizeof number)) (void)text_format(text, SEEN_PATH, "%s:%u", number, ntohs(four.sin_port));
  if (six.sin6_family == AF_INET6 && inet_ntop(AF_INET6, &six.sin6_addr, number, sizeof number)) (void)text_format(text, SEEN_PATH, "[%s]:%u", number, ntohs(six.sin6_port));
  return text;
}

static json_t *rule_of(const struct seen_watch *watch, const struct seen_event *event, const struct seen_call *call, const char *layer, const char *call_name, const char *name) {
  json_t *rule = event->verdict == SEEN_FILTERED ? rule_of_call(watch->rules, call_name) : call && is_file(call) ? rule_of_path(watch->rules, event, call, name) : NULL;
  /* What a sandbox lacks is nobody's rule. */
  return rule ? json_incref(rule) : strcmp(layer, "view") == 0 ? json_pack("{s:s}", "id", "view") : NULL;
}

static void take(const struct seen_event *event) {
  struct seen_watch *watch = watch_of(event->uid, event->owner);
  const struct seen_call *call = seen_call(event->nr);
  if (!watch) return; /* its sandbox is gone, and its counts with it */
  bool success = event->verdict == SEEN_DONE, file = call && is_file(call);
  char text[SEEN_PATH], name[HIDDEN_PATH];
  const char *path = object_of(event, call, text);
  (void)place_name(event, path, name);
  const char *layer = success ? "openshelld" : layer_of(watch, event, call, path, name);
  unsigned repeats = 0;
  if (!layer || (!success && !worth_telling(event, path, &repeats)) || !watch_may_tell(watch, success)) return;
  char shown[TEXT], comm[64], number[40];
  const char *called = seen_name(event->nr, number, sizeof number);
  seen_text(shown, sizeof shown, path, SEEN_PATH);
  seen_text(comm, sizeof comm, event->comm, sizeof event->comm);
  /* Path and command name were read from the agent's own memory: `hints`, where outcome, call and layer are the kernel's word. */
  json_t *data = json_pack("{s:s,s:s,s:i,s:i,s:s,s:i,s:I,s:[s,s]}", "syscall", called, "path", shown, "errno", event->error, "pid", (int)event->pid, "comm", comm, "repeats", (int)repeats, "boottimeMs", (json_int_t)(event->boottime_ns / 1000000), "hints", "path", "comm");
  json_t *rule = success ? NULL : rule_of(watch, event, call, layer, called, name);
  if (data && rule) json_object_set(data, "rule", rule);
  json_decref(rule);
  const char *class = file ? "fileActivity" : "kernelActivity";
  if (success) event_emit(class, file ? 14 : 4, 1, watch->id, layer, "allow", data, "%s %s", called, shown);
  else event_emit(class, file ? 14 : 4, 2, watch->id, layer, "deny", data, "%s %s refused by %s (%s)", called, shown, strcmp(layer, "kernel") == 0 ? "the kernel" : layer, strerrorname_np(event->error));
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
