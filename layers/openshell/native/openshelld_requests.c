/* What the services may ask for, by role; everything else is refused. */
#include "openshelld.h"
#include "openshelld_checkpoints.h"
#include "openshelld_connected.h"
#include "openshelld_layers.h"
#include "openshelld_release.h"
#include "openshelld_sandboxes.h"
#include "openshelld_store.h"
#include "openshelld_text.h"
#include "registry.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void reply_ok(struct service *service, json_int_t id, json_t *result, const int *fds, int count) {
  json_t *message = json_pack("{s:s,s:I,s:b,s:o}", "t", "reply", "id", id, "ok", 1, "result", result ? result : json_null());
  (void)service_send(service, message, fds, count);
}

void reply_error(struct service *service, json_int_t id, const char *code, const char *format, ...) {
  char text[500];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  json_t *said = json_string(text);
  (void)service_send(service, json_pack("{s:s,s:I,s:b,s:o,s:s}", "t", "reply", "id", id, "ok", 0, "error", said ? said : json_string("(text is not UTF-8)"), "code", code), NULL, 0);
}

void tell_gateway(json_t *message, const int *fds, int count) {
  struct service *gateway = service_find("gateway");
  if (gateway && gateway->hello) (void)service_send(gateway, message, fds, count);
  else json_decref(message);
}

static void asked_hello(struct service *service, json_t *message, json_int_t id) {
  (void)message;
  (void)id;
  log_line("%s says hello", service->name);
  if (service->role == ROLE_LEDGER || config.alone) event_flush();
  if (service->role == ROLE_GATEWAY) releases_tell();
  if (service->role == ROLE_GATEWAY) sandboxes_tell_inventory();
  if (service->role == ROLE_WORKER) sandboxes_attach_worker(service);
}

static void asked_sign(struct service *service, json_t *message, json_int_t id) {
  struct checkpoint request = {.id = id};
  const char *head = "", *why = "";
  json_int_t count = -1;
  if (json_unpack(message, "{s:I,s:s,s:s}", "count", &count, "head", &head, "why", &why) < 0) {
    reply_error(service, id, "protocol", "sign needs count, head and why");
    return;
  }
  request.count = count;
  if (!text_format(request.head, sizeof request.head, "%s", head)) request.count = -1;
  text_format(request.why, sizeof request.why, "%s", why);
  checkpoints_sign(&request);
}

void checkpoint_done(const struct checkpoint *done) {
  static const char *const reasons[] = {"", "fewer events than were signed before", "another head for a count that was signed before", "the checkpoint could not be written"};
  struct service *ledger = service_find("ledger");
  if (done->refused) {
    log_line("checkpoint %lld %s refused: %s", (long long)done->count, done->head, reasons[done->refused]);
    event_emit("detectionFinding", 1, 5, "", "openshelld", "deny", json_pack("{s:I,s:s}", "count", (json_int_t)done->count, "head", done->head),
               "A checkpoint of the record was refused: %s. %s", reasons[done->refused], done->refused == 3 ? "Look at the disk." : "Somebody rewrote the record.");
  }
  if (!ledger) return;
  if (done->refused) reply_error(ledger, done->id, "checkpoint-refused", "%s", reasons[done->refused]);
  else (void)service_send(ledger, json_pack("{s:s,s:I,s:I,s:s,s:s}", "t", "signed", "id", (json_int_t)done->id, "count", (json_int_t)done->count, "head", done->head, "signature", done->signature), NULL, 0);
}

static void asked_workspaces(struct service *service, json_t *message, json_int_t id) {
  (void)message;
  reply_ok(service, id, registry_list(), NULL, 0);
}

static const struct {
  const char *t;
  int roles; /* bit set */
  void (*handle)(struct service *, json_t *, json_int_t);
} table[] = {
    {"hello", 1 << ROLE_GATEWAY | 1 << ROLE_WORKER | 1 << ROLE_LEDGER, asked_hello},
    {"sign", 1 << ROLE_LEDGER, asked_sign},
    {"workspaces", 1 << ROLE_GATEWAY, asked_workspaces},
    {"host", 1 << ROLE_GATEWAY, asked_host},
    {"flush", 1 << ROLE_GATEWAY, asked_flush},
    {"seen", 1 << ROLE_GATEWAY, asked_seen},
    {"sandbox.create", 1 << ROLE_GATEWAY, asked_create},
    {"sandbox.destroy", 1 << ROLE_GATEWAY, asked_destroy},
    {"sandbox.freeze", 1 << ROLE_GATEWAY, asked_freeze},
    {"layer", 1 << ROLE_GATEWAY, asked_layer},
    {"sandbox.update", 1 << ROLE_GATEWAY, asked_update},
    {"exec", 1 << ROLE_GATEWAY, asked_exec},
    {"exec.attach", 1 << ROLE_GATEWAY, asked_exec_attach},
    {"exec.signal", 1 << ROLE_GATEWAY, asked_exec_signal},
    {"exec.resize", 1 << ROLE_GATEWAY, asked_exec_resize},
    {"ingress.connect", 1 << ROLE_WORKER, asked_ingress},
    {"connection.owner", 1 << ROLE_WORKER, asked_owner},
    {"hold.answer", 1 << ROLE_GATEWAY, asked_hold_answer},
};

void service_said(struct service *service, json_t *message, const int *fds, int count) {
  const char *t = json_string_value(json_object_get(message, "t"));
  json_int_t id = json_integer_value(json_object_get(message, "id"));
  if (config.alone && strcmp(t, "workspace.register") == 0) {
    asked_workspace_register(service, message, id, fds, count);
    return;
  }
  /* No other request carries descriptors: what came is closed by the caller. */
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp(t, table[i].t) == 0 && (table[i].roles & 1 << service->role)) {
      table[i].handle(service, message, id);
      return;
    }
  log_line("%s may not ask for %.40s", service->name, t);
  event_emit("detectionFinding", 1, 4, "", "openshelld", "deny", json_pack("{s:s}", "service", service->name), "The service %s asked for something that its role may not", service->name);
  reply_error(service, id, "refused", "a %s may not ask for this", role_names[service->role]);
}

void service_died(struct service *service) {
  if (service->role == ROLE_WORKER) sandboxes_detach_worker(service);
  if (service->role == ROLE_GATEWAY) sandboxes_gateway_gone();
}
