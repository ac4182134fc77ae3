/* Words for what the kernel decided. */
#include "lsm_kernel.h"
#include <stdlib.h>
#include <string.h>

static const struct {
  uint32_t bit;
  const char *word;
} words[] = {{LSM_READ, "read"},       {LSM_WRITE, "write"},   {LSM_CREATE, "create"}, {LSM_DELETE, "delete"}, {LSM_RENAME, "rename"}, {LSM_EXEC, "exec"},           {LSM_MAP, "map"}, {LSM_REACH, "connect"},
             {LSM_SOCKET, "socket"},   {LSM_SEND, "send"}, {LSM_PTRACE, "ptrace"}, {LSM_SIGNAL, "signal"}, {LSM_MOUNT, "mount"},   {LSM_KERNEL, "kernel"}, {LSM_NAMESPACE, "namespace"},
             {LSM_DEVICE, "device"}};

const char *lsm_op_name(uint32_t op) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (words[i].bit == op) return words[i].word;
  return "unknown";
}

uint32_t lsm_right(const char *word) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (word && words[i].bit <= LSM_REACH && strcmp(words[i].word, word) == 0) return words[i].bit;
  return 0;
}

char *lsm_path_text(const struct lsm_path *path) {
  size_t size = (LSM_PART + 1) * LSM_PARTS + 16, at = 0;
  uint32_t count = path->count > LSM_PARTS ? LSM_PARTS : path->count;
  char *text = malloc(size);
  if (!text) return NULL;
  text[0] = 0;
  if (path->cut) {
    memcpy(text, "/\xe2\x80\xa6", 5);
    at = 4;
  }
  for (uint32_t i = count; i-- > 0;) {
    size_t length = strnlen(path->names[i], LSM_PART - 1);
    text[at++] = '/';
    memcpy(text + at, path->names[i], length);
    at += length;
  }
  if (at == 0) text[at++] = '/';
  text[at] = 0;
  return text;
}
