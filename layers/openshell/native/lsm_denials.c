/* What the kernel's program refused, on the record: each kind once, its repeats counted; what the ring could not hold is said. */
#include "holds_record.h"
#include "lsm_holds.h"
#include "lsm_kernel.h"
#include "openshelld_store.h"
#include "openshelld_text.h"

#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

enum { RECENT = 512, QUIET_MS = 60000, POLL_MS = 50 };

static struct {
  uint64_t key;
  int64_t until;
  int repeats;
} recent[RECENT];
static struct ring_buffer *ring;
static struct timer timer;
static uint64_t told_dropped;

/* FNV-1a: only tells repeats apart; a collision merely counts one refusal to another's line. */
static uint64_t key_of(const struct lsm_event *event) {
  uint64_t hash = 14695981039346656037ull;
  const uint64_t parts[] = {event->sandbox, event->key.op, event->key.dev, event->key.ino, event->key.dir, event->number};
  for (size_t i = 0; i < sizeof parts; i++) hash = (hash ^ ((const unsigned char *)parts)[i]) * 1099511628211ull;
  for (const char *c = event->path.names[0]; event->path.count > 0 && c < event->path.names[0] + LSM_PART && *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
  return hash;
}

static bool worth_telling(const struct lsm_event *event, int *repeats) {
  uint64_t key = key_of(event);
  int64_t now = boottime_ms();
  size_t at = key % RECENT;
  if (recent[at].key == key && now < recent[at].until) {
    recent[at].repeats++;
    return false;
  }
  *repeats = recent[at].key == key ? recent[at].repeats : 0;
  recent[at].key = key;
  recent[at].until = now + QUIET_MS;
  recent[at].repeats = 0;
  return true;
}

static const char *reason_of(uint32_t reason) {
  return reason == LSM_REASON_DEEP ? "too deep below the nearest rule" : reason == LSM_REASON_NAME ? "a protected name" : reason == LSM_REASON_FULL ? "too many questions at once" : "a rule";
}

static int denied(void *arg, void *data, size_t size) {
  const struct lsm_event *event = data;
  struct sandbox *s = sandboxes;
  int repeats = 0;
  (void)arg;
  while (s && s->uid != event->sandbox) s = s->next;
  if (size < sizeof *event || !s || !worth_telling(event, &repeats)) return 0;
  bool file = event->key.op <= LSM_REACH;
  char *path = file ? lsm_path_text(&event->path) : NULL;
  const char *op = lsm_op_name(event->key.op);
  json_t *comm = json_stringn(event->comm, strnlen(event->comm, sizeof event->comm));
  json_t *told = json_pack("{s:s,s:s,s:i,s:i,s:i}", "op", op, "reason", reason_of(event->reason), "pid", (int)event->tgid, "number", (int)event->number, "repeats", repeats);
  if (told && path) json_object_set_new(told, "path", record_text(path));
  if (told && comm) json_object_set_new(told, "comm", comm);
  event_emit(file && event->key.op < LSM_EXEC ? "fileActivity" : event->key.op == LSM_EXEC ? "processActivity" : "kernelActivity", file ? lsm_activity(event->key.op) : 99, 2, s->id, "lsm", "deny", told, "%s %s refused (%s)", op, path ? path : "", reason_of(event->reason));
  free(path);
  return 0;
}

static void poll_now(struct timer *self) {
  (void)ring_buffer__consume(ring);
  uint64_t dropped = lsm_count(LSM_COUNT_DROPPED);
  if (dropped != told_dropped) event_emit("kernelActivity", 99, 3, "", "openshelld", NULL, json_pack("{s:I}", "dropped", (json_int_t)(dropped - told_dropped)), "%llu refusals were counted but not told one by one: too many at once", (unsigned long long)(dropped - told_dropped));
  told_dropped = dropped;
  timer_set(self, POLL_MS, poll_now);
}

int lsm_denials_open(void) {
  ring = ring_buffer__new(lsm_map(LSM_DENIAL_RING), denied, NULL, NULL);
  if (!ring) return -1;
  told_dropped = lsm_count(LSM_COUNT_DROPPED);
  timer_set(&timer, POLL_MS, poll_now);
  return 0;
}
