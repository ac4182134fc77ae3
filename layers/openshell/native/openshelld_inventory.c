/* What a gateway that has come is told: which sandboxes there are, what runs in them, what waits. */
#include "holds_starts.h"
#include "lsm_holds.h"
#include "lsm_kernel.h"
#include "openshelld_lsm.h"
#include "openshelld_sandboxes.h"

#define SYNC_PATIENCE_MS 1000
#define ENDS_PATIENCE_MS 1000 /* in which a gateway that has come takes up the outputs of commands that ended meanwhile */
#define INVENTORY_HOLDS 16    /* two paths of 4 KiB each at most, escaped */

static bool inventory_due;
static struct timer sync_patience, ends_patience;

static void tell_ends(struct timer *timer) {
  timer_stop(timer);
  for (struct sandbox *s = sandboxes; s; s = s->next) execs_tell_ends(s);
}

static void tell_now(struct timer *timer) {
  struct service *gateway = service_find("gateway");
  json_t *list = json_array(), *holds = json_array(), *workers = json_array();
  timer_stop(timer);
  inventory_due = false;
  for (struct sandbox *s = sandboxes; s; s = s->next) {
    if (s->state != SANDBOX_READY) continue;
    json_array_append_new(list, json_pack("{s:s,s:i,s:I,s:o}", "sandbox", s->id, "init", (int)s->init, "uid", (json_int_t)s->uid, "execs", execs_names(s)));
    holds_list(s, holds);
    lsm_holds_list(s, holds);
    starts_list(s, holds);
  }
  for (int i = 0; i < service_count; i++)
    if (services[i].role == ROLE_WORKER) json_array_append_new(workers, json_string(services[i].name));
  /* A packet has an end: what waits beyond the first is told one by one. */
  json_t *rest = json_array();
  while (json_array_size(holds) > INVENTORY_HOLDS) {
    json_array_append(rest, json_array_get(holds, INVENTORY_HOLDS));
    json_array_remove(holds, INVENTORY_HOLDS);
  }
  json_t *message = json_pack("{s:s,s:o,s:o,s:o}", "t", "inventory", "sandboxes", list, "holds", holds, "workers", workers);
  if (gateway && gateway->hello) (void)service_send(gateway, message, NULL, 0);
  else json_decref(message);
  for (size_t i = 0; i < json_array_size(rest); i++) tell_gateway(json_pack("{s:s,s:O}", "t", "hold", "hold", json_array_get(rest, i)), NULL, 0);
  json_decref(rest);
  for (struct sandbox *s = sandboxes; s; s = s->next) execs_left(s);
  timer_set(&ends_patience, ENDS_PATIENCE_MS, tell_ends);
  lsm_forget_others();
}

/* Once every shim has said what it knows, or has had its chance. */
void sandboxes_tell_inventory(void) {
  bool waiting = false;
  for (struct sandbox *s = sandboxes; s; s = s->next) waiting |= !s->synced && s->state != SANDBOX_STARTING;
  if (!waiting) tell_now(&sync_patience);
  else if (!inventory_due) {
    inventory_due = true;
    timer_set(&sync_patience, SYNC_PATIENCE_MS, tell_now);
  }
}
