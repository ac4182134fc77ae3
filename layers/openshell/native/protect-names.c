/* The protected names, and when two spellings are the same to some file system. */
#include "protect.h"
#include <ctype.h>
#include <string.h>

/* Code points that HFS+ leaves out when it compares: U+200C to U+200F, U+202A to U+202E, U+206A to U+206F, U+FEFF. As git's own protectHFS. */
static size_t ignored(const unsigned char *p) {
  if (p[0] == 0xe2 && p[1] == 0x80 && ((p[2] >= 0x8c && p[2] <= 0x8f) || (p[2] >= 0xaa && p[2] <= 0xae))) return 3;
  if (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xaa && p[2] <= 0xaf) return 3;
  return p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf ? 3 : 0;
}

void protect_fold(const char *name, char out[256]) {
  size_t n = 0;
  for (const unsigned char *p = (const unsigned char *)name; *p != 0;) {
    size_t skip = ignored(p);
    if (skip > 0) {
      p += skip;
      continue;
    }
    if (n == 255) {
      n = 0;
      break;
    }
    out[n++] = (char)(*p < 0x80 ? tolower(*p) : *p);
    p++;
  }
  /* NTFS drops dots and spaces at the end, and calls .git also GIT~1. */
  while (n > 0 && (out[n - 1] == '.' || out[n - 1] == ' ')) n--;
  out[n] = '\0';
  if (strcmp(out, "git~1") == 0) strcpy(out, ".git");
}

static bool segment_of(const char *p, size_t n, char out[256]) {
  char name[256];
  if (n == 0 || n >= sizeof name || memchr(p, '/', n) != NULL) return false;
  memcpy(name, p, n);
  name[n] = '\0';
  protect_fold(name, out);
  return out[0] != '\0';
}

bool protect_rules_of(json_t *json, struct protect_rules *out) {
  json_t *names = json_object_get(json, "names"), *git = json_object_get(json, "git"), *item;
  size_t index;
  memset(out, 0, sizeof *out);
  if (!json_is_array(names) || json_array_size(names) > PROTECT_NAMES_MAX || !json_is_boolean(git)) return false;
  out->git = json_is_true(git);
  json_array_foreach(names, index, item) {
    struct protect_name *one = &out->names[out->count++];
    const char *path = json_string_value(json_object_get(item, "path")), *scope = json_string_value(json_object_get(item, "scope"));
    if (path == NULL || scope == NULL) return false;
    const char *slash = strchrnul(path, '/');
    one->everywhere = strcmp(scope, "everywhere") == 0;
    if (!one->everywhere && strcmp(scope, "repository") != 0) return false;
    if (!segment_of(path, (size_t)(slash - path), one->first)) return false;
    if (*slash == '/' && !segment_of(slash + 1, strlen(slash + 1), one->second)) return false;
  }
  return true;
}
