/* Which escalate rule an operation falls under: by where the objects are, not by what they were called. */
#include "openshelld_sandboxes.h"
#include "openshelld_text.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEPTH_MAX 128

struct rule {
  char path[PATH_BYTES]; /* as the plan names it */
  unsigned on; /* ON_ bits */
  int rank;    /* what beats what: 3 a denial, 2 a question, 1 a grant */
  int fd; /* O_PATH on what was there at launch, or -1: nothing was */
  dev_t dev;
  ino_t ino;
  char current[PATH_BYTES]; /* where that is now; "" where nothing is known */
};

struct hold_rules {
  int calls;
  struct call_rule call[CALL_RULES_MAX];
  int count;
  int64_t until; /* when `current` is to be asked again */
  struct rule rule[];
};

struct ancestors {
  int count;
  struct {
    dev_t dev;
    ino_t ino;
  } folder[DEPTH_MAX];
};

/* In the order of the ON_ bits. */
static const char *const words[] = {"delete", "rename", "write", "create", "read", "exec", "connect", "call", "start"};

const char *on_word(unsigned on) {
  if (on & ON_START) return "exec";
  for (size_t w = 0; w < sizeof words / sizeof *words; w++)
    if (on & 1U << w) return words[w];
  return "call";
}

struct hold_rules *rules_make(const struct view *view, json_t *escalate) {
  size_t n = json_array_size(escalate), i, k;
  struct hold_rules *rules = calloc(1, sizeof *rules + n * sizeof rules->rule[0]);
  json_t *one, *on;
  if (!rules) return NULL;
  json_array_foreach(escalate, i, one) {
    struct rule *rule = &rules->rule[rules->count++];
    const char *path = json_string_value(json_object_get(one, "path"));
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    struct stat found;
    json_t *rank = json_object_get(json_object_get(one, "watch"), "rank");
    rule->rank = rank ? (int)json_integer_value(rank) : 2;
    text_format(rule->path, sizeof rule->path, "%s", path ? path : "/");
    for (size_t end = strlen(rule->path); end > 1 && rule->path[end - 1] == '/';) rule->path[--end] = 0;
    json_array_foreach(json_object_get(one, "on"), k, on) {
      const char *word = json_string_value(on);
      for (size_t w = 0; word && w < sizeof words / sizeof *words; w++)
        if (strcmp(word, words[w]) == 0) rule->on |= 1U << w;
    }
    json_t *call;
    json_array_foreach(json_object_get(one, "calls"), k, call) {
      struct call_rule *c = rules->calls < CALL_RULES_MAX ? &rules->call[rules->calls++] : NULL;
      const char *name = json_string_value(json_object_get(call, "name"));
      if (!c) break;
      text_format(c->name, sizeof c->name, "%s", name ? name : "?");
      c->nr = (int)json_integer_value(json_object_get(call, "nr"));
      c->args = (int)json_integer_value(json_object_get(call, "args"));
      c->goes_on = json_is_true(json_object_get(call, "goesOn"));
      c->rule = (int)i;
    }
    rule->fd = (int)syscall(SYS_openat2, view->whole >= 0 ? view->whole : view->root, rule->path, &how, sizeof how);
    if (rule->fd >= 0 && fstat(rule->fd, &found) == 0) {
      rule->dev = found.st_dev;
      rule->ino = found.st_ino;
    }
  }
  return rules;
}

const struct call_rule *rules_call(const struct hold_rules *rules, int nr) {
  for (int i = 0; i < rules->calls; i++)
    if (rules->call[i].nr == nr) return &rules->call[i];
  return NULL;
}

void rules_free(struct hold_rules *rules) {
  for (int i = 0; rules && i < rules->count; i++)
    if (rules->rule[i].fd >= 0) close(rules->rule[i].fd);
  free(rules);
}

/* The folder itself and all above it, up to the root of its mount (across mounts the path decides). False: too deep to know. */
static bool climb(const struct place *place, struct ancestors *up) {
  int fd = fcntl(place->parent, F_DUPFD_CLOEXEC, 3);
  bool complete = false;
  for (up->count = 0; fd >= 0 && up->count < DEPTH_MAX && !complete;) {
    struct statx found;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO, &found) < 0) break;
    up->folder[up->count].dev = makedev(found.stx_dev_major, found.stx_dev_minor);
    up->folder[up->count++].ino = found.stx_ino;
    complete = (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    if (complete) break;
    int above = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    close(fd);
    fd = above;
  }
  if (fd >= 0) close(fd);
  return complete;
}

