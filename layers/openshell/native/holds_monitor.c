/* How much of what an agent asks, or would ask, is told one by one; and monitor mode, where nobody is asked. */
#include "holds.h"
#include "holds_record.h"
#include "openshelld_store.h"
#include "seen_watch.h"

#include <string.h>

/* Monitor mode, where nobody is waited for. */
#define OBSERVED_A_MINUTE 600
#define MINUTE_MS 60000

void untold_tell(struct sandbox *sandbox) {
  struct asker *a = sandbox->asker;
  if (!a || a->untold == 0) return;
  if (sandbox->view.monitor) event_emit("fileActivity", 99, 3, sandbox->id, "openshelld", "observe", json_pack("{s:I,s:b}", "count", (json_int_t)a->untold, "monitor", 1), "Monitor: %u more calls would have waited for a person, or been denied", a->untold);
  else event_emit("fileActivity", 99, 3, sandbox->id, "openshelld", "deny", json_pack("{s:I}", "count", (json_int_t)a->untold), "%u more calls were denied at once: a sandbox may ask %d times a minute", a->untold, config.asks);
  a->untold = 0;
}

bool may_tell(struct sandbox *sandbox) {
  struct asker *a = sandbox->asker;
  int64_t now = boottime_ms();
  if (!a) return true;
  if (a->minute == 0 || now - a->minute >= MINUTE_MS) {
    untold_tell(sandbox);
    a->minute = now;
    a->told = 0;
  }
  if (a->told < (sandbox->view.monitor ? OBSERVED_A_MINUTE : (unsigned)config.asks)) {
    a->told++;
    return true;
  }
  a->untold++;
  return false;
}

void hold_would_open(struct sandbox *sandbox, const struct operation *op, int rule, unsigned asked) {
  json_t *watch = json_object_get(json_array_get(sandbox->escalate, (size_t)rule), "watch");
  const char *would = watch ? json_string_value(json_object_get(watch, "would")) : "escalate";
  if (!would || strcmp(would, "allow") == 0 || !may_tell(sandbox)) return;
  json_t *data = json_pack("{s:s,s:s,s:o,s:o,s:i,s:s,s:b}", "op", on_word(asked), "syscall", op->syscall, "path", record_path(op), "toPath", operation_has_two(op) ? record_text(op->to.path) : json_null(), "rule", rule, "would",
                           would, "monitor", 1);
  if (watch && json_object_get(watch, "rule")) json_object_set(data, "rule", json_object_get(watch, "rule"));
  event_emit("fileActivity", activity_of(op), 3, sandbox->id, "openshelld", "observe", data, "Monitor: %s of %s would %s", op->syscall, op->from.path, watch ? "be denied" : "wait for a person");
}
