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

struct description {
  const char *types, *strings;
  uint32_t type_bytes, string_bytes;
};

static const char *text(const struct description *btf, uint32_t at) { return at < btf->string_bytes ? btf->strings + at : ""; }

/* The type after `type`, or the first for NULL; NULL: there is none. */
static const struct btf_type *next(const struct description *btf, const struct btf_type *type) {
  const char *at = type ? (const char *)(type + 1) + more(type) : btf->types, *end = btf->types + btf->type_bytes;
  if (at + sizeof *type > end) return NULL;
  type = (const struct btf_type *)at;
  return at + sizeof *type + more(type) <= end ? type : NULL;
}

/* In bytes from the begin of `type`, also of a member of a part without a name; -1: it has none. */
static int64_t offset_in(const struct description *btf, const struct btf_type *type, const char *name, int depth) {
  const struct btf_member *members = (const struct btf_member *)(type + 1);
  bool flagged = BTF_INFO_KFLAG(type->info);
  for (uint32_t i = 0; i < BTF_INFO_VLEN(type->info); i++) {
    uint32_t bits = flagged ? BTF_MEMBER_BIT_OFFSET(members[i].offset) : members[i].offset;
    if (strcmp(text(btf, members[i].name_off), name) == 0) return bits / 8;
    if (*text(btf, members[i].name_off) || depth == 0) continue;
    const struct btf_type *part = NULL;
    for (uint32_t id = 0; id < members[i].type && (id == 0 || part); id++) part = next(btf, part);
    uint32_t kind = part ? BTF_INFO_KIND(part->info) : 0;
    int64_t inner = kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION ? offset_in(btf, part, name, depth - 1) : -1;
    if (inner >= 0) return bits / 8 + inner;
  }
  return -1;
}

static void take_member(const struct description *btf, const struct btf_type *type, struct btf_member_place *one) {
  const char *name = text(btf, type->name_off), *dot = strchr(one->name, '.');
  size_t length = strlen(name);
  if (!dot || (size_t)(dot - one->name) != length || strncmp(one->name, name, length) != 0) return;
  int64_t offset = offset_in(btf, type, dot + 1, 2);
  if (offset < 0) return;
  one->offset = (uint32_t)offset;
  one->known = true;
}

static int look(const char *data, size_t size, const char *const *names, uint32_t *ids, int count, struct btf_member_place *members, int member_count) {
  const struct btf_header *header = (const struct btf_header *)data;
  if (size < sizeof *header || header->magic != BTF_MAGIC) return -1;
  struct description btf = {.types = data + header->hdr_len + header->type_off, .strings = data + header->hdr_len + header->str_off, .type_bytes = header->type_len, .string_bytes = header->str_len};
  if (btf.types + btf.type_bytes > data + size || btf.strings + btf.string_bytes > data + size) return -1;
  uint32_t id = 1;
  for (const struct btf_type *type = next(&btf, NULL); type; type = next(&btf, type), id++) {
    if (BTF_INFO_KIND(type->info) == BTF_KIND_TYPEDEF)
      for (int i = 0; i < count; i++)
        if (strcmp(text(&btf, type->name_off), names[i]) == 0) ids[i] = id;
    if (BTF_INFO_KIND(type->info) == BTF_KIND_STRUCT && BTF_INFO_VLEN(type->info) > 0)
      for (int i = 0; i < member_count; i++) take_member(&btf, type, &members[i]);
  }
  return 0;
}

int btf_find(const char *const *names, uint32_t *ids, int count, struct btf_member_place *members, int member_count) {
  memset(ids, 0, sizeof *ids * (size_t)count);
  int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0) return -1;
  char *data = fstat(fd, &st) == 0 && st.st_size > 0 ? malloc((size_t)st.st_size) : NULL;
  size_t got = 0;
  for (ssize_t n; data && got < (size_t)st.st_size && (n = read(fd, data + got, (size_t)st.st_size - got)) > 0;) got += (size_t)n;
  int result = data ? look(data, got, names, ids, count, members, member_count) : -1;
  if (result < 0) errno = EINVAL;
  free(data);
  close(fd);
  return result;
}
