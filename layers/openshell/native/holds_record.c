/* Names of files in messages and records. */
#include "holds_record.h"

#include <stdlib.h>
#include <string.h>

json_t *record_text(const char *text) {
  json_t *string = json_string(text);
  if (string) return string;
  char *out = malloc(strlen(text) * 4 + 1);
  size_t used = 0;
  if (!out) return json_string("?");
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p < 0x80) out[used++] = (char)*p;
    else used += (size_t)sprintf(out + used, "\\x%02x", *p);
  }
  out[used] = 0;
  string = json_string(out);
  free(out);
  return string;
}

static json_t *bytes(const char *text) {
  size_t n = strlen(text);
  char *out = malloc(2 * n + 1);
  if (!out) return NULL;
  for (size_t i = 0; i < n; i++) sprintf(out + 2 * i, "%02x", (unsigned char)text[i]);
  out[2 * n] = 0;
  json_t *string = json_string(out);
  free(out);
  return string;
}

static bool unbytes(json_t *hex, char *out, size_t size) {
  const char *text = json_string_value(hex);
  size_t n = text ? strlen(text) / 2 : 0;
  if (!text || n >= size) return false;
  for (size_t i = 0; i < n; i++) {
    unsigned value;
    if (sscanf(text + 2 * i, "%2x", &value) != 1) return false;
    out[i] = (char)value;
  }
  out[n] = 0;
  return true;
}

json_t *record_of_place(const struct place *p) {
  return json_pack("{s:o,s:o,s:b,s:b,s:I,s:I}", "name", bytes(p->name), "path", bytes(p->path), "exists", p->exists, "folder", p->folder, "dev", (json_int_t)p->dev, "ino", (json_int_t)p->ino);
}

bool record_to_place(json_t *record, struct place *p, int parent) {
  int exists = 0, folder = 0;
  json_int_t dev = 0, ino = 0;
  p->parent = parent;
  p->special = false;
  if (json_unpack(record, "{s:b,s:b,s:I,s:I}", "exists", &exists, "folder", &folder, "dev", &dev, "ino", &ino) < 0) return false;
  p->exists = exists;
  p->folder = folder;
  p->dev = (dev_t)dev;
  p->ino = (ino_t)ino;
  return parent >= 0 && unbytes(json_object_get(record, "name"), p->name, sizeof p->name) && unbytes(json_object_get(record, "path"), p->path, sizeof p->path);
}
