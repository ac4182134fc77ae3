/* Names of files in messages and records: text, with \xNN for bytes that are none, and for the backslash, so that no two names look alike. */
#include "holds_record.h"

#include <stdlib.h>
#include <string.h>

json_t *record_text(const char *text) {
  json_t *string = json_string(text);
  bool no_text = string == NULL;
  if (string && !strchr(text, '\\')) return string;
  json_decref(string);
  char *out = malloc(strlen(text) * 4 + 1);
  size_t used = 0;
  if (!out) return json_string("?");
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p != '\\' && (*p < 0x80 || !no_text)) out[used++] = (char)*p;
    else used += (size_t)sprintf(out + used, "\\x%02x", *p);
  }
  out[used] = 0;
  string = json_string(out);
  free(out);
  return string;
}

json_t *record_path(const struct operation *op) { return op->is.kind == DO_CONNECT && op->from.parent < 0 ? json_string(op->from.path) : record_text(op->from.path); }

static json_t *bytes(const void *data, size_t n) {
  const unsigned char *text = data;
  char *out = malloc(2 * n + 1);
  if (!out) return NULL;
  for (size_t i = 0; i < n; i++) sprintf(out + 2 * i, "%02x", text[i]);
  out[2 * n] = 0;
  json_t *string = json_string(out);
  free(out);
  return string;
}

static bool unbytes(json_t *hex, void *data, size_t n) {
  const char *text = json_string_value(hex);
  unsigned char *out = data;
  if (!text || strlen(text) != 2 * n) return false;
  for (size_t i = 0; i < n; i++) {
    unsigned value;
    if (sscanf(text + 2 * i, "%2x", &value) != 1) return false;
    out[i] = (unsigned char)value;
  }
  return true;
}

static bool untext(json_t *hex, char *out, size_t size) {
  size_t n = json_string_length(hex) / 2;
  if (n >= size || !unbytes(hex, out, n)) return false;
  out[n] = 0;
  return true;
}

static json_t *record_of_place(const struct place *p) {
  return json_pack("{s:o,s:o,s:b,s:b,s:b,s:I,s:I,s:i,s:I}", "name", bytes(p->name, strlen(p->name)), "path", bytes(p->path, strlen(p->path)), "exists", p->exists, "folder", p->folder, "link", p->link, "dev", (json_int_t)p->dev, "ino",
                   (json_int_t)p->ino, "lock", p->lock, "prefix", (json_int_t)p->prefix);
}

static bool record_to_place(json_t *record, struct place *p, int parent) {
  int exists = 0, folder = 0, link = 0;
  json_int_t dev = 0, ino = 0, prefix = 0;
  memset(p, 0, sizeof *p);
  p->parent = parent;
  if (json_unpack(record, "{s:b,s:b,s:b,s:I,s:I,s:i,s:I}", "exists", &exists, "folder", &folder, "link", &link, "dev", &dev, "ino", &ino, "lock", &p->lock, "prefix", &prefix) < 0) return false;
  p->exists = exists;
  p->folder = folder;
  p->link = link;
  p->dev = (dev_t)dev;
  p->ino = (ino_t)ino;
  p->prefix = (size_t)prefix;
  return untext(json_object_get(record, "name"), p->name, sizeof p->name) && untext(json_object_get(record, "path"), p->path, sizeof p->path) && p->prefix <= strlen(p->path);
}

json_t *record_of_operation(const struct operation *op) {
  json_t *record = json_pack("{s:s,s:o,s:o,s:o,s:o}", "syscall", op->syscall, "numbers", bytes(&op->is, sizeof op->is), "text", bytes(op->text, strlen(op->text)), "value", bytes(op->value ? op->value : "", op->value ? op->value_length : 0), "from",
                             record_of_place(&op->from));
  if (operation_has_two(op)) json_object_set_new(record, "to", record_of_place(&op->to));
  json_object_set_new(record, "fds", json_pack("[b,b]", op->from.parent >= 0, op->to.parent >= 0));
  return record;
}

bool record_to_operation(json_t *record, struct operation *op, const int *fds, int count) {
  json_t *value = json_object_get(record, "value");
  op->result = -1;
  if (!unbytes(json_object_get(record, "numbers"), &op->is, sizeof op->is) || !untext(json_object_get(record, "text"), op->text, sizeof op->text)) return false;
  op->rename = op->is.kind == DO_RENAME;
  bool two = operation_has_two(op), has[2] = {json_is_true(json_array_get(json_object_get(record, "fds"), 0)), json_is_true(json_array_get(json_object_get(record, "fds"), 1))};
  int from = has[0] ? 0 : -1, to = has[1] ? has[0] : -1;
  if (count != has[0] + has[1] || !record_to_place(json_object_get(record, "from"), &op->from, from < 0 ? -1 : fds[from]) || (two && !record_to_place(json_object_get(record, "to"), &op->to, -1))) return false;
  op->to.parent = to < 0 ? -1 : fds[to];
  op->value_length = json_string_length(value) / 2;
  op->value = op->value_length > 0 ? malloc(op->value_length) : NULL;
  return op->value_length == 0 || (op->value && unbytes(value, op->value, op->value_length));
}
