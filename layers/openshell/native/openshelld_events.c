/* openshelld's own events: numbered without gaps across restarts, kept in memory while the ledger is away. */
#include "openshelld_loop.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "services.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WAITING_MAX 2048

static uint64_t *sequence; /* in a memfd that the supervisor keeps */
static json_t *waiting;
static unsigned lost;

void log_line(const char *format, ...) {
  char text[600], stamp[32];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  time_t now = time(NULL);
  struct tm parts;
  strftime(stamp, sizeof stamp, "%FT%TZ", gmtime_r(&now, &parts));
  fprintf(stderr, "%s openshelld: %s\n", stamp, text);
}

void event_adopt_sequence(int fd) {
  void *page = mmap(NULL, sizeof *sequence, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) sequence = page;
  close(fd);
}

int event_open(void) {
  if (sequence) return 0;
  int fd = memfd_create("openshelld-events", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof *sequence) < 0) return -1;
  store_keep("events", &fd, 1);
  event_adopt_sequence(fd);
  return sequence ? 0 : -1;
}

static bool deliver(json_t *event) {
  struct service *ledger = service_find(config.alone ? "gateway" : "ledger");
  if (!ledger || !ledger->hello) return false;
  json_t *message = json_pack("{s:s,s:I,s:O}", "t", "event", "seq", (json_int_t)(*sequence + 1), "event", event);
  if (!message || service_send(ledger, message, NULL, 0) < 0) return false;
  ++*sequence;
  return true;
}

uint64_t event_sequence(void) { return sequence ? *sequence : 0; }

void event_flush(void) {
  while (waiting && json_array_size(waiting) > 0 && deliver(json_array_get(waiting, 0))) json_array_remove(waiting, 0);
  if (lost == 0 || (waiting && json_array_size(waiting) > 0)) return;
  unsigned gone = lost;
  lost = 0;
  event_emit("applicationLifecycle", 99, 4, "", "openshelld", NULL, json_pack("{s:i}", "lost", (int)gone), "%u events of openshelld were lost while the ledger was away", gone);
}

void event_emit(const char *class, int activity, int severity, const char *sandbox, const char *layer, const char *verdict, json_t *data, const char *format, ...) {
  char text[600];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  json_t *event = json_pack("{s:I,s:s,s:i,s:i,s:s,s:s,s:s#}", "time", (json_int_t)wall_ms(), "class", class, "activity", activity, "severity", severity, "sandbox", sandbox, "layer", layer, "message", "", (size_t)0);
  if (!event) {
    json_decref(data);
    lost++;
    return;
  }
  /* A path that is not UTF-8 must not cost us the event. */
  json_t *message = json_string(text);
  json_object_set_new(event, "message", message ? message : json_string("(text is not UTF-8)"));
  if (verdict) json_object_set_new(event, "verdict", json_string(verdict));
  if (data) json_object_set_new(event, "data", data);
  event_flush();
  if ((waiting && json_array_size(waiting) > 0) || !deliver(event)) {
    if (!waiting) waiting = json_array();
    if (json_array_size(waiting) >= WAITING_MAX) lost++;
    else json_array_append(waiting, event);
  }
  json_decref(event);
}
