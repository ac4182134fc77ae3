/* Reads /sys/kernel/btf/vmlinux: types in a row, each with a length that its kind tells. */
#include "seen_btf.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that follow struct btf_type. */
static uint32_t more(const struct btf_type *type) {
  uint32_t n = BTF_INFO_VLEN(type->info);
  switch (BTF_INFO_KIND(type->info)) {
  case BTF_KIND_INT: return 4;
  case BTF_KIND_ARRAY: return sizeof(struct btf_array);
  case BTF_KIND_STRUCT:
  case BTF_KIND_UNION: return n * (uint32_t)sizeof(struct btf_member);
  case BTF_KIND_ENUM: return n * (uint32_t)sizeof(struct btf_enum);
  case BTF_KIND_FUNC_PROTO: return n * (uint32_t)sizeof(struct btf_param);
  case BTF_KIND_VAR: return sizeof(struct btf_var);
  case BTF_KIND_DATASEC: return n * (uint32_t)sizeof(struct btf_var_secinfo);
  case 17: return 4; /* BTF_KIND_DECL_TAG, BTF_KIND_ENUM64: younger than some headers */
  case 19: return n * 12;
  default: return 0;
  }
}

static int look(const char *data, size_t size, const char *const *names, uint32_t *ids, int count) {
  const struct btf_header *header = (const struct btf_header *)data;
  if (size < sizeof *header || header->magic != BTF_MAGIC) return -1;
  const char *types = data + header->hdr_len + header->type_off, *strings = data + header->hdr_len + header->str_off;
  if (types + header->type_len > data + size || strings + header->str_len > data + size) return -1;
  uint32_t id = 1;
  for (uint32_t at = 0; at + sizeof(struct btf_type) <= header->type_len; id++) {
    const struct btf_type *type = (const struct btf_type *)(types + at);
    if (BTF_INFO_KIND(type->info) == BTF_KIND_TYPEDEF && type->name_off < header->str_len)
      for (int i = 0; i < count; i++)
        if (strcmp(strings + type->name_off, names[i]) == 0) ids[i] = id;
    at += (uint32_t)sizeof *type + more(type);
  }
  return 0;
}

int btf_typedefs(const char *const *names, uint32_t *ids, int count) {
  memset(ids, 0, sizeof *ids * (size_t)count);
  int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0) return -1;
  char *data = fstat(fd, &st) == 0 && st.st_size > 0 ? malloc((size_t)st.st_size) : NULL;
  size_t got = 0;
  for (ssize_t n; data && got < (size_t)st.st_size && (n = read(fd, data + got, (size_t)st.st_size - got)) > 0;) got += (size_t)n;
  int result = data ? look(data, got, names, ids, count) : -1;
  if (result < 0) errno = EINVAL;
  free(data);
  close(fd);
  return result;
}
