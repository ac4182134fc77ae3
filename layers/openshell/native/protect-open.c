/* Opening, reading and naming things in a folder that somebody hostile has filled. */
#include "inside.h"
#include "protect.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RULE_NO_XDEV 0x01

int protect_open(int root, const char *path, int flags) {
  struct open_rules how = {.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC), .resolve = RULE_BENEATH | RULE_NO_SYMLINKS | RULE_NO_MAGICLINKS | RULE_NO_XDEV};
  return sys_openat2(root, path[0] != '\0' ? path : ".", &how);
}

int protect_parent(int root, const char *path, const char **name) {
  char parent[4200];
  const char *slash = strrchr(path, '/');
  *name = slash != NULL ? slash + 1 : path;
  size_t n = slash != NULL ? (size_t)(slash - path) : 0;
  if (n >= sizeof parent) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(parent, path, n);
  parent[n] = '\0';
  return protect_open(root, parent, O_PATH | O_DIRECTORY);
}

char *protect_read(int root, const char *path, size_t max, size_t *length) {
  struct stat st;
  char link[40], *text = NULL;
  int at = protect_open(root, path, O_PATH), fd = -1;
  /* Looked at before it is opened: a pipe or device must not hold us. */
  if (at >= 0 && fstat(at, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size <= max) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    fd = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  }
  if (at >= 0) close(at);
  if (fd < 0 || (text = malloc(max + 1)) == NULL) {
    if (fd >= 0) close(fd);
    return NULL;
  }
  size_t used = 0;
  ssize_t n = 1;
  while (n != 0 && used < max && ((n = read(fd, text + used, max - used)) > 0 || (n < 0 && errno == EINTR))) used += n > 0 ? (size_t)n : 0;
  close(fd);
  if (n < 0) {
    free(text);
    return NULL;
  }
  text[used] = '\0';
  *length = used;
  return text;
}

char *protect_escape(const char *path) {
  char *out = malloc(strlen(path) * 3 + 1), *to = out;
  if (out == NULL) return NULL;
  for (const unsigned char *p = (const unsigned char *)path; *p != 0; p++) {
    if (*p > 0x1f && *p < 0x7f && *p != '%') *to++ = (char)*p;
    else to += sprintf(to, "%%%02X", *p);
  }
  *to = '\0';
  return out;
}

char *protect_unescape(const char *text) {
  char *out = malloc(strlen(text) + 1), *to = out;
  if (out == NULL) return NULL;
  for (const char *p = text; *p != '\0'; p++) {
    unsigned byte;
    if (*p == '%' && sscanf(p + 1, "%2X", &byte) == 1 && byte != 0) {
      *to++ = (char)byte;
      p += 2;
    } else *to++ = *p;
  }
  *to = '\0';
  return out;
}

static int depth_of(const char *path, int depth) {
  for (const char *p = path; *p != '\0' && depth >= 0;) {
    const char *end = strchrnul(p, '/');
    size_t n = (size_t)(end - p);
    if (n == 2 && p[0] == '.' && p[1] == '.') depth--;
    else if (n > 0 && !(n == 1 && p[0] == '.')) depth++;
    p = *end == '/' ? end + 1 : end;
  }
  return depth;
}

bool protect_inside(const char *from, const char *to) {
  static const char root[] = "/workspace";
  if (to[0] == '/') {
    size_t n = sizeof root - 1;
    return strncmp(to, root, n) == 0 && (to[n] == '\0' || to[n] == '/') && depth_of(to + n, 0) >= 0;
  }
  return depth_of(to, depth_of(from, 0)) >= 0;
}