static bool below(const char *path, const char *base) {
  size_t n = strlen(base);
  if (n == 1) return true; /* "/" */
  return strncmp(path, base, n) == 0 && (path[n] == 0 || path[n] == '/');
}

struct relation {
  bool inside; /* the object is the rule's root or lies below it */
  bool above;  /* the rule's root lies below the object */
};

static struct relation relate(const struct rule *rule, int index, const struct place *place) {
  const char *current = rule->current;
  struct relation r = {.inside = below(place->path, rule->path) || (current[0] && below(place->path, current)) || (place->rules_inside & 1ULL << (index & 63))};
  r.inside |= rule->fd >= 0 && place->exists && place->dev == rule->dev && place->ino == rule->ino;
  r.above = !r.inside && place->folder && place->exists && (below(rule->path, place->path) || (current[0] && below(current, place->path)));
  return r;
}

/* Fills rules_inside by (device, inode) of the folder and all above it. False: it could not be found out. */
static bool place_rules(const struct hold_rules *rules, struct place *place, const struct view *view) {
  static _Thread_local struct ancestors up;
  if (place->rules_known) return true;
  place->rules_inside = 0;
  if (!climb(place, &up)) return false;
  for (int i = 0; i < rules->count; i++)
    for (int k = 0; k < up.count && rules->rule[i].fd >= 0; k++)
      if (up.folder[k].dev == rules->rule[i].dev && up.folder[k].ino == rules->rule[i].ino) place->rules_inside |= 1ULL << (i & 63);
  folder_remember(place, view, place->rules_inside);
  return true;
}

/* Rule roots move only with a rename that openshelld does (which makes it forget), or by someone outside. */
static void refresh(struct hold_rules *rules) {
  int64_t now = boottime_ms();
  if (now < rules->until) return;
  rules->until = now + 1000;
  for (int i = 0; i < rules->count; i++) {
    struct rule *rule = &rules->rule[i];
    if (rule->fd < 0 || place_path(rule->fd, rule->current, sizeof rule->current) != 0) rule->current[0] = 0;
  }
}

/* Which of its bits makes this rule ask about the operation; 0: none. */
static unsigned asks_about(const struct rule *rule, int index, const struct operation *op, bool known, unsigned does) {
  struct relation from = relate(rule, index, &op->from), to = {0};
  if (op->is.kind == DO_LINK) return relate(rule, index, &op->to).inside || !known ? rule->on & does : 0;
  if (op->is.kind == DO_UNLINK || !operation_removes(op)) return from.inside || !known ? rule->on & does : 0;
  to = relate(rule, index, &op->to);
  unsigned hit = !known || from.inside || from.above || to.inside || to.above ? rule->on & ON_RENAME : 0;
  /* Moving something out of the subtree, or over something in it, deletes it there; moving something into it makes a name there. */
  if ((from.inside && !to.inside) || (to.inside && op->to.exists)) hit |= rule->on & ON_DELETE;
  if (to.inside && !from.inside) hit |= rule->on & ON_CREATE;
  /* What was not there at launch is known by its path alone, and would be lost with a folder above it. */
  if (rule->fd < 0 && (from.above || to.above)) hit |= rule->on & ON_DELETE;
  return hit;
}

int rules_match(struct hold_rules *rules, struct operation *op, const struct view *view, unsigned *asked) {
  int best = -1, rank = 0;
  size_t longest = 0;
  unsigned does = operation_does(op);
  bool two = operation_has_two(op);
  if (op->is.kind == DO_CALL || (op->is.kind == DO_CONNECT && op->from.parent < 0)) return -1;
  if (!rules || rules->count == 0 || op->from.special || (two && op->to.special)) return -1;
  refresh(rules);
  if (op->rename && (op->from.folder || op->to.folder)) rules->until = 0;
  bool known = place_rules(rules, &op->from, view) && (!two || place_rules(rules, &op->to, view));
  for (int i = 0; i < rules->count; i++) {
    const struct rule *rule = &rules->rule[i];
    unsigned hit = asks_about(rule, i, op, known, does);
    size_t length = strlen(rule->path);
    if (hit && (rule->rank > rank || (rule->rank == rank && length >= longest))) {
      best = i;
      rank = rule->rank;
      longest = length;
      *asked = op->rename ? ON_RENAME : hit & -hit;
    }
  }
  return best;
}
