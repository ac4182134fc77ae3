/* The table of sandboxes that are seen. */
#include "seen_watch.h"
#include "openshelld_config.h"
#include "openshelld_loop.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "perform.h"
#include "plan.h"
#include "seen_calls.h"

#include <stdlib.h>
#include <string.h>

/* Of one sandbox in one minute; allowed calls (auditLog.syscalls: full) have a share of their own, so that they cannot crowd out refusals. */
enum { TOLD_PER_MINUTE = 600, SUCCESSES_PER_MINUTE = 3000, ALONE_SLOTS = 64 };

struct seen_watch *seen_watches;
static bool seeing, adopted_maps, adopted_links;

/* Some more than may live, for those that are just ending. A program that uses openshelld alone has few, and each has its own memory for them. */
static uint32_t slots(void) { return config.alone ? ALONE_SLOTS : (uint32_t)config.max_sandboxes + 8; }

static void keep(void) {
  int maps[SEEN_MAP_FDS], links[SEEN_LINK_FDS];
  seen_fds(maps, links);
  store_keep("seen/maps", maps, SEEN_MAP_FDS);
  store_keep("seen/links", links, SEEN_LINK_FDS);
}

bool watch_adopt(const char *name, const int *fds, int count) {
  if (strcmp(name, "seen/maps") == 0) adopted_maps = seen_adopt_maps(fds, count, slots()) == 0;
  else if (strcmp(name, "seen/links") == 0) adopted_links = seen_adopt_links(fds, count) == 0;
  else return false;
  return true;
}

bool watch_open(void) {
  if (adopted_maps && adopted_links) return seeing = true;
  seen_stop();
  adopted_maps = false;
  seeing = seen_start(slots()) == 0;
  if (seeing) keep();
  return seeing;
}

bool watch_seeing(void) { return seeing; }

struct seen_watch *watch_of(uid_t uid, uint64_t owner) {
  for (struct seen_watch *w = seen_watches; w; w = w->next)
    if (w->kernel.uid == uid && w->owner == owner) return w;
  return NULL;
}

struct seen_watch *watch_by_id(const char *id) {
  for (struct seen_watch *w = seen_watches; w; w = w->next)
    if (id && strcmp(w->id, id) == 0) return w;
  return NULL;
}

/* FNV-1a of the id: an id is never given twice, a uid is. */
static uint64_t owner_of(const char *id) {
  uint64_t hash = 14695981039346656037ull;
  for (const char *c = id; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
  return hash;
}

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* The filter of a plan as the launcher reads it; 0 where it has none, or has it switched off for a test. */
static size_t filter_of(json_t *plan, struct sock_filter *filter) {
  size_t index;
  json_t *off;
  json_array_foreach(json_object_get(plan, "off"), index, off)
    if (json_string_value(off) && strcmp(json_string_value(off), "seccomp") == 0) return 0;
  const char *hex = json_string_value(json_object_get(json_object_get(plan, "seccomp"), "filter"));
  size_t n = hex ? strlen(hex) : 0;
  if (n % 16 != 0 || n / 16 > PLAN_FILTER_MAX) return 0;
  for (size_t i = 0; i + 1 < n; i += 2) {
    int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return 0;
    ((unsigned char *)filter)[i / 2] = (unsigned char)(high << 4 | low);
  }
  return n / 16;
}

bool watch_begin(uid_t uid, const char *id, pid_t init, json_t *plan, bool asks) {
  static struct sock_filter filter[PLAN_FILTER_MAX];
  if (watch_by_id(id)) return true;
  const char *mode = json_string_value(json_object_get(plan, "audit"));
  if (mode && strcmp(mode, "off") == 0) return true;
  struct seen_watch *watch = seeing ? calloc(1, sizeof *watch) : NULL;
  if (!watch) return false;
  watch->owner = owner_of(id);
  watch->init = init;
  bool good = text_format(watch->id, sizeof watch->id, "%s", id);
  if (good && (plan || seen_find(&watch->kernel, uid, watch->owner) < 0)) {
    /* Kept maps without this sandbox: its policy said off. */
    if (!plan && adopted_maps) {
      free(watch);
      return true;
    }
    size_t length = plan ? filter_of(plan, filter) : 0;
    good = seen_add(&watch->kernel, uid, watch->owner, length > 0 ? filter : NULL, length, mode && strcmp(mode, "full") == 0) == 0;
  }
  if (!good) {
    free(watch);
    return false;
  }
  for (int nr = 0; asks && nr < SEEN_OTHER; nr++) watch->kernel.counts[nr].asked = operation_known(nr);
  watch->next = seen_watches;
  seen_watches = watch;
  return true;
}

void watch_rules(const char *id, json_t *rules) {
  struct seen_watch *watch = watch_by_id(id);
  if (!watch) return;
  json_decref(watch->rules);
  watch->rules = json_incref(rules);
}

void watch_end(struct seen_watch *watch) {
  for (struct seen_watch **link = &seen_watches; *link; link = &(*link)->next)
    if (*link == watch) {
      *link = watch->next;
      break;
    }
  seen_remove(&watch->kernel);
  json_decref(watch->rules);
  free(watch);
}

bool watch_may_tell(struct seen_watch *watch, bool success) {
  int64_t now = boottime_ms();
  if (now - watch->minute >= 60000) {
    watch->minute = now;
    watch->told[0] = watch->told[1] = 0;
  }
  if (watch->told[success] < (success ? SUCCESSES_PER_MINUTE : TOLD_PER_MINUTE)) {
    watch->told[success]++;
    return true;
  }
  watch->held_back++;
  return false;
}

json_t *watch_counts(const struct seen_watch *watch) {
  json_t *counts = json_object();
  for (int nr = 0; nr < SEEN_CALLS; nr++) {
    struct seen_reading r = seen_read(&watch->kernel, nr);
    if (!(r.done | r.denied | r.failed | r.filtered | r.interrupted | r.held_denied | r.approved)) continue;
    char name[40];
    json_object_set_new(counts, seen_name(nr, name, sizeof name),
                        json_pack("[I,I,I,I,I,I,I]", (json_int_t)r.done, (json_int_t)r.denied, (json_int_t)r.failed, (json_int_t)r.filtered, (json_int_t)r.interrupted, (json_int_t)r.held_denied, (json_int_t)r.approved));
  }
  const struct seen_meta *meta = seen_meta(&watch->kernel);
  return json_pack("{s:o,s:I,s:I,s:I}", "counts", counts, "ended", (json_int_t)meta->ended, "withheld", (json_int_t)(meta->withheld + watch->held_back), "ringFull", (json_int_t)meta->ring_full);
}

void watch_answered(uid_t uid, int nr, enum seen_answer answer) {
  if (nr < 0 || nr >= SEEN_OTHER) return;
  for (struct seen_watch *w = seen_watches; w; w = w->next) {
    if (w->kernel.uid != uid) continue;
    struct seen_count *count = &w->kernel.counts[nr];
    if (answer == ANSWER_DENIED) __atomic_fetch_add(&count->held_denied, 1, __ATOMIC_RELAXED);
    if (answer == ANSWER_APPROVED) __atomic_fetch_add(&count->approved, 1, __ATOMIC_RELAXED);
    return;
  }
}
